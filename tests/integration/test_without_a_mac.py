"""Core ML without a Mac: the rows are in the report, with the known facts."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from running import environment, only_run, runoff, write_suite

from machine import thorough
from runoff import paths

if TYPE_CHECKING:
    from pathlib import Path

REASON = re.compile(
    r"package verified on \w+ by the evaluator \(largest difference \d\.\de-\d\d of the largest logit\); "
    r"execution not run: needs macOS"
)
FAKE, MLPACKAGE, HALF = "fake_coreml.py", "mlpackage-fp16-flexible", 5e-2
pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.fixture
def elsewhere() -> None:
    """Skip on a Mac, where these tests do not apply."""
    if sys.platform == "darwin":
        pytest.skip("this is a Mac: follow docs/coreml-checklist.md instead")


@thorough
@pytest.mark.usefixtures("complete")
def test_the_rows_report_the_check_of_the_package_and_that_it_did_not_run(tmp_path: Path) -> None:
    more = '[settings]\nprecision = ["fp32", "fp16"]\n'
    ended = runoff("bench", write_suite(tmp_path, "null-rust", "coreml", more=more), "--results", tmp_path / "results")
    assert ended.code == 0, ended.out + ended.err
    run = only_run(tmp_path / "results")
    cases = [case for case in run.info.cases if case.target == "coreml"]
    assert [case.format for case in cases] == ["mlpackage", "mlpackage-fp16"]
    text = (run.folder / "report.md").read_text()
    for case in cases:
        assert case.skipped is not None
        assert case.skipped.kind == "needs-macos"
        assert REASON.fullmatch(case.skipped.message), case.skipped.message
        assert case.skipped.message in text
    assert "mlpackage" in run.info.models[cases[0].model]["sha256"]
    assert not [record for record in run.records if "coreml" in record.case]


def test_a_single_run_is_one_line_and_exit_code_3() -> None:
    ended = runoff("run", "--target", "coreml")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.splitlines()[-2:] == [
        "runoff: coreml: execution not run: needs macOS",
        "        run: nox -s bench, on a Mac",
    ]


@thorough
def test_the_pipeline_measures_a_runner_that_reads_packages(tmp_path: Path) -> None:
    """Run the fake as a custom target: its times are never results, but the pipeline is the same."""
    python, runner = paths.environments() / "export" / "bin" / "python", paths.root() / "tests" / "contract" / FAKE
    more = f"""
[settings]
precision = "fp16"
batch = 2
provider = "coreml"
[measure.blocks]
life = 1
latency = 1
[measure.latency]
min_samples = 3
min_time_s = 0
warmup_time_s = 1
[targets.mac]
command = ["{python}", "-P", "{runner}"]
env = {{ PYTHONPATH = "{paths.runners().parent}" }}
"""
    suite = write_suite(tmp_path, "mac", "coreml", probes='"life", "latency"', more=more)
    ended = runoff("bench", suite, "--results", tmp_path / "results")
    assert ended.code == 0, ended.out + ended.err
    run = only_run(tmp_path / "results")
    assert {case.target: case.format for case in run.info.cases} == dict.fromkeys(("mac", "coreml"), MLPACKAGE)
    assert [(record.probe, record.status) for record in run.records] == [
        ("accuracy", "ok"),
        ("life", "ok"),
        ("latency", "ok"),
    ]
    for record in run.records:
        assert record.result is not None
        assert "compile" in [phase.name for phase in record.result.phases]
        assert record.result.effective is not None
        assert (record.result.effective.planned is not None) == (record.probe == "accuracy")
        assert max(row["max_rel_diff"] for row in record.parity) < HALF
    assert "| compile |" in (run.folder / "report.md").read_text()


def test_its_environment_is_not_created_on_other_systems() -> None:
    command = [sys.executable, "-m", "nox", "-s", "coreml"]
    ended = subprocess.run(command, cwd=paths.root(), env=environment(), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "coreml needs macOS: the report lists its cases with that reason" in ended.stderr
    assert not (paths.environments() / "coreml").exists()
