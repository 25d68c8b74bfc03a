"""A small model under load, over a pipe and over HTTP, from the suite to the report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from running import only_run, runoff

from machine import skip_because, thorough
from onnx_models import linear
from runoff import paths
from runoff.plan.suite import CustomTarget
from runoff.selftest import suites

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.records.schema import Run

DIGESTS = """
import sys
from time import monotonic_ns
from runoff_runners import serving, target_ort_python
from runoff_runners.program import main
serving._digest = lambda outputs: 1
sys.exit(main("digests", lambda: target_ort_python, monotonic_ns()))
"""

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


def bench(folder: Path, suite: str) -> tuple[int, Run]:
    """Measure a suite of a small model; return the exit code and the run."""
    for name in ("inspect", "loadgen", "fastapi"):
        python = paths.environments() / name / "bin" / "python"
        skip_because("" if python.exists() else f"{python} is missing; run: nox -s {name}")
    linear(folder / "net.onnx")
    (folder / "suite.toml").write_text(suite, encoding="utf-8")
    places = {"RUNOFF_HOME": str(folder / "home"), "RUNOFF_RESULTS": str(folder / "results")}
    ended = runoff("bench", "suite.toml", cwd=folder, **places)
    return ended.code, only_run(folder / "results")


@thorough
def test_servers_that_are_wrong_under_load_are_excluded(tmp_path: Path) -> None:
    (tmp_path / "digests.py").write_text(DIGESTS, encoding="utf-8")
    unmodified = suites.built("ort-python")
    digests = CustomTarget(command=(unmodified.command[0], "-P", str(tmp_path / "digests.py")), env=unmodified.env)
    cheats = {"wrong": suites.runner("wrong"), "cached": suites.runner("cached"), "digests": digests}
    variables = json.dumps(unmodified.env["PYTHONPATH"])
    tables = "".join(
        f"[targets.{name}]\ncommand = {json.dumps(cheat.command)}\nenv = {{ PYTHONPATH = {variables} }}\n"
        for name, cheat in cheats.items()
    )
    suite = SUITE.replace('["ort-python"]', json.dumps([*cheats])).replace('["pipe", "http"], max_batch = 2', '"pipe"')
    code, run = bench(tmp_path, suite.replace("[models", f"{tables}[models"))
    assert code == 1
    targets = {case.id: case.target for case in run.info.cases if not case.control_of}
    reasons = {targets[one.case]: one.reason for one in run.records if one.case in targets and one.reason}
    kinds = {"wrong": "outputs-differ", "cached": "outputs-differ", "digests": "garbage"}
    assert {name: reason.kind for name, reason in reasons.items()} == kinds, reasons
    assert "cannot be checked" in reasons["digests"].message


@thorough
def test_the_knee_of_a_small_model(tmp_path: Path) -> None:
    code, run = bench(tmp_path, SUITE)
    assert code == 0
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
        assert load.responses > 200
        assert all(test.batch >= 1 and not test.failed for test in load.tests)
    folder = run.folder
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "requests per second within the bound" in text
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert 'id="load-table"' in page
    assert "for requests under load" in page
    assert list((folder / "plots").glob("load-*.svg"))
