"""ONNX Runtime Web in Chromium, measured next to ONNX Runtime in Python, on a model that its WebGL computes wrongly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from running import Whole, only_run, runoff

from machine import skip_because
from onnx_models import convs
from runoff.targets.onnxruntime import ort_python
from runoff.targets.web import web_target

if TYPE_CHECKING:
    from pathlib import Path

SUITE = """
[suite]
name = "web"
targets = ["ort-python", "ort-web-wasm", "ort-web-webgl"]
workloads = ["tensor"]
probes = ["accuracy", "life", "latency", "memory"]
models = ["convs"]
[models.convs]
path = "convs.onnx"
[measure.blocks]
life = 1
latency = 1
memory = 1
[measure.latency]
min_samples = 5
min_time_s = 0.2
warmup_time_s = 0.5
warmup = 1
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Return a run of the suite above."""
    skip_because("\n".join(str(made.missing) for made in (ort_python(), web_target("ort-web-wasm")) if made.missing))
    folder: Path = tmp_path_factory.mktemp("web")
    convs(folder / "convs.onnx")
    (folder / "web.toml").write_text(SUITE)
    ended = runoff("bench", folder / "web.toml", "--results", folder / "results", RUNOFF_HOME=str(folder / "home"))
    return Whole(ended, only_run(folder / "results"))


def test_phases_of_a_page_add_up(measured: Whole) -> None:
    (record,) = measured.records("life")["ort-web-wasm"]
    assert record.result
    names = [phase.name for phase in record.result.phases]
    assert names[:6] == ["start", "imports", "browser", "page", "runtime", "load"]
    assert names[6:] == ["preprocess", "inference", "output"]


def test_a_page_takes_turns_with_a_native_process(measured: Whole) -> None:
    (record,) = measured.records("latency")["ort-web-wasm"]
    assert record.status == "ok", record.reason
    assert record.turned
    assert record.turned.group_size == 3
    assert record.turned.busy_threads is None
    effective = record.result.effective if record.result else None
    assert effective
    assert effective.isolated
    assert effective.threads == 1
    assert 0 < (effective.clock_step_ns or 0) <= 5000
    assert effective.fetched
    assert effective.fetched["runtime"] > 1_000_000


def test_memory_is_that_of_all_processes_of_the_browser(measured: Whole) -> None:
    (record,) = measured.records("memory")["ort-web-wasm"]
    memory = record.result.memory if record.result else None
    assert memory
    assert (memory.peak_bytes or 0) >= max(memory.after.values()) > memory.after["browser"] / 2 > 10_000_000
    assert "PSS" in (memory.method or "")
    report = (measured.run.folder / "report.md").read_text()
    assert "over_page" in report


def test_wrong_outputs_of_webgl_are_excluded(measured: Whole) -> None:
    assert measured.ended.code == 1
    wrong = measured.records("accuracy")["ort-web-webgl"]
    assert [record.reason.kind for record in wrong if record.reason] == ["outputs-differ"]
    assert all(row["top1_agrees"] for row in wrong[0].parity)
    assert not any(record.probe != "accuracy" for record in measured.run.records if "webgl" in record.case)
    assert "outputs differ from the reference" in measured.ended.out
    device = wrong[0].result.effective.device if wrong[0].result and wrong[0].result.effective else None
    assert device
    report = (measured.run.folder / "report.md").read_text()
    assert (f"ort-web-webgl on {device}" in report) == ("(software)" in device)
