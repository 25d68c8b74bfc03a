"""Live runners that fail during turns: each has a separate reason, and the others are measured."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from running import only_run, reasons, runoff, write_suite

from machine import thorough
from runoff.analysis.analyse import analyse
from runoff.bench import bench
from runoff.records.errors import ExitCode
from runoff.records.files import read_run

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.records.schema import Run

pytestmark = pytest.mark.clock

KINDS = {
    "dies": ("crashed", "it gave up"),
    "hangs": ("timeout", "killed after"),
    "lies": ("clock", "longer than the runner reports"),
    "brags": ("clock", "by runoff's clock"),
    "defers": ("clock", "when they were requested"),
    "late": ("outputs-differ", "an earlier input, or a cache"),
    "items": ("garbage", "requested: "),
    "few": ("garbage", "1 inferences requested"),
    "garbage": ("garbage", "cannot be read"),
    "forgets": ("garbage", "not those reported"),
    "pads": ("garbage", "the workload classify has no part 'rest'"),
    "absurd": ("garbage", "cannot be read"),
    "negative": ("garbage", "cannot be read"),
    "floods": ("garbage", "longer than 1,048,576 bytes"),
}
SUITE = """
[measure]
timeout_s = 3
[measure.blocks]
latency = 2
[measure.latency]
min_samples = 10
min_time_s = 0
warmup_time_s = 0
"""


def measured(suite: Path, results: Path, **more: str) -> tuple[Run, ExitCode]:
    """Measure the suite in this process, without a report."""
    folder, code = bench(suite, results, Console(file=io.StringIO()), **more)
    return read_run(folder), code


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("turns")
    names = ("bad-turn-ok", *(f"bad-turn-{how}" for how in KINDS))
    run, code = measured(write_suite(folder, *names, probes='"latency"', more=SUITE), folder / "results")
    assert code == ExitCode.CASE_FAILED
    return run


@pytest.mark.parametrize("how", KINDS)
def test_the_kind_of_failure_and_its_message(how: str, run: Run) -> None:
    kind, words = KINDS[how]
    assert reasons(run)[f"bad-turn-{how}"] == ("error", kind)
    (failed,) = [record for record in run.records if f".bad-turn-{how}." in record.case and record.status == "error"]
    assert words in str(failed.reason)


def test_the_others_are_measured(run: Run) -> None:
    for name in ("bad-turn-ok", "bad-turn-ok-again"):
        records = [record for record in run.records if f".{name}." in record.case and record.probe == "latency"]
        assert [(record.block, record.status) for record in records] == [(0, "ok"), (1, "ok")]
        for record in records:
            turned = record.turned
            assert turned is not None
            assert record.result is not None
            measured = record.result.samples["inference"].warm_ns[turned.warmup :]
            turns = len(turned.roundtrip_ns)
            assert len(measured) == turns * turned.inferences >= 10
            assert turned.checked == turned.warmup + turns


def test_in_mode_alone_each_has_a_separate_group(tmp_path: Path) -> None:
    text = SUITE + 'mode = "alone"\n'
    suite = write_suite(tmp_path, "bad-turn-ok", "bad-turn-late", probes='"latency"', more=text)
    run, code = measured(suite, tmp_path / "results")
    assert code == ExitCode.CASE_FAILED
    assert {record.turned.group_size for record in run.records if record.turned} == {1}


def test_with_several_threads_turns_are_longer(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, "bad-turn-ok", probes='"latency"', more=SUITE + "[settings]\nthreads = [1, 2]\n")
    run, _ = measured(suite, tmp_path / "results")
    turned = {record.case: record.turned for record in run.records if record.turned}
    one, two = (
        [interleaving.inferences for case, interleaving in turned.items() if f".t{count}." in case] for count in (1, 2)
    )
    assert max(one) < min(two)


def test_precision_and_time_end_the_sampling(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, "bad-turn-ok", "bad-turn-lies", probes='"latency"', more=SUITE)
    run, _ = measured(suite, tmp_path / "results", precision="40%", time="60s")
    stop = run.info.stops["latency"]
    assert stop.cause == "precision"
    assert stop.widest is not None
    assert stop.widest <= 0.4
    run, _ = measured(suite, tmp_path / "short", time="1s")
    assert run.info.stops["latency"].cause == "time"


@thorough
def test_a_clock_that_reports_three_percent_less_is_excluded(tmp_path: Path) -> None:
    text = SUITE.replace("min_samples = 10", "min_samples = 48").replace("latency = 2", "latency = 5")
    suite = write_suite(tmp_path, "bad-turn-ok", "bad-turn-fast", probes='"latency"', more=text)
    assert runoff("bench", suite, "--results", tmp_path / "results").code == 1
    run = only_run(tmp_path / "results")
    assert {record.status for record in run.records} == {"ok"}, "a single turn shows nothing"
    summary = analyse(run).summary
    lines = summary[summary["probe"] == "latency"].set_index("target")
    fast, unmodified = lines.loc[["bad-turn-fast"]], lines.loc[["bad-turn-ok", "bad-turn-ok-again"]]
    assert set(fast["status"]) == {"error"}
    assert fast["estimate"].isna().all()
    assert fast["reason"].str.contains("longer than the runner reports, compared with those of bad-turn-ok").all()
    assert "ok" in set(unmodified["status"])
    assert "error" not in set(unmodified["status"])
