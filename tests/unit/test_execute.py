"""Order and skipping of processes. These tests start none."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestra import HEAD, capabilities, case_of, info_of, record_of, suite_of, target_info

import runoff.measure.execute
from runoff.measure.energy.meters import Meters
from runoff.measure.execute import execute, make_block
from runoff.measure.job import ExecutionContext, Job
from runoff.measure.stopping import Sampling
from runoff.plan.target import TargetInfo
from runoff.probes import PROBES
from runoff.probes.counters import PERF
from runoff.processes import Spawner
from runoff.records.files import RunWriter, read_run
from runoff.records.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from runoff.records.schema import Case, Record

TURNS = {"measures": ("once", "latency", "accuracy", "turns")}


def targets_of(*names: str, **changes: Any) -> dict[str, TargetInfo]:
    return {name: TargetInfo(target_info(name).target, capabilities(**changes)) for name in names}


def order_of(seed: int, *names: str, blocks: int = 20) -> list[list[str]]:
    suite = suite_of(f"{HEAD}[measure]\nseed = {seed}\n")
    cases, targets = [case_of(name) for name in names], targets_of(*names)
    made = [make_block(suite, cases, targets, PROBES["life"], block) for block in range(blocks)]
    return [[case.target for job in jobs for case in job.cases] for jobs in made]


@given(st.integers(), st.integers(1, 6))
def test_every_block_has_each_case_once(seed: int, size: int) -> None:
    names = [f"t{number}" for number in range(size)]
    for turn in order_of(seed, *names, blocks=3):
        assert sorted(turn) == names


def test_the_order_depends_on_the_seed_and_the_block_only() -> None:
    names = ("a", "b", "c", "d")
    assert order_of(1, *names) == order_of(1, *names)
    assert order_of(1, *names) != order_of(2, *names)
    assert len({tuple(turn) for turn in order_of(1, *names)}) > 5
    assert {turn[0] for turn in order_of(1, *names)} == set(names)


def test_accuracy_is_the_first_pass() -> None:
    assert next(iter(PROBES)) == "accuracy"


def test_cases_that_cannot_run_here_get_no_jobs() -> None:
    case = case_of("a", skipped=Reason("format", "it cannot"))
    assert make_block(suite_of(HEAD), [case], targets_of("a"), PROBES["life"], 0) == []


def sets_of(text: str, targets: Mapping[str, TargetInfo]) -> list[list[str]]:
    cases = [case_of(name, ("latency",)) for name in targets]
    jobs = make_block(suite_of(text), cases, targets, PROBES["latency"], 0)
    return sorted([case.target for case in job.cases] for job in jobs)


def test_the_cases_of_a_comparison_that_support_turns_are_interleaved() -> None:
    assert sets_of(HEAD, targets_of("a", "b", **TURNS)) == [["a", "b"]]
    assert sets_of(HEAD, targets_of("a", **TURNS) | targets_of("b")) == [["a"], ["b"]]
    assert sets_of(HEAD, targets_of("a", "c", **TURNS) | targets_of("b")) == [["a", "c"], ["b"]]
    assert sets_of(HEAD, targets_of("a", "b")) == [["a"], ["b"]]
    assert sets_of(f'{HEAD}[measure.latency]\nmode = "alone"\n', targets_of("a", "b", **TURNS)) == [["a"], ["b"]]


class Listener:
    """Records its messages."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str, int]] = []

    def starting(self, job: Job) -> None:
        """Record the call."""
        self.heard.append(("start", job.cases[0].target, job.probe.name, job.block))

    def finished(self, job: Job, records: Sequence[Record]) -> None:
        """Record the call."""
        self.heard += [(record.status, job.cases[0].target, job.probe.name, job.block) for record in records]


BLOCKS = f"{HEAD}[measure.blocks]\naccuracy = 2\nlife = 2\nlatency = 2\n"
ENERGY = f"{HEAD}[measure.blocks]\nenergy = 2\naccuracy = 2\n"
CASES = [case_of(name, ("accuracy", "life")) for name in ("a", "b")]
ORDER = [
    (case.id, probe, block)
    for probe in ("accuracy", "life")
    for block in range(2)
    for job in make_block(suite_of(BLOCKS), CASES, targets_of("a", "b"), PROBES[probe], block)
    for case in job.cases
]
"""Case, probe and block of the eight processes, in start order."""


@pytest.fixture
def writer(tmp_path: Path) -> RunWriter:
    return RunWriter(tmp_path / "run", info_of(case_of("a"), case_of("b")))


def measure(
    writer: RunWriter,
    listener: Listener | None = None,
    *,
    cases: Sequence[Case] = CASES,
    before: Sequence[Record] = (),
    text: str = BLOCKS,
    can: Mapping[str, Any] | None = None,
    missing: tuple[str, ...] = (),
    meters: Meters | None = None,
) -> tuple[Record, ...]:
    suite = suite_of(text)
    bench = ExecutionContext(
        suite=suite,
        targets=targets_of("a", "b", **can or {}),
        models={},
        tool_reasons={name: Reason("tool-missing", "it is not here") for name in missing},
        spawner=Spawner(writer.folder / "log"),
        scratch=writer.folder,
        secret="",
        sampling=Sampling(suite, writer.info, writer.folder, lambda _run, _probe: None),
        before=before,
        meters=meters or Meters(),
    )
    execute(bench, cases, PROBES.values(), writer, listener or Listener())
    return read_run(writer.folder).records


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], str]:
    """Return fake outcomes by case and probe; a case that is not listed is ok."""
    statuses: dict[tuple[str, str], str] = {}

    def pretend(_bench: ExecutionContext, job: Job, blanks: Sequence[Record]) -> list[Record]:
        found = [statuses.get((case.target, job.probe.name), "ok") for case in job.cases]
        reasons = [None if status == "ok" else Reason("crashed", "it did") for status in found]
        return [
            record_of(blank.case, blank.probe, block=blank.block, order=blank.order, status=status, reason=reason)
            for blank, status, reason in zip(blanks, found, reasons, strict=True)
        ]

    monkeypatch.setattr(runoff.measure.execute, "_measure", pretend)
    return statuses


@pytest.mark.usefixtures("outcomes")
def test_every_job_is_measured_and_kept(writer: RunWriter) -> None:
    listener = Listener()
    records = measure(writer, listener)
    assert [(record.case, record.probe, record.block) for record in records] == ORDER
    assert [record.order for record in records] == list(range(8))
    assert {record.status for record in records} == {"ok"}
    assert Counter(word for word, *_ in listener.heard) == {"start": 8, "ok": 8}
    assert {name: (stop.cause, stop.blocks) for name, stop in writer.info.stops.items()} == {
        "accuracy": ("blocks", 2),
        "life": ("blocks", 2),
    }


@pytest.mark.parametrize("status", ["error", "unsupported"])
def test_a_case_that_fails_is_not_started_again_and_the_others_go_on(
    status: str, writer: RunWriter, outcomes: dict[tuple[str, str], str]
) -> None:
    outcomes["a", "accuracy"] = status
    records = measure(writer)
    assert [record.status for record in records if record.case.endswith(".a")] == [status]
    assert [record.status for record in records if record.case.endswith(".b")] == ["ok"] * 4


def test_a_failure_among_interleaved_processes_leaves_the_others(
    writer: RunWriter, outcomes: dict[tuple[str, str], str]
) -> None:
    outcomes["a", "latency"] = "error"
    cases = [case_of(name, ("latency",)) for name in ("a", "b")]
    records = measure(writer, cases=cases, can=TURNS)
    assert [(record.case[-1], record.block, record.status) for record in records] == [
        ("a", 0, "error"),
        ("b", 0, "ok"),
        ("b", 1, "ok"),
    ]


def test_a_probe_that_is_not_measured_leaves_the_others(
    writer: RunWriter, outcomes: dict[tuple[str, str], str]
) -> None:
    outcomes["a", "accuracy"] = "not-measured"
    found = [(record.probe, record.status) for record in measure(writer) if record.case.endswith(".a")]
    assert found == [("accuracy", "not-measured"), ("life", "ok"), ("life", "ok")]


@pytest.mark.parametrize("status", ["error", "not-measured"])
def test_a_pass_for_a_time_ends_when_no_case_is_left(
    status: str, writer: RunWriter, outcomes: dict[tuple[str, str], str]
) -> None:
    outcomes.update(dict.fromkeys([("a", "life"), ("b", "life")], status))
    writer.info.time_s = 0.5
    measure(writer, cases=[case_of(name, ("life",)) for name in ("a", "b")])
    stop = writer.info.stops["life"]
    assert (stop.cause, stop.blocks) == ("no-case", 1)


def test_the_time_of_an_interrupted_job_is_measured_time(writer: RunWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> list[Record]:
        time.sleep(0.05)
        raise KeyboardInterrupt

    monkeypatch.setattr(runoff.measure.execute, "_measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure(writer)
    assert writer.info.measured_ns >= 50_000_000


@pytest.mark.usefixtures("outcomes")
@pytest.mark.parametrize("kept", range(9))
def test_resuming_measures_only_missing_jobs(kept: int, writer: RunWriter) -> None:
    before = [
        record_of(case, probe, block=block, order=order) for order, (case, probe, block) in enumerate(ORDER[:kept])
    ]
    for record in before:
        writer.append(record)
    listener = Listener()
    records = measure(writer, listener, before=before)
    assert [(record.case, record.probe, record.block) for record in records] == ORDER
    assert [record.order for record in records] == list(range(8))
    assert len(listener.heard) == 2 * (8 - kept)


@pytest.mark.usefixtures("outcomes")
def test_resuming_does_not_start_failed_cases(writer: RunWriter) -> None:
    before = [record_of("net.classify.a", "accuracy", status="error", reason=Reason("crashed", "it did"))]
    assert {record.case for record in measure(writer, before=before)} == {"net.classify.b"}


@pytest.mark.usefixtures("outcomes")
def test_unsupported_probes_are_reported(writer: RunWriter) -> None:
    records = measure(writer, can={"measures": ("once",)})
    reasons = [record.reason for record in records if record.probe == "accuracy"]
    assert [reason.kind for reason in reasons if reason] == ["measure", "measure"]
    assert "does not support 'accuracy' (supported: once)" in str(reasons[0])
    assert Counter(record.probe for record in records) == {"accuracy": 2, "life": 4}


@pytest.mark.usefixtures("outcomes")
def test_a_load_that_is_impossible_leaves_the_other_probes(writer: RunWriter) -> None:
    case = msgspec.structs.replace(case_of("a", ("load", "life")), workload="segment")
    records = measure(writer, cases=[case], can={"measures": ("once", "load")})
    statuses = {(record.probe, record.status, record.reason and record.reason.kind) for record in records}
    assert statuses == {("load", "not-measured", "workload"), ("life", "ok", None)}


@pytest.mark.usefixtures("outcomes")
def test_a_missing_tool_is_reported_and_nothing_is_started(writer: RunWriter) -> None:
    listener = Listener()
    (record,) = measure(writer, listener, cases=[case_of("a", ("counters",))], missing=(PERF.name,))
    assert (record.status, record.reason) == ("not-measured", Reason("tool-missing", "it is not here"))
    assert [word for word, *_ in listener.heard] == ["not-measured"]


@pytest.mark.usefixtures("outcomes")
def test_a_pause_is_made_and_accounted_for(writer: RunWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    measure(writer, text=BLOCKS.replace("[measure.blocks]", "[measure]\npause_s = 0.25\n[measure.blocks]"))
    assert pauses == [0.25] * 8
    assert writer.info.paused_ns == 2_000_000_000


@pytest.mark.usefixtures("outcomes")
def test_without_an_energy_counter_nothing_is_started_and_each_source_is_reported(writer: RunWriter) -> None:
    listener = Listener()
    why = Reason("no-counter", "no RAPL zone")
    (record,) = measure(
        writer, listener, cases=[case_of("a", ("energy",))], text=ENERGY, meters=Meters((), {"powercap": why})
    )
    assert (record.status, record.reason) == ("not-measured", Reason("no-meter", "powercap: no RAPL zone"))
    assert [word for word, *_ in listener.heard] == ["not-measured"]
