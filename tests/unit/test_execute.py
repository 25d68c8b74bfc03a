"""The order in which processes are started, and which of them are passed over. Nothing is started here."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestra import HEAD, capabilities, case_of, info_of, job_of, offer, record_of, suite_of

import runoff.execute
from runoff.execute import Bench, Job, execute, make_jobs
from runoff.plan import Offer
from runoff.probes import passes
from runoff.probes.counters import PERF
from runoff.processes import Spawner
from runoff.reason import Reason
from runoff.store import RunWriter, read_run
from runoff.suite import LatencyMinima

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runoff.store import Record

PROBES = passes(LatencyMinima())
NAMES = tuple(probe.name for probe in PROBES)


def order_of(seed: int, *names: str, blocks: int = 20) -> list[list[str]]:
    suite = suite_of(f"{HEAD}[measure]\nseed = {seed}\n[measure.blocks]\nlife = {blocks}\n")
    turns = make_jobs(suite, [case_of(name) for name in names], PROBES)
    (jobs,) = [turn for turn in turns if turn]
    return [[job.case.target for job in jobs if job.block == block] for block in range(blocks)]


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


def test_passes_do_not_mix_and_accuracy_comes_first() -> None:
    case = case_of("a", ("counters", "life", "accuracy"))
    turns = [{job.probe.name for job in turn} for turn in make_jobs(suite_of(HEAD), [case], PROBES)]
    assert [turn for turn in turns if turn] == [{"accuracy"}, {"life"}, {"counters"}]
    assert [probe.name for probe in PROBES] == ["accuracy", "process", "life", "latency", "memory", "counters"]


def test_cases_that_cannot_run_here_get_no_jobs() -> None:
    case = case_of("a", skipped=Reason("format", "it cannot"))
    assert [job for turn in make_jobs(suite_of(HEAD), [case], PROBES) for job in turn] == []


class Listener:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str, int]] = []

    def starting(self, job: Job) -> None:
        """Note it."""
        self.heard.append(("start", job.case.target, job.probe.name, job.block))

    def finished(self, job: Job, record: Record) -> None:
        """Note it."""
        self.heard.append((record.status, job.case.target, job.probe.name, job.block))


JOBS = [job_of(name, probe, block) for probe in ("accuracy", "life") for block in range(2) for name in ("a", "b")]


@pytest.fixture
def writer(tmp_path: Path) -> RunWriter:
    return RunWriter(tmp_path / "run", info_of(case_of("a"), case_of("b")))


def bench_of(tmp_path: Path, *, can: Mapping[str, Any] | None = None, missing: tuple[str, ...] = ()) -> Bench:
    return Bench(
        suite=suite_of(HEAD),
        offers={name: Offer(offer(name).target, capabilities(**can or {})) for name in ("a", "b")},
        models={},
        tool_reasons={name: Reason("tool-missing", "it is not here") for name in missing},
        spawner=Spawner(tmp_path / "log"),
        scratch=tmp_path,
    )


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], str]:
    """Return what becomes of a case and probe, in place of processes; all that is not named is ok."""
    statuses: dict[tuple[str, str], str] = {}

    def measure(_bench: Bench, job: Job, blank: Record) -> Record:
        status = statuses.get((job.case.target, job.probe.name), "ok")
        reason = None if status == "ok" else Reason("crashed", "it did")
        return record_of(blank.case, blank.probe, block=blank.block, order=blank.order, status=status, reason=reason)

    monkeypatch.setattr(runoff.execute, "_measure", measure)
    return statuses


@pytest.mark.usefixtures("outcomes")
def test_every_job_is_measured_and_kept(tmp_path: Path, writer: RunWriter) -> None:
    listener = Listener()
    execute(bench_of(tmp_path), JOBS, (), writer, listener)
    records = read_run(writer.folder).records
    assert [record.order for record in records] == list(range(8))
    assert {record.status for record in records} == {"ok"}
    assert Counter(word for word, *_ in listener.heard) == {"start": 8, "ok": 8}


@pytest.mark.parametrize("status", ["error", "unsupported"])
def test_a_case_that_fails_is_not_started_again_and_the_others_go_on(
    status: str, tmp_path: Path, writer: RunWriter, outcomes: dict[tuple[str, str], str]
) -> None:
    outcomes["a", "accuracy"] = status
    execute(bench_of(tmp_path), JOBS, (), writer, Listener())
    records = read_run(writer.folder).records
    assert [record.status for record in records if record.case.endswith(".a")] == [status]
    assert [record.status for record in records if record.case.endswith(".b")] == ["ok"] * 4


def test_a_probe_that_is_not_measured_leaves_the_others(
    tmp_path: Path, writer: RunWriter, outcomes: dict[tuple[str, str], str]
) -> None:
    outcomes["a", "accuracy"] = "not-measured"
    execute(bench_of(tmp_path), JOBS, (), writer, Listener())
    found = [(record.probe, record.status) for record in read_run(writer.folder).records if record.case.endswith(".a")]
    assert found == [("accuracy", "not-measured"), ("life", "ok"), ("life", "ok")]


@pytest.mark.usefixtures("outcomes")
@pytest.mark.parametrize("kept", range(9))
def test_going_on_measures_only_what_is_missing(kept: int, tmp_path: Path, writer: RunWriter) -> None:
    execute(bench_of(tmp_path), JOBS[:kept], (), writer, Listener())
    before = read_run(writer.folder).records
    listener = Listener()
    execute(bench_of(tmp_path), JOBS, before, writer, listener)
    records = read_run(writer.folder).records
    assert [record.order for record in records] == list(range(8))
    assert records[:kept] == before
    assert len(listener.heard) == 2 * (8 - kept)


def test_going_on_does_not_start_what_failed(
    tmp_path: Path, writer: RunWriter, outcomes: dict[tuple[str, str], str]
) -> None:
    outcomes["a", "accuracy"] = "error"
    execute(bench_of(tmp_path), JOBS[:2], (), writer, Listener())
    outcomes.clear()
    execute(bench_of(tmp_path), JOBS, read_run(writer.folder).records, writer, Listener())
    assert [record.case[-1] for record in read_run(writer.folder).records] == [
        "a" if JOBS[0].case.target == "a" else "b",
        *"bbbb",
    ]


@pytest.mark.usefixtures("outcomes")
def test_what_the_runner_does_not_do_is_said(tmp_path: Path, writer: RunWriter) -> None:
    execute(bench_of(tmp_path, can={"measures": ("once",)}), JOBS, (), writer, Listener())
    records = read_run(writer.folder).records
    reasons = [record.reason for record in records if record.probe == "accuracy"]
    assert [reason.kind for reason in reasons if reason] == ["measure", "measure"]
    assert "does not do 'accuracy' (it does: once)" in str(reasons[0])
    assert Counter(record.probe for record in records) == {"accuracy": 2, "life": 4}


@pytest.mark.usefixtures("outcomes")
def test_a_tool_that_is_missing_is_said_and_nothing_is_started(tmp_path: Path, writer: RunWriter) -> None:
    listener = Listener()
    execute(bench_of(tmp_path, missing=(PERF.name,)), [job_of("a", "counters")], (), writer, listener)
    (record,) = read_run(writer.folder).records
    assert (record.status, record.reason) == ("not-measured", Reason("tool-missing", "it is not here"))
    assert [word for word, *_ in listener.heard] == ["not-measured"]


@pytest.mark.usefixtures("outcomes")
def test_a_pause_is_made_and_accounted_for(tmp_path: Path, writer: RunWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    bench = bench_of(tmp_path)
    paused = Bench(
        **{name: getattr(bench, name) for name in Bench.__struct_fields__}
        | {"suite": suite_of(HEAD + "[measure]\npause_s = 0.25\n")}
    )
    execute(paused, JOBS, (), writer, Listener())
    assert pauses == [0.25] * 8
    assert writer.info.paused_ns == 2_000_000_000
