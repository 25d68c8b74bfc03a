"""``runoff selftest``: every injected fault is caught, and is missed if its check is disabled."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from rich.console import Console
from running import Ended, runoff

from machine import FULL, thorough
from runoff.analysis import audit
from runoff.analysis.analyse import analyse
from runoff.bench import bench
from runoff.measure.live_process import LiveProcess
from runoff.records.files import read_run
from runoff.selftest.faults import FAULTS, SAMPLES, judge_faults, plan_faults
from runoff.selftest.suites import write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from runoff.records.schema import Run

pytestmark = pytest.mark.clock

NAMES = [fault.name for fault in FAULTS]
TRIED = NAMES if FULL else [name for name in NAMES if name != "clock-fast"]
"""One fault is caught in several sets, which take long."""
IN_THE_AUDIT = "threads"
"""The fault that does not exclude the case from timing; it is in the headline of the report."""


class Proof:
    """A run of the faults, and what the command prints: without FULL, only the outcomes of two sets."""

    def __init__(self, results: Path) -> None:
        if not FULL:
            with pytest.MonkeyPatch.context() as monkeypatch:
                monkeypatch.setattr("runoff.selftest.faults.SETS", 2)
                self.run = run_of(TRIED, results, SAMPLES)
            self.printed: dict[str, Any] = {"faults": msgspec.to_builtins(judge_faults(self.run))}
            return
        self.ended: Ended = runoff("selftest", "--time", "1s", "--json", RUNOFF_RESULTS=str(results))
        (self.folder,) = results.iterdir()
        (folder,) = self.folder.glob("selftest-faults-*")
        self.run = read_run(folder)
        self.printed = json.loads(self.ended.out)

    def outcome(self, fault: str) -> dict[str, Any]:
        """Return the printed outcome of a fault."""
        (found,) = (outcome for outcome in self.printed["faults"] if outcome["fault"] == fault)
        return dict(found)


@pytest.fixture(scope="module")
def proof(complete: None, tmp_path_factory: pytest.TempPathFactory) -> Proof:  # noqa: ARG001 (checked before)
    return Proof(tmp_path_factory.mktemp("selftest"))


@pytest.mark.parametrize("fault", TRIED)
def test_an_injected_fault_is_caught(fault: str, proof: Proof) -> None:
    outcome = proof.outcome(fault)
    assert outcome["caught"], outcome["said"]


def test_nothing_is_reported_for_the_unmodified_runner(proof: Proof) -> None:
    assert proof.outcome("none") == {
        "fault": "none",
        "what": "unmodified runner",
        "caught": True,
        "said": "no failure, as expected",
    }


@pytest.mark.parametrize("fault", [name for name in TRIED if name != IN_THE_AUDIT])
def test_a_failed_case_is_excluded_from_timing(fault: str, proof: Proof) -> None:
    summary = analyse(proof.run).summary
    rows = summary[(summary["target"] == f"injected-{fault}") & (summary["probe"] == "latency")]
    assert len(rows)
    assert rows["ratio"].isna().all()
    assert set(rows["status"]) <= {"error", "unsupported"}


def test_the_output_of_another_input_is_named(proof: Proof) -> None:
    for fault in ("cached", "late"):
        assert "they are the outputs of " in proof.outcome(fault)["said"]


@thorough
def test_the_exit_code_is_the_verdict(proof: Proof) -> None:
    assert proof.ended.code == (0 if proof.printed["passed"] else 1)


@thorough
def test_all_slowdowns_are_printed_and_stored(proof: Proof) -> None:
    assert [one["planted"] for one in proof.printed["slowdowns"]] == [0, 0.01, 0.02, 0.05]
    assert json.loads((proof.folder / "selftest.json").read_bytes()) == proof.printed


def _no_outputs_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runoff.measure.verify._disagreement", lambda *_: None)


def _no_provider_in_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable the check of the effective settings, and the audit after it."""
    monkeypatch.setattr("runoff.measure.verify.check_provider", lambda *_: None)
    monkeypatch.delitem(audit.POINTS, "provider", raising=False)


def _no_provider_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable the plan's check, and the checks after it."""
    monkeypatch.setattr("runoff.plan.cases._obstacle", lambda *_: None)
    _no_provider_in_effect(monkeypatch)


def _no_counted_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LiveProcess, "_cpu_s", lambda _: {})


def _no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runoff.measure.live_process.check_clock", lambda *_: None)
    _no_ratio_of_clocks(monkeypatch)


def _no_ratio_of_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runoff.analysis.validity.clock_disagreements", lambda *_: {})


def _no_outputs_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runoff.measure.live_process.check_outputs", lambda *_: None)


def _no_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runoff.measure.result._check_phases", lambda *_: None)


def _no_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runoff.measure.live_process.read_result", lambda *_, **__: (None, None))
    monkeypatch.setattr("runoff.measure.live_process._exit_reason", lambda _: None)


TAKEN_OUT: list[tuple[tuple[str, ...], Callable[[pytest.MonkeyPatch], None]]] = [
    (("wrong", "cached", "late"), _no_outputs_check),
    (("fallback",), _no_provider_check),
    (("fallback-claimed",), _no_provider_in_effect),
    (("threads",), _no_counted_threads),
    (("deferred",), _no_outputs_time),
    (("clock",), _no_clock),
    (("clock-fast",), _no_ratio_of_clocks),
    (("clock-phases",), _no_phases),
    (("crash",), _no_judge),
]


def run_of(faults: Sequence[str], folder: Path, samples: int) -> Run:
    """Measure these faults."""
    suite = write(plan_faults([fault for fault in FAULTS if fault.name in faults], samples), folder)
    run, _ = bench(suite, folder / "results", Console(file=io.StringIO()))
    return read_run(run)


def missed(faults: Sequence[str], folder: Path) -> list[str]:
    """Return which of the faults are missed."""
    return [outcome.fault for outcome in judge_faults(run_of(faults, folder, samples=30))[1:] if not outcome.caught]


@thorough
@pytest.mark.usefixtures("complete")
def test_without_all_checks_every_fault_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _, take_out in TAKEN_OUT:
        take_out(monkeypatch)
    assert missed(NAMES, tmp_path) == NAMES


@thorough
@pytest.mark.parametrize(("faults", "take_out"), TAKEN_OUT)
@pytest.mark.usefixtures("complete")
def test_without_its_check_a_fault_is_missed(
    faults: tuple[str, ...],
    take_out: Callable[[pytest.MonkeyPatch], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take_out(monkeypatch)
    assert missed(faults, tmp_path) == list(faults)


def test_every_fault_has_its_check_taken_out() -> None:
    assert sorted(name for faults, _ in TAKEN_OUT for name in faults) == sorted(NAMES)
