"""The trials: runs split by time, and detection rates."""

from __future__ import annotations

import json
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from click.testing import CliRunner
from measuring import TRIALS
from orchestra import case_of, info_of, record_of
from readings import THRESHOLDS, Attempt, Threshold, write_summary
from rich.console import Console
from split import split_run
from trials import NAMES, trials

from runoff.measure.machine import describe_machine
from runoff.plan.quantities import parse_duration
from runoff.records.errors import RunoffError
from runoff.records.files import RunWriter
from runoff.records.schema import Run

if TYPE_CHECKING:
    from runoff.analysis.verdict import Kind
    from runoff.records.schema import Record

SLOWER, FASTER, SAME = "2.0 % slower (1.8 to 2.2)", "1.0 % faster (0.8 to 1.2)", "no difference (floor 0.3 %)"


def timed_run(*ends_s: tuple[float, ...], time_s: float | None = 180) -> Run:
    """Return a run; its processes end at the given seconds after the first spawn, by block."""
    info = info_of()
    info.time_s = time_s
    spawn_ns = 5_000_000_000
    records = [record_of(probe="accuracy", spawn_ns=1, exit_ns=2)]
    records += [
        record_of(f"case-{place}", "latency", block=block, spawn_ns=spawn_ns, exit_ns=spawn_ns + round(end * 1e9))
        for block, ends in enumerate(ends_s)
        for place, end in enumerate(ends)
    ]
    return Run(Path("run"), info, tuple(records))


def blocks(run: Run) -> list[int]:
    return sorted({record.block for record in run.records if record.probe == "latency"})


def test_a_block_belongs_to_the_part_of_its_last_process() -> None:
    run = timed_run((10, 20), (59, 61), (100, 119), (179, 179.9))
    assert [blocks(part) for part in split_run(run, "latency", 3)] == [[0], [1, 2], [3]]


def test_no_block_is_cut_or_counted_twice() -> None:
    run = timed_run(*((end, end + 1) for end in range(5, 175, 7)))
    parts = split_run(run, "latency", 6)
    dealt: list[Record] = [record for part in parts for record in part.records if record.probe == "latency"]
    assert sorted(map(repr, dealt)) == sorted(repr(record) for record in run.records if record.probe == "latency")
    for part in parts:
        assert all(len([r for r in part.records if r.probe == "latency" and r.block == b]) == 2 for b in blocks(part))


def test_blocks_after_the_time_are_in_no_part() -> None:
    run = timed_run((10,), (185,))
    assert [blocks(part) for part in split_run(run, "latency", 3)] == [[0], [], []]
    assert split_run(run, "latency", 1) == [run]


def test_other_probes_are_in_all_parts() -> None:
    parts = split_run(timed_run((10,), (100,)), "latency", 2)
    assert [[record.probe for record in part.records].count("accuracy") for part in parts] == [1, 1]


def test_a_run_without_a_time_is_refused() -> None:
    with pytest.raises(RunoffError, match="has no time limit"):
        split_run(timed_run((10,), time_s=None), "latency", 3)


KINDS: dict[str, Kind] = {SLOWER: "worse", FASTER: "better", SAME: "no difference"}


def attempt(verdict: str, injected: float = 0.02, seconds: float = 60) -> Attempt:
    return Attempt(
        trial="latency",
        run="r",
        parts=3,
        part=0,
        seconds=seconds,
        injected=injected,
        blocks=9,
        others=1.0,
        measured=0.02,
        low=0.018,
        high=0.022,
        floor=0.003,
        p_adjusted=0.01,
        kind=KINDS.get(verdict, ""),
        verdict=verdict,
    )


@pytest.mark.parametrize(
    ("verdicts", "met"),
    [
        ([SLOWER] * 19 + [SAME], True),
        ([SLOWER] * 18 + [SAME] * 2, False),
        ([SLOWER] * 18 + [FASTER, "not measured"], False),
        ([], None),
    ],
)
def test_found_often_enough(verdicts: list[str], met: bool | None) -> None:  # noqa: FBT001
    attempts = [*map(attempt, verdicts), attempt(SAME, seconds=30), attempt(SAME, injected=0.01)]
    assert Threshold("latency", 0.02, 60, 19 / 20, "").met(attempts) == met


@pytest.mark.parametrize(("wrong", "met"), [(5, True), (6, False)])
def test_the_a_a_interval_rarely_excludes_zero_in_either_direction(wrong: int, met: bool) -> None:  # noqa: FBT001
    intervals = [*[(0.001, 0.002), (-0.002, -0.001), (nan, nan)] * 2][:wrong] + [(-0.001, 0.001)] * (60 - wrong)
    quiet = attempt(SAME, injected=0.0, seconds=30)
    attempts = [msgspec.structs.replace(quiet, low=low, high=high) for low, high in intervals]
    assert Threshold("latency", 0.0, 30, 5 / 60, "").met(attempts) is met


def test_the_summary_is_made_from_the_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = info_of(case_of("unmodified"))
    info.time_s, info.finished, info.machine = 60, "now", describe_machine()
    RunWriter(tmp_path / "latency" / "one", info)
    RunWriter(tmp_path / "latency" / "interrupted", info_of())
    attempts = [attempt(SLOWER), msgspec.structs.replace(attempt(SAME), floor=nan)]
    monkeypatch.setattr("readings.read_attempts", lambda *_: attempts)
    with (tmp_path / "printed").open("w") as file:
        write_summary(tmp_path, Console(file=file))
    text = (tmp_path / "trials.md").read_text()
    assert "1 runs of 60 s (latency)" in text
    assert "| latency | 2% slower is found | 60 s | at least 19 of 20 | 1 of 2 | missed |" in text
    summary = json.loads((tmp_path / "trials.json").read_text())
    assert [(row["attempts"], row["slower"], row["no_difference"]) for row in summary["rows"]] == [(2, 1, 1)]
    assert len((tmp_path / "attempts.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [([], "nothing to do"), (["--read"], "no finished run in"), (["--measure", "memory"], "'memory' is not one of")],
)
def test_bad_input(arguments: list[str], words: str, tmp_path: Path) -> None:
    ended = CliRunner().invoke(trials, [*arguments, "--out", str(tmp_path)])
    assert ended.exit_code != 0
    assert words in ended.output + str(ended.exception)


def test_the_command_lists_the_trials_and_each_threshold_has_a_trial() -> None:
    assert tuple(TRIALS) == NAMES
    for threshold in THRESHOLDS:
        trial = TRIALS[threshold.trial]
        assert threshold.injected in trial.injected.values()
        assert parse_duration(trial.time) in {threshold.seconds * parts for parts in trial.parts}
