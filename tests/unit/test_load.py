"""The load: the search for the knee, its cases, and the report."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, cast
from zlib import crc32

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestra import HEAD, case_of, finished, info_of, manifest_of, record_of, result_of, suite_of, target_info

from runoff import statistics
from runoff.analysis.analyse import analyse
from runoff.analysis.audit import audit
from runoff.measure.job import Job
from runoff.measure.load import (
    ABOVE,
    AGAIN,
    LATE_SHARE,
    load_obstacle,
    measure_load,
    next_place,
    run_tests,
    share_within,
)
from runoff.measure.loaded_runner import LoadError, _is_port, digests, split_cores, summarised
from runoff.measure.result import Outcome
from runoff.plan.cases import make_plan, with_model_limits
from runoff.probes import PROBES
from runoff.probes.load import STEP, LoadOptions
from runoff.records.errors import RunoffError
from runoff.records.protocol import Settings, TensorSpec, WrittenTensor
from runoff.records.reason import Reason
from runoff.records.schema import LoadRun, LoadTest, Run
from runoff.report.frame import WIDE
from runoff.report.load import HEAD as COLUMNS
from runoff.report.load import rows
from runoff.report.load_plot import _quantile_ms, load_curves
from runoff.report.overview import blocks

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from runoff.analysis.analyse import Analysis


def searched(throughput: float, begin: float, knee: float) -> list[float]:
    """Return the rates that are tested if those up to `knee` hold."""
    known: dict[int, bool] = {}
    while (place := next_place(known, throughput, begin, ABOVE)) is not None:
        known[place] = STEP**place <= knee
    return [STEP**place for place in known]


@given(st.floats(10, 10_000), st.floats(0.21, 1.1), st.floats(0, 1))
def test_the_search_ends_within_a_step_of_the_knee(throughput: float, share: float, begin: float) -> None:
    knee = throughput * share
    tested = searched(throughput, begin, knee)
    assert len(tested) <= 11
    assert knee / STEP - 1e-6 <= max(rate for rate in tested if rate <= knee)


def test_the_search_gives_up_where_no_rate_holds() -> None:
    tested = searched(100.0, 0.8, knee=0.0)
    assert len(tested) <= 6
    assert 19 < min(tested) <= 20


@pytest.mark.parametrize(("share", "service_s"), [(0.6, 0.012), (0.9, 0.002)])
def test_the_search_starts_near_the_rate_that_a_queue_holds(share: float, service_s: float) -> None:
    rng = np.random.default_rng(1)
    arrivals = rng.exponential(service_s / share, 200_000).cumsum()
    # each begins when it has come and the one before it has ended
    begun = np.maximum.accumulate(arrivals - service_s * np.arange(len(arrivals))) + service_s * np.arange(
        len(arrivals)
    )
    latency_s = float(np.quantile(begun + service_s - arrivals, 0.99))
    assert share_within(latency_s, service_s, 0.99) == pytest.approx(share, rel=0.12)
    assert share_within(service_s / 2, service_s, 0.99) == 0


@pytest.mark.parametrize(("above", "fewest"), [(0, 459), (1, 662)])
def test_a_bound_is_held_by_the_rule_of_loadgen(above: int, fewest: int) -> None:
    assert statistics.holds(above, fewest, 0.99)
    assert not statistics.holds(above, fewest - 1, 0.99)


def test_the_loader_gets_the_cores_that_the_runner_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 1, 2}, raising=False)
    assert split_cores(1) == ((1,), (2, 3))
    assert split_cores(3) == ((), ())


def test_a_query_lasts_until_its_last_response_and_failed_requests_are_counted() -> None:
    samples = {
        "query": np.array([0, 0, 1, 1]),
        "item": np.array([0, 1, 0, 1]),
        "scheduled": np.array([0, 0, 5_000, 5_000]),
        "sent": np.array([1_000, 1_000, 5_000, 5_000]),
        "done": np.array([3_000, 4_000, 6_000, 9_000]),
        "queue": np.array([1_000, 2_000, 0, 0]),
        "compute": np.array([1_000, 1_000, 1_000, 0]),
        "batch": np.array([2, 2, 1, 0]),
    }
    test = summarised("MultiStream", samples, 9.0, 0, 0.5)
    assert (test.latency_us, test.failed, test.requests, test.wall_ns) == ((4, 1), 1, 3, 9_000)
    assert summarised("Server", samples, 9.0, 0, 0.5).latency_us == (3, 4, 1)


@pytest.mark.parametrize(
    ("outputs", "items"),
    [
        ({"a": (2,), "b": (2,)}, [2]),
        ({"b": (2,), "a": (2,)}, []),
        ({"a": (2,), "b": (3,)}, []),
        ({"a": (2, 3), "b": (2, 3)}, []),
        ({"a": (2,)}, []),
    ],
)
def test_a_digest_is_of_all_outputs_of_one_item_in_the_order_of_the_model(
    outputs: dict[str, tuple[int, ...]], items: list[int], tmp_path: Path
) -> None:
    names = [TensorSpec(name, "float32", (1,)) for name in "ab"]
    model: Any = SimpleNamespace(manifest=manifest_of(outputs=names))
    for name in outputs:
        (tmp_path / name).write_text(name)
    written = [WrittenTensor(of, name, "float32", (1,), str(tmp_path / name)) for name, of in outputs.items()]
    assert digests(model, result_of(outputs=tuple(written))) == {(item, b"%08x" % crc32(b"ab")) for item in items}


@pytest.mark.parametrize(
    ("word", "is_port"),
    [("1", True), ("65535", True), ("65536", False), ("abc", False), ("-1", False), ("9" * 5000, False)],
)
def test_a_port_has_16_bits(word: str, *, is_port: bool) -> None:
    assert _is_port(word) == is_port


def test_a_model_with_a_fixed_batch_has_no_batches() -> None:
    case = msgspec.structs.replace(case_of("mine", ("load",)), load=(("max_batch", 2),))
    (limited,) = with_model_limits([case], {"mine": target_info()}, {"net": manifest_of(batches=False)})
    assert limited.skipped
    assert limited.skipped.kind == "batch"


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, None),
        ({"workload": "segment"}, "workload"),
        ({"settings": Settings(batch=2)}, "batch"),
        ({"settings": Settings(provider="cuda")}, "provider-unavailable"),
    ],
)
def test_a_case_that_has_no_requests_is_not_measured(changes: dict[str, Any], kind: str | None) -> None:
    reason = load_obstacle(msgspec.structs.replace(case_of("mine"), **changes))
    assert (reason.kind if reason else None) == kind


class Loaded:
    """A runner that computes 100 requests per second on a machine that may stall, and a loader that may be late."""

    workers, cores, first_response_ns = 1, ((0,), (1,)), 1

    def __init__(self, late_us: int = 0, *, stalls: bool = False) -> None:
        self.counts: set[tuple[str, int]] = set()
        self.late_us = late_us
        self.stalls = stalls

    def test(self, scenario: str, *, count: int, rate: float, seed: int) -> LoadTest:
        """Return a test of `count` requests."""
        assert seed in (1, AGAIN)
        self.counts.add((scenario, count))
        late = count if scenario == "Server" and rate > 100 else 0
        if self.stalls and seed == 1:
            late = max(late, count // 20)
        latency = (10**6,) * late + (1000,) * (count - late)
        return LoadTest(
            scenario=scenario,
            rate=rate if scenario == "Server" else None,
            wall_ns=count * 10**7,
            **dict.fromkeys(("latency_us", "queue_us", "compute_us"), latency),  # type: ignore[arg-type]
            batch=1.0,
            failed=0,
            late_us=self.late_us,
            loader_share=0.1,
            cpu_ns=1,
        )


def ended(tests: Generator[None, None, LoadRun]) -> LoadRun:
    """Return what `tests` return after their last pause."""
    while True:
        try:
            next(tests)
        except StopIteration as over:
            return cast("LoadRun", over.value)


@pytest.mark.parametrize("stalls", [False, True])
def test_every_rate_has_the_requests_that_its_percentile_needs(stalls: bool) -> None:  # noqa: FBT001 (pytest's way)
    runner: Any = Loaded(stalls=stalls)
    load = ended(run_tests(runner, LoadOptions(requests=10, min_time_s=0), 0))
    assert load.knee
    assert load.knee.rate
    assert 100 / STEP < load.knee.rate <= 100
    assert load.limit
    assert load.limit.rate == pytest.approx(load.knee.rate * STEP)
    assert runner.counts == {("SingleStream", 64), ("Offline", 662), ("Server", 166), ("Server", 662)}


class Served(Loaded):
    """A runner of a job: ``gone`` cannot be started, and ``broken`` fails in its third test."""

    loader_cpu_ns = 0
    log: ClassVar[list[str]] = []

    def __init__(self, _context: object, job: Job) -> None:
        super().__init__()
        (self.case,) = job.cases
        if self.case.target == "gone":
            raise OSError("no such file")

    def test(self, scenario: str, *, count: int, rate: float, seed: int) -> LoadTest:
        """Note the test."""
        self.log.append(self.case.target)
        if self.case.target == "broken" and self.log.count("broken") == 3:
            raise LoadError(Reason("garbage", "it broke"))
        return super().test(scenario, count=count, rate=rate, seed=seed)

    def close(self, failure: Reason | None) -> tuple[Outcome, list[Any], int]:
        """Return how it ended."""
        return Outcome(finished(), None, failure), [], 1


def test_the_cases_of_a_comparison_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runoff.measure.load.LoadedRunner", Served)
    monkeypatch.setattr(Served, "log", [])
    names = ("gone", "a", "broken", "b")
    job = Job(tuple(case_of(name, ("load",)) for name in names), PROBES["load"], 0)
    context: Any = SimpleNamespace(suite=suite_of(HEAD), spawner=SimpleNamespace(measured_ns=0))
    records = measure_load(context, job, [record_of(case.id, "load") for case in job.cases])
    assert [record.status for record in records] == ["error", "ok", "error", "ok"]
    assert [str(record.reason) for record in records if record.reason] == ["cannot be run: no such file", "it broke"]
    assert [bool(record.load and record.load.knee) for record in records] == [False, True, False, True]
    for begin in (0, 3, 6):
        assert sorted(Served.log[begin : begin + 3]) == ["a", "b", "broken"]
    rest = Served.log[9:]
    assert all({*rest[begin : begin + 2]} == {"a", "b"} for begin in range(0, len(rest), 2))


def test_a_late_loader_is_not_the_limit_of_the_runner() -> None:
    runner: Any = Loaded(late_us=round(LATE_SHARE * 50_000) + 1)
    load = ended(run_tests(runner, LoadOptions(), 0))
    assert load.knee is None
    record = record_of(probe="load", load=load)
    (shortfall,) = PROBES["load"].shortfalls([record], ())
    assert shortfall.reason.startswith("the loader was too slow at ")
    (note,) = PROBES["load"].notes([record], ()).values()
    assert "the loader was too slow in 1 of 1 processes" in note


def test_the_loads_of_a_group_are_swept_and_checked() -> None:
    table = 'probes = ["load"]\n[[group]]\nload = { transport = ["pipe", "http"], workers = 2 }'
    suite = suite_of(HEAD.replace('probes = ["life"]', table))
    cases = make_plan(suite, {"net": ("onnx",)}, {"mine": target_info()})
    assert [case.id.rpartition("b1.")[2] for case in cases] == ["transport-pipe.workers-2", "transport-http.workers-2"]
    assert dict(cases[1].load) == {"transport": "http", "workers": 2}
    for bad, words in (
        ("speed = 1", "unknown key 'speed'"),
        ("workers = 0", "workers"),
        ('transport = "mail"', "mail"),
        ("workers = 2, max_batch = 2, max_queue = 3", "max_queue is less than workers x max_batch"),
    ):
        with pytest.raises(RunoffError, match=words):
            suite_of(f"{HEAD}[[group]]\nload = {{ {bad} }}")


def load_of(rate: float, seed: int) -> LoadRun:
    """Return a load that held at `rate`, and not at its double."""
    rng = np.random.default_rng(seed)

    def test(scenario: str, rate: float | None, held: bool | None, slow: int = 1) -> LoadTest:  # noqa: FBT001
        latency = tuple((rng.lognormal(9, 0.1, 700) * slow).astype(int).tolist())
        timed = {"latency_us": latency, "queue_us": (100,) * 700, "compute_us": (7_000,) * 700}
        used = {
            "wall_ns": 7 * 10**9,
            "batch": 1.0,
            "failed": 0,
            "late_us": 90,
            "loader_share": 0.1,
            "cpu_ns": 7 * 10**9,
        }
        return LoadTest(scenario=scenario, rate=rate, held=held, **timed, **used)  # type: ignore[arg-type]

    tests = (test("Offline", None, None), test("Server", rate, True), test("Server", 2 * rate, False, 20))  # noqa: FBT003
    return LoadRun(cores=(0,), loader_cores=(1,), first_response_ns=10**8, tests=tests, responses=2_100)


def analysed(folder: Path, rates: tuple[float, ...], drift: float) -> Analysis:
    """Return a run of a case for each of `rates`, which rise by `drift` from block to block."""
    cases = [case_of(name, ("load",)) for name in ("mine", "yours")]
    cases = [msgspec.structs.replace(case, variant=("default", "t1", "b1")) for case in cases]
    records = [
        record_of(case.id, "load", block=block, order=block, load=load_of(rate * (1 + block * drift), block))
        for case, rate in zip(cases, rates, strict=True)
        for block in range(3)
    ]
    info = msgspec.structs.replace(info_of(*cases), baselines=("mine",))
    return analyse(Run(folder, info, tuple(records)))


@pytest.mark.parametrize(("steps", "verdict"), [(1, "no difference (floor 5.0 %)"), (2, "1.10x slower (1.10 to 1.10)")])
def test_a_difference_of_one_step_is_none(steps: int, verdict: str, tmp_path: Path) -> None:
    _, row = rows(analysed(tmp_path, (100.0, 100.0 / STEP**steps), drift=0))
    assert row[COLUMNS.index("verdict")] == verdict


def test_failed_requests_are_later_than_all_others() -> None:
    test = load_of(100, 0).tests[0]
    assert _quantile_ms(test, 0.99) == pytest.approx(10, rel=0.5)
    assert _quantile_ms(msgspec.structs.replace(test, failed=8), 0.99) == float("inf")


def test_the_report_has_throughput_latency_and_cost(tmp_path: Path) -> None:
    analysis = analysed(tmp_path, (100.0, 50.0), drift=1 / 50)
    table = [dict(zip(COLUMNS, row, strict=True)) for row in rows(analysis)]
    first, second = (row["requests per second within the bound"] for row in table)
    assert first.startswith("102 per second (")
    assert second.startswith("51 per second (")
    assert table[1]["verdict"].startswith("2.00x slower")
    assert table[0]["Offline, per second"].startswith("100.0")
    assert table[0]["CPU per request"].startswith("10.0")
    assert table[0]["first response"].startswith("100")
    assert "(" in table[0]["p50"]
    assert table[0]["p99"].startswith("10")
    assert table[0]["p99.9"].startswith("p99.9 needs 6,636")
    assert table[0]["loader"] == "0.10 cores, 0.1 ms late"
    (block,) = blocks(analysis)
    assert "requests per second" in json.dumps(load_curves(analysis, block, WIDE).to_dict())


def test_every_response_counts_as_checked_and_a_case_without_times_has_no_stability(tmp_path: Path) -> None:
    analysis = analysed(tmp_path, (100.0, 50.0), drift=0)
    (point,) = (point for point in audit(analysis.run) if point.point == "outputs checked while timed")
    assert (point.outcome, point.detail.partition(";")[0]) == ("ok", "mine 6,300, yours 6,300")
    assert not analysis.stability


def test_a_case_that_holds_at_no_rate_says_at_which_it_was_tried() -> None:
    load = load_of(10, 0)
    slow = msgspec.structs.replace(load, tests=tuple(test for test in load.tests if not test.held))
    (shortfall,) = PROBES["load"].shortfalls([record_of(probe="load", load=slow)], ())
    assert shortfall.reason == "the latency exceeded the bound at 20 requests per second too"
