"""A new probe and a new target each take one file and one line in a registry; measured with real processes."""

from __future__ import annotations

import importlib.util
import io
import time
from typing import TYPE_CHECKING, Any

import pytest
from orchestra import case_of, example_of, info_of, manifest_of, record_of
from rich.console import Console

import runoff.bench
from runoff.analysis.samples import tidy
from runoff.analysis.stability import stability
from runoff.analysis.summary import summarise
from runoff.bench import _exit_code, bench
from runoff.compare.metrics import parse_metric
from runoff.models.store import StoredModel
from runoff.probes import PROBES
from runoff.records.errors import ExitCode
from runoff.records.files import read_run
from runoff.records.manifest import StoredFile
from runoff.records.protocol import TensorSpec
from runoff.records.reason import Reason
from runoff.records.schema import Run
from runoff.report.terminal import harness_line
from runoff.targets import BUILT_IN

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

PROBE_FILE = """
from runoff.probes.base import Probe, Sample, Shortfall
from runoff.records.protocol import Once

def read(record, meters):
    yield Sample("delay", "ns", record.result.phases[0].end_ns - record.spawn_ns)

def shortfalls(records, meters):
    yield Shortfall("colour", "nm", f"{len(records)} processes have none")

STARTUP = Probe(
    name="startup",
    summary="spawn to the end of the first phase",
    measure=Once(),
    blocks=4,
    sampled=True,
    headline=("delay", "ns"),
    timed="startup",
    main_metrics=("delay",),
    aliases={"": "delay"},
    read=read,
    shortfalls=shortfalls,
    notes=lambda records, meters: {"delay": "by the runner's clock"},
)
"""
TARGET_FILE = """
import sys
from runoff.targets.base import runner_in

def mine():
    return runner_in(sys.executable, "mine", "null-python")
"""
SUITE = """
[suite]
name = "extended"
models = ["net"]
targets = ["mine", "null-python"]
probes = ["startup"]
"""


def module_of(folder: Path, name: str, text: str) -> ModuleType:
    """Write a module and import it."""
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Store a placeholder model: the null runner does not open it."""
    file = StoredFile("file", "ab" * 32, 1)
    (tmp_path / "file").write_bytes(b"x")
    tensor = TensorSpec("tensor", "float32", (None, 3))
    example = example_of("photo", file, file, file)
    manifest = manifest_of(files={"onnx": file}, examples=(example,), inputs=(tensor,), outputs=(tensor,))
    net = StoredModel(tmp_path, manifest)
    monkeypatch.setattr(runoff.bench, "ensure_models", lambda *_: {"net": net})


@pytest.mark.usefixtures("model")
def test_models_that_are_made_first_are_no_overhead_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = vars(runoff.bench)["ensure_models"]

    def slowly(*arguments: Any) -> Any:
        time.sleep(1.2)
        return made(*arguments)

    monkeypatch.setattr(runoff.bench, "ensure_models", slowly)
    (tmp_path / "extended.toml").write_text(SUITE.replace("startup", "life").replace('"mine", ', ""), encoding="utf-8")
    began = time.monotonic()
    folder, _ = bench(tmp_path / "extended.toml", tmp_path / "results", Console(file=io.StringIO()))
    lasted_s, info = time.monotonic() - began, read_run(folder).info
    assert info.making_ns >= 1.2e9
    assert 0 < info.elapsed_ns <= lasted_s * 1e9 - info.making_ns
    assert harness_line(info).endswith(" ms of model export")


FAILED = Reason("tool-failed", "it left no readable report")
MISSING = Reason("tool-missing", "it is not here")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"status": "not-measured", "spawn_ns": 5, "reason": FAILED}, ExitCode.CASE_FAILED),
        ({"status": "not-measured", "reason": MISSING}, ExitCode.OK),
        ({"status": "error", "reason": FAILED}, ExitCode.CASE_FAILED),
    ],
)
def test_a_tool_that_failed_in_the_middle_is_a_failure(fields: dict[str, Any], code: ExitCode, tmp_path: Path) -> None:
    records = (record_of(), record_of(probe="counters", **fields))
    assert _exit_code(Run(tmp_path, info_of(case_of("mine", ("life", "counters"))), records)) == code


@pytest.mark.usefixtures("model")
def test_a_probe_and_a_target_are_a_file_and_a_line_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROBES, "startup", module_of(tmp_path, "startup", PROBE_FILE).STARTUP)
    monkeypatch.setitem(BUILT_IN, "mine", module_of(tmp_path, "mine", TARGET_FILE).mine)
    (tmp_path / "extended.toml").write_text(SUITE, encoding="utf-8")
    folder, code = bench(tmp_path / "extended.toml", tmp_path / "results", Console(file=io.StringIO()))
    run = read_run(folder)
    assert [record.reason for record in run.records if record.reason] == []
    assert code == ExitCode.OK
    assert [(record.probe, record.status) for record in run.records] == [("startup", "ok")] * 2 * 4
    assert run.info.stops["startup"].widest is not None
    summary = summarise(run, tidy(run))
    lines = {(line["target"], line["metric"]): line for line in summary.to_dict("records")}
    for target in ("mine", "null-python"):
        delay = lines[target, "delay"]
        assert (delay["probe"], delay["n"], delay["unit"]) == ("startup", 4, "ns")
        assert delay["low"] < delay["estimate"] < delay["high"]
        assert delay["reason"] == "by the runner's clock"
        assert lines[target, "colour"]["reason"] == "4 processes have none"
    assert str(parse_metric("startup.delay")) == "startup"
    assert all(any("startup" in text for text in found.evidence) for found in stability(run, summary).values())
