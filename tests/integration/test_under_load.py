"""A small model under load, over a pipe and over HTTP, from the suite to the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from running import only_run, runoff

from machine import skip_because, thorough
from onnx_models import linear
from runoff import paths

if TYPE_CHECKING:
    from pathlib import Path

SUITE = """
[suite]
name = "small"
models = ["net"]
targets = ["ort-python"]
workloads = ["tensor"]
probes = ["load"]
[models.net]
path = "net.onnx"
[measure]
blocks = { load = 2 }
[measure.load]
bound_ms = 500
percentile = 0.8
requests = 64
min_time_s = 0.2
streams = 2
[[group]]
load = { transport = ["pipe", "http"], max_batch = 2 }
"""


@thorough
def test_the_knee_of_a_small_model(tmp_path: Path) -> None:
    for name in ("inspect", "loadgen", "fastapi"):
        python = paths.environments() / name / "bin" / "python"
        skip_because("" if python.exists() else f"{python} is missing; run: nox -s {name}")
    linear(tmp_path / "net.onnx")
    (tmp_path / "suite.toml").write_text(SUITE, encoding="utf-8")
    places = {"RUNOFF_HOME": str(tmp_path / "home"), "RUNOFF_RESULTS": str(tmp_path / "results")}
    ended = runoff("bench", "suite.toml", cwd=tmp_path, **places)
    assert ended.code == 0, ended.out + ended.err
    run = only_run(tmp_path / "results")
    records = [record for record in run.records if record.probe == "load"]
    assert len(records) == 4
    for record in records:
        load = record.load
        assert load
        assert [test.scenario for test in load.tests[:3]] == ["SingleStream", "MultiStream", "Offline"]
        assert load.knee
        assert load.knee.rate
        assert load.knee.requests >= 64
        assert load.first_response_ns > 10**8
        assert record.result
        assert record.result.cpu_ns
        assert {row["item"] for row in record.parity} == set(range(8))
        assert (load.answers > 200) == ("http" in record.case)
        assert all(test.batch >= 1 and not test.failed for test in load.tests)
    folder = run.folder
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "requests per second within the bound" in text
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert 'id="load-table"' in page
    assert "holds the highest rate of requests" in page
    assert list((folder / "plots").glob("load-*.svg"))
