"""CUDA and TensorRT in the whole pipeline: a one-line error without a GPU, and all figures with one.

The GPU is fake: the CPU executes the code that runs on a GPU, and a C library replaces NVIDIA's NVML.
"""

from __future__ import annotations

import io
import json
import sys
import threading
from typing import TYPE_CHECKING, Any

import pandas as pd
import pynvml
import pytest
from rich.console import Console
from running import Ended, only_run, runoff, write_suite

from machine import thorough
from runoff import paths
from runoff.analysis.analyse import analyse
from runoff.bench import bench
from runoff.probes.memory import DEVICE_PEAK
from runoff.records.errors import ExitCode
from runoff.records.files import read_run
from runoff.report.build import write_report
from runoff.targets.onnxruntime import ort_python

sys.path.insert(0, str(paths.root() / "tests" / "unit"))
from nvml_library import build, fresh_nvml

if TYPE_CHECKING:
    import ctypes
    from pathlib import Path

UNUSABLE = "settings.provider: '{}' cannot be used: "
HINT = '        docker run --gpus all ..., or set provider = "cpu"'
FAKE = paths.root() / "tests" / "contract" / "fake_ort_cuda.py"
MORE = """
[settings]
provider = "cuda"
[measure.blocks]
memory = 2
latency = 2
[measure.latency]
min_samples = 6
min_time_s = 0.1
warmup_time_s = 0.5
"""


def assert_one_line(ended: Ended, words: str) -> None:
    """Assert that nothing ran, and that stderr has one line with a hint."""
    assert ended.code == ExitCode.NOTHING_RUNS_HERE
    line, hint = ended.err.splitlines()[-2:]
    assert words in line
    assert hint == HINT


@pytest.mark.parametrize(
    "target",
    ["ort-python", "ort-rust", pytest.param("torch", marks=thorough), pytest.param("ort-pyo3", marks=thorough)],
)
def test_one_run_on_a_missing_gpu(complete: None, target: str) -> None:  # noqa: ARG001 (checked before)
    ended = runoff("run", "--target", target, "--set", "provider=cuda", CUDA_VISIBLE_DEVICES="")
    assert_one_line(ended, f"runoff: {target}: {UNUSABLE.format('cuda')}")
    assert len(ended.err.splitlines()) == 2
    assert ended.out == ""


def test_a_suite_of_only_cuda_has_its_rows_and_a_one_line_error(
    complete: None,  # noqa: ARG001 (checked before)
    tmp_path: Path,
) -> None:
    more = '[settings]\nprovider = ["cuda", "tensorrt"]\n'
    suite = write_suite(tmp_path, "ort-python", more=more)
    ended = runoff("bench", suite, "--results", tmp_path / "results", CUDA_VISIBLE_DEVICES="")
    assert_one_line(ended, f"runoff: none of 2 cases can run on this machine: {UNUSABLE.format('cuda')}")
    assert len(ended.err.splitlines()) == 2
    run = only_run(tmp_path / "results")
    assert {case.settings.provider for case in run.info.cases if case.skipped} == {"cuda", "tensorrt"}
    rows = pd.read_csv(run.folder / "summary.csv")
    assert set(rows["status"]) == {"unsupported"}
    assert rows["reason"].str.contains("cannot be used: ").all()
    announced = [line for line in ended.out.splitlines() if line.startswith("unavailable: ort-python: ")]
    assert len(announced) == 2


@pytest.fixture
def nvml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ctypes.CDLL:
    """Return the fake NVML, where nvidia-ml-py finds the driver's library."""
    library = fresh_nvml(build("fake_nvml.c", tmp_path / "libnvidia-ml.so.1"))
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setattr(pynvml, "CDLL", lambda _name: library)
    return library


def on_gpu(folder: Path, nvml: ctypes.CDLL) -> tuple[ExitCode, dict[str, dict[Any, Any]], str]:
    """Measure the fake with the whole pipeline, while the GPU's used memory rises; return lines and report."""
    suite = write_suite(folder, "gpu", probes='"latency", "memory"', more=MORE)
    command = json.dumps([ort_python().command[0], "-P", str(FAKE)])
    env = {
        "PYTHONPATH": str(paths.runners().parent),
        "FAKE_PROVIDER": "",
        "FAKE_SESSION_FILE": str(folder / "session.json"),
    }
    table = ", ".join(f"{name} = {json.dumps(value)}" for name, value in env.items())
    suite.write_text(f"{suite.read_text()}\n[targets.gpu]\ncommand = {command}\nenv = {{ {table} }}\n")
    over = threading.Event()

    def rise() -> None:
        used = 0
        while not over.wait(0.005):
            used += 10_000
            nvml.fake_used(0, used)

    thread = threading.Thread(target=rise)
    thread.start()
    try:
        run, code = bench(suite, folder / "results", Console(file=io.StringIO()))
    finally:
        over.set()
        thread.join()
    write_report(analyse(read_run(run)))
    lines = pd.read_csv(run / "summary.csv").to_dict("records")
    return code, {line["metric"]: line for line in lines}, (run / "report.md").read_text()


@pytest.mark.clock
def test_a_gpu_has_its_copies_and_its_memory_in_summary_and_report(
    complete: None,  # noqa: ARG001 (checked before)
    tmp_path: Path,
    nvml: ctypes.CDLL,
) -> None:
    code, lines, report = on_gpu(tmp_path, nvml)
    assert code == ExitCode.OK
    parts = [lines[f"{name}.warm"]["estimate"] for name in ("copy_in", "compute", "copy_out")]
    whole = lines["inference.warm"]["estimate"]
    assert 0.5 * whole < sum(parts) < 1.1 * whole
    peak = lines[DEVICE_PEAK]
    assert peak["estimate"] > 0
    assert peak["reason"].startswith("NVML: all GPUs, less what was in use before")
    (row,) = [
        line for line in report.splitlines() if line.startswith("| efficientnet-lite0.classify.gpu") and "(0)" in line
    ]
    assert " ms " in row
    assert row.endswith("| Fake GPU (0) |")
