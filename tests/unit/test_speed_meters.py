"""Measuring the table of ratios: small programs of the shell stand in for runners and floor."""

from __future__ import annotations

import json
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rich.console import Console

import runoff.speed.programs
from runoff.probes.base import Probe, Tool
from runoff.probes.memory import MEMORY
from runoff.processes import Spawner
from runoff.records.protocol import Memory, Once, Result
from runoff.records.reason import Reason
from runoff.speed import inside
from runoff.speed.candidates import NotMeasuredError
from runoff.speed.meters import make_meters
from runoff.speed.pairs import Pairs
from runoff.speed.programs import Bench, noting, shuffled
from runoff.speed.ratios import Group
from runoff.speed.rows import find_rows
from runoff.speed.run import measure, new_run
from runoff.speed.warm import TURN, TURNS, Warm
from runoff.speed.whole import MEMORY_BLOCKS, PROCESS_BLOCKS, Whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runoff.processes import Finished
    from runoff.speed.run import Run

TURNING = """echo ready; while read n; do echo '{"preprocess": [2], "inference": [1, 5, 5, 9]}'; done"""


class Fake:
    """A program of the shell."""

    def __init__(self, script: str, *, wrong: str = "") -> None:
        self.script = script
        self.wrong = wrong
        self.asked: list[str] = []

    def environment(self) -> dict[str, str]:
        """Return next to nothing."""
        return {"PATH": "/bin:/usr/bin"}

    def command(self, scratch: Path, probe: Probe) -> tuple[str, ...]:
        """Return the script's command line; note what was asked for."""
        assert list(scratch.iterdir()) == []
        self.asked.append(probe.name)
        return ("/bin/sh", "-c", "exit 0" if probe.name == "answer" else self.script)

    def check(self, finished: Finished, scratch: Path, *, watched: bool) -> Result | None:  # noqa: ARG002
        """Refuse what ended badly, or is meant to be wrong."""
        if finished.exit_code or self.wrong:
            raise NotMeasuredError(Reason("x", self.wrong or f"exit {finished.exit_code}"))
        return Result(protocol=1, case="c", status="ok", memory=Memory(peak_bytes=1000))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Spawner(tmp_path / "log") as spawner:
        yield Bench(None, spawner, tmp_path / "scratch")  # type: ignore[arg-type]  # fakes read no model


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> dict[str, Fake]:
    """Return the programs by name; what is not in it cannot run."""
    known: dict[str, Fake] = {}

    def make(name: str, *_: object) -> Fake:
        if name not in known:
            raise NotMeasuredError(Reason("not-installed", "it is not built"))
        return known[name]

    monkeypatch.setattr(runoff.speed.programs, "make_candidate", make)
    return known


def timed() -> Probe:
    """Return a probe whose tool says that everything takes 2.5 s."""

    def wrap(_tool: str, argv: tuple[str, ...], _scratch: Path) -> tuple[str, ...]:
        return argv

    def read(_scratch: Path) -> list[dict[str, Any]]:
        return [{"time_wall_clock": {"value": 2.5, "unit": "second"}}]

    return Probe(name="process", summary="", measure=Once(), tool=Tool(name="sh", wrap=wrap, read=read, hint=""))


def test_whole_processes_take_part_in_every_block(bench: Bench, programs: dict[str, Fake]) -> None:
    programs.update(a=Fake("exit 0"), torch=Fake("exit 0"))
    meter = Whole(bench, "cold", ("a", "torch"), timed())
    for turn in range(2):
        meter.measure(turn)
    units = meter.group.units
    assert len(units) == 2 * PROCESS_BLOCKS
    assert [unit["a"] for unit in units] == [[2.5e9]] * len(units)
    assert ["torch" in unit for unit in units] == [block % 4 == 0 for block in range(PROCESS_BLOCKS)] * 2
    assert programs["a"].asked == ["answer"] + ["process"] * len(units)
    assert meter.group.reasons == {}


def test_memory_is_what_the_process_says(bench: Bench, programs: dict[str, Fake]) -> None:
    programs["a"] = Fake("exit 0")
    meter = Whole(bench, "default", ("a",), MEMORY)
    meter.measure(0)
    assert meter.group.unit == "bytes"
    assert meter.group.units == [{"a": [1000]}] * MEMORY_BLOCKS


def test_one_that_cannot_run_or_answers_wrong_or_fails_has_a_reason(bench: Bench, programs: dict[str, Fake]) -> None:
    programs.update(good=Fake("exit 0"), wrong=Fake("exit 0", wrong="it says dog"), breaks=Fake("exit 9"))
    meter = Whole(bench, "cold", ("good", "wrong", "breaks", "absent"), timed())
    meter.measure(0)
    reasons = {name: str(reason) for name, reason in meter.group.reasons.items()}
    assert reasons == {"wrong": "it says dog", "breaks": "exit 9", "absent": "it is not built"}
    assert programs["wrong"].asked == ["answer"]  # never timed
    assert programs["breaks"].asked == ["answer", "process"]  # not again
    assert all(unit == {"good": [2.5e9]} for unit in meter.group.units)


def test_live_processes_take_turns(bench: Bench, programs: dict[str, Fake]) -> None:
    programs.update(a=Fake(TURNING), b=Fake(TURNING.replace("5", "7")))
    meter = Warm(bench, ("a", "b"))
    for turn in range(2):
        meter.measure(turn)
    assert meter.group.units == [{"a": [5.0] * TURNS, "b": [7.0] * TURNS}] * 2
    assert programs["a"].asked == ["answer", "turns", "turns"]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 3", "exit 3"),
        ("echo hello; cat >/dev/null", "does not say that it is ready"),
        ("echo ready; read n; echo oops >&2; exit 4", "exited with code 4: oops"),
        ("echo ready; while read n; do echo soon; done", "JSONDecodeError"),
        (f"{TURNING}; exit 6", "exit 6"),
    ],
)
def test_a_live_process_that_fails_leaves_the_others(
    script: str, words: str, bench: Bench, programs: dict[str, Fake]
) -> None:
    programs.update(good=Fake(TURNING), bad=Fake(script))
    meter = Warm(bench, ("good", "bad"))
    meter.measure(0)
    assert meter.group.reasons.keys() == {"bad"}
    assert words in str(meter.group.reasons["bad"])
    assert meter.group.units == [{"good": [5.0] * TURNS}]


def test_live_processes_are_asked_for_whole_turns(bench: Bench, programs: dict[str, Fake]) -> None:
    answer = """echo '{"inference": [2]}'"""
    programs["a"] = Fake(f'echo ready; while read n; do [ "$n" = "{TURN}" ] && {answer}; done')
    meter = Warm(bench, ("a",))
    meter.measure(0)
    assert meter.group.units == [{"a": [2.0] * TURNS}]


def test_pairs_without_their_environment(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNOFF_ENVS", str(tmp_path / "none"))
    meter = Pairs(bench, "call", ("runoff_ort", "onnxruntime"))
    meter.measure(0)
    assert meter.group.units == []
    assert meter.group.reasons.keys() == {"runoff_ort", "onnxruntime"}
    assert "nox -s extension" in str(meter.group.reasons["onnxruntime"])


def test_a_run_keeps_every_round_and_what_an_interruption_leaves(bench: Bench, programs: dict[str, Fake]) -> None:
    programs.update({"ort-rust": Fake("exit 0"), "ort-python": Fake("exit 0")})
    rows = find_rows(("memory-cold",))
    meters = make_meters(rows, bench)
    run = new_run("nox -s speed", 3, meters)
    kept: list[tuple[int, int]] = []

    def keep(run: Run) -> None:
        kept.append((run.rounds, run.outcomes[0].blocks))
        if run.rounds == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(run, rows, meters, Console(file=StringIO()), keep)
    assert kept[:2] == [(1, MEMORY_BLOCKS), (2, 2 * MEMORY_BLOCKS)]
    assert run.outcomes[0].value == pytest.approx(1.0)
    assert run.outcomes[0].verdict == "missed"


def test_only_the_candidates_of_the_rows_take_part(bench: Bench, programs: dict[str, Fake]) -> None:
    programs.update({"ort-rust": Fake("exit 0"), "ort-python": Fake("exit 0")})
    meters = make_meters(find_rows(("memory-default", "warm-rust")), bench)
    assert list(meters) == ["warm", "memory-default"]
    meters["memory-default"].measure(0)
    assert meters["memory-default"].group.units[0].keys() == {"ort-rust", "ort-python"}


def test_failures_that_are_bugs_are_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), noting(Group(unit="ns"), "a"):
        raise ZeroDivisionError


def test_orders_depend_on_the_seed() -> None:
    orders = {tuple(shuffled("abcd", f"{seed}")) for seed in range(50)}
    assert len(orders) > 10
    assert shuffled("abcd", "1") == shuffled("abcd", "1")


def test_pairs_take_turns_in_short_blocks() -> None:
    called: list[str] = []

    def block(name: str) -> float:
        called.append(name)
        return float(len(called))

    values = inside.take_turns({"a": lambda: block("a"), "b": lambda: block("b")}, 30, 1)
    pairs = list(zip(called[::2], called[1::2], strict=True))
    assert {frozenset(pair) for pair in pairs} == {frozenset("ab")}
    assert len(set(pairs)) == 2  # both orders
    assert len(pairs) == 32  # two are not kept
    assert [len(values["a"]), len(values["b"])] == [30, 30]
    assert min(values["a"] + values["b"]) > 4


def test_a_pair_that_disagrees_is_not_timed() -> None:
    with pytest.raises(inside.UnfitError, match="same answer"):
        inside.agree(np.zeros(2, np.float32), np.ones(2, np.float32))


def test_the_program_says_why_it_cannot_measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_asked: dict[str, Any]) -> inside.Candidates:
        raise inside.UnfitError("no such thing")

    (tmp_path / "asked.json").write_text(json.dumps({"measure": "call"}))
    monkeypatch.setitem(inside.MEASURES, "call", refuse)
    monkeypatch.setattr("sys.argv", ["inside.py", str(tmp_path / "asked.json")])
    assert inside.main() == 0
    assert json.loads(capsys.readouterr().out) == {"reason": "no such thing"}
