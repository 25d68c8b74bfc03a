"""The load: the search for the knee, the loader on LoadGen, the queue of the runners, and the report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestra import HEAD, case_of, info_of, record_of, suite_of, target_info

from machine import skip_because
from runoff import paths, statistics
from runoff.analysis.analyse import analyse
from runoff.measure.load import STEP, search
from runoff.measure.loaded_runner import split_cores, summarised
from runoff.plan.cases import make_plan
from runoff.probes import PROBES
from runoff.records.errors import RunoffError
from runoff.records.schema import LoadRun, LoadTest, Run
from runoff.report.frame import WIDE
from runoff.report.load import HEAD as COLUMNS
from runoff.report.load import lines, rows
from runoff.report.load_plot import load_curves
from runoff.report.overview import blocks
from runoff_runners.protocol import RunnerError
from runoff_runners.serving import Queue, Waiting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runoff_runners.interfaces import Feed

STALL_S = 0.2
RUNNER = """
import os, sys, time
stall = {stall}
os.write(1, b"ready\\n")
for number, raw in enumerate(sys.stdin.buffer):
    now = time.monotonic_ns()
    if number == stall:
        time.sleep({seconds})
    words = raw.split()
    os.write(1, b"%s %d %d %d 1\\n" % (words[0], now, now, time.monotonic_ns()))
"""
"""A runner that takes no time, except for one stall."""


@given(st.floats(10, 10_000), st.floats(0.1, 1.1))
def test_the_search_ends_within_a_step_of_the_knee(throughput: float, share: float) -> None:
    knee, asked = throughput * share, []

    def holds(rate: float) -> bool:
        asked.append(rate)
        return rate <= knee

    search(throughput, holds)
    assert len(asked) == len(set(asked)) <= 8
    best = max((rate for rate in asked if rate <= knee), default=None)
    if share > 0.3:
        assert best
        assert knee / STEP - 1e-6 <= best
    for rate in asked:
        assert round(np.log(rate) / np.log(STEP), 6).is_integer()


def test_the_search_gives_up_where_no_rate_holds() -> None:
    asked: list[float] = []

    def never(rate: float) -> bool:
        asked.append(rate)
        return False

    search(100.0, never)
    assert len(asked) <= 5
    assert min(asked) > 9


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


@contextmanager
def loader(script: str) -> Iterator[Any]:
    """Start a runner and its loader over a pipe; give a function that runs a test and returns its latencies in s."""
    python = paths.environments() / "loadgen" / "bin" / "python"
    if not python.exists():
        skip_because(f"{python} is missing; run: nox -s loadgen")
    runner = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert runner.stdin
    assert runner.stdout
    assert runner.stdout.readline() == b"ready\n"
    ends = runner.stdin.fileno(), runner.stdout.fileno()
    setup = {"transport": "pipe", "to": ends[0], "from": ends[1], "items": 3, "cores": []}
    command = [str(python), "-P", str(paths.runners() / "loader.py"), json.dumps(setup)]
    env = {"PYTHONPATH": str(paths.runners().parent)}
    with (
        runner,
        subprocess.Popen(
            command, env=env, pass_fds=ends, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as loading,
    ):

        def run(**fields: Any) -> dict[str, Any]:
            assert loading.stdin
            assert loading.stdout
            loading.stdin.write(json.dumps(fields) + "\n")
            loading.stdin.flush()
            response = json.loads(loading.stdout.readline())
            with np.load(response["samples"]) as samples:
                return dict(samples)

        try:
            yield run
        finally:
            runner.kill()
            loading.kill()


@pytest.mark.parametrize(("scenario", "shows"), [("Server", True), ("SingleStream", False)])
def test_a_stall_shows_in_the_open_loop_and_not_in_the_closed_one(
    scenario: str, *, shows: bool, tmp_path: Path
) -> None:
    with loader(RUNNER.format(stall=300, seconds=STALL_S)) as run:
        test = {"rate": 700.0, "count": 700, "min_ms": 1, "streams": 1, "seed": 3, "on_their_way": 512}
        samples = run(scenario=scenario, folder=str(tmp_path), **test)
    latency_s = (samples["done"] - samples["scheduled"]) / 1e9
    assert len(latency_s) >= 700
    assert latency_s.max() >= STALL_S * 0.99
    # in the open loop, those that were due in the stall waited too
    assert (np.quantile(latency_s, 0.99) > STALL_S / 4) == shows
    assert ((samples["sent"] - samples["scheduled"]) >= 0).all()
    assert set(samples["item"]) == {0, 1, 2}


class Doubling:
    """A session that doubles its input; it fails for a negative one."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.go = threading.Event()

    def run(self, feed: Feed) -> Feed:
        """Return twice the input."""
        self.go.wait(5)
        self.batches.append(len(feed["x"]))
        if (feed["x"] < 0).any():
            raise RunnerError("runtime-failed", "negative")
        return {"y": feed["x"] * 2}


def queue_of(session: Any, **measure: int) -> Queue:
    limits = {"workers": 1, "max_batch": 1, "max_wait_us": 0, "max_queue": 9}
    request: Any = {"measure": {**limits, **measure}, "model": {"inputs": [{"name": "x"}]}}
    return Queue(request, session, None)


def feed(*shape: int, value: float = 1.0) -> Feed:
    return {"x": np.full(shape, value, np.float32)}


def test_requests_that_fit_are_computed_together_the_oldest_first() -> None:
    session, done = Doubling(), list[Waiting]()
    queue = queue_of(session, max_batch=3)
    sources = [feed(1, 2, value=9), *(feed(1, 2, value=value) for value in (1, 2, 3, 4)), feed(1, 5), feed(2, 2)]
    for place, source in enumerate(sources):
        assert queue.put(Waiting(source, place, done.append))
        if not place:
            while len(queue):  # the worker has it
                time.sleep(0.001)
    session.go.set()
    queue.close()
    assert session.batches == [1, 3, 1, 1, 2]
    assert [waiting.arrived for waiting in done] == [*range(7)]
    assert [waiting.count for waiting in done] == [1, 3, 3, 3, 1, 1, 1]
    assert [float(waiting.outputs["y"][0, 0]) for waiting in done[:5]] == [18, 2, 4, 6, 8]
    assert all(waiting.start <= waiting.end for waiting in done)


def test_a_full_or_closed_queue_refuses_and_one_bad_request_fails_alone() -> None:
    session, done = Doubling(), list[Waiting]()
    queue = queue_of(session, max_batch=4, max_queue=3)
    assert queue.put(Waiting(feed(1), 0, done.append))
    while len(queue):
        time.sleep(0.001)
    taken = [queue.put(Waiting(feed(1, value=value), 0, done.append)) for value in (1, -1, 2, 3)]
    assert taken == [True, True, True, False]
    session.go.set()
    queue.close()
    assert not queue.put(Waiting(feed(1), 0, done.append))
    assert [waiting.error is None for waiting in done] == [True, True, False, True]


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
    return LoadRun(cores=(0,), loader_cores=(1,), first_response_ns=10**8, tests=tests)


def test_the_report_has_throughput_latency_and_cost(tmp_path: Path) -> None:
    both = [case_of(name, ("load",)) for name in ("mine", "yours")]
    both = [msgspec.structs.replace(case, variant=("default", "t1", "b1")) for case in both]
    records = [
        record_of(case.id, "load", block=block, order=block, load=load_of(rate * (1 + block / 50), block))
        for case, rate in zip(both, (100.0, 50.0), strict=True)
        for block in range(3)
    ]
    info = msgspec.structs.replace(info_of(*both), baselines=("mine",))
    analysis = analyse(Run(tmp_path, info, tuple(records)))
    table = [dict(zip(COLUMNS, row, strict=True)) for row in rows(analysis)]
    first, second = (row["requests per second within the bound"] for row in table)
    assert first.startswith("102 (")
    assert second.startswith("51 (")
    assert table[1]["verdict"].startswith("2.00x slower")
    assert table[0]["Offline, per second"].startswith("100.0")
    assert table[0]["CPU per request"].startswith("10.0")
    assert table[0]["first response"].startswith("100")
    assert "(" in table[0]["p50"]
    assert table[0]["p99"].startswith("10")
    assert table[0]["p99.9"].startswith("p99.9 needs 6,636")
    assert table[0]["loader"] == "0.10 cores, 0.1 ms late"
    assert lines(analysis)[0].startswith("net.classify.mine: 102 (")
    assert lines(analysis)[1].endswith(") requests per second within 50 ms")
    (block,) = blocks(analysis)
    assert "requests per second" in json.dumps(load_curves(analysis, block, WIDE).to_dict())


def test_a_case_that_holds_at_no_rate_says_at_which_it_was_tried() -> None:
    load = load_of(10, 0)
    slow = msgspec.structs.replace(load, tests=tuple(test for test in load.tests if not test.held))
    (shortfall,) = PROBES["load"].shortfalls([record_of(probe="load", load=slow)], ())
    assert shortfall.reason == "the latency exceeded the bound at 20 requests per second too"
