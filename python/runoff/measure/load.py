"""The engine of the probe ``load``: live runners, loaders that send them requests, and the search for the knee.

The knee is the highest rate of arrivals at which the latency stays within the bound. Rates are on a grid of 5%, the
same for all cases, so their tests can be compared and pooled.
"""

from __future__ import annotations

import random
import time
from math import ceil, floor, log
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from runoff import statistics
from runoff.measure.conditions import conditions_since, take_snapshot
from runoff.measure.loaded_runner import LoadedRunner, LoadError
from runoff.probes.load import STEP
from runoff.records.reason import Reason
from runoff.records.schema import LoadRun

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from runoff.measure.job import ExecutionContext, Job
    from runoff.measure.result import Outcome
    from runoff.probes.load import LoadOptions
    from runoff.records.schema import Case, Conditions, LoadTest, Record

CURVE = (0.25, 0.5)
"""Shares of the throughput of Offline that are measured for the curve only."""
FEWER = 4
"""Times fewer requests for these: they take longest, and no bound is shown with them."""
AGAIN = 1_000_000
"""Added to the seed for the second test of a rate."""
STALLED = 0.1
"""A rate has a second test if fewer were late than this share: a stall of the machine would do that to any server."""
_FEWEST = 64
"""Queries of SingleStream: the 90th percentile needs them."""
_MOST = 20_000
FIRST_STEP, GROWTH = 2, 2
"""Places of the first step of the search, and factor of the next ones, as long as all rates hold, or none does."""
_LOWEST = 0.2
"""Share of the throughput of Offline below which the search gives up."""
ABOVE = STEP**2
"""Multiple of the throughput of Offline up to which rates are tried, if a test is long enough to show overload."""
LONG = 40
"""Multiple of the bound: at a rate that is 5% too high, requests wait longer than the bound in the second half."""
LATE_SHARE = 0.1
"""A test does not count if one in a hundred requests was sent later than this share of the bound."""


class _Ended(NamedTuple):
    """A case whose tests are over."""

    outcome: Outcome
    fields: dict[str, Any]
    spent_ns: int
    """CPU time of its runner and its loader."""


def measure_load(context: ExecutionContext, job: Job, blanks: Sequence[Record]) -> list[Record]:
    """Measure the cases of `job`, each with a fresh process, and return `blanks` filled in.

    The processes live together and take turns, a test each, in random order: a slow phase of the machine affects all.
    """
    before = take_snapshot()
    order = random.Random(f"{context.suite.measure.seed}.load.{job.block}.{job.cases[0].id}")  # noqa: S311
    waiting = {case.id: _tests_of(context, msgspec.structs.replace(job, cases=(case,))) for case in job.cases}
    ended: dict[str, _Ended | Reason] = {}
    while waiting:
        for name in order.sample(list(waiting), len(waiting)):
            try:
                next(waiting[name])
            except StopIteration as over:
                ended[name] = over.value
                del waiting[name]
    context.spawner.measured_ns += time.monotonic_ns() - before.clock_ns
    spent_ns = sum(one.spent_ns for one in ended.values() if isinstance(one, _Ended))
    conditions = conditions_since(before, spent_ns)
    return [_record(blank, ended[blank.case], conditions) for blank in blanks]


def _record(blank: Record, ended: _Ended | Reason, conditions: Conditions) -> Record:
    if isinstance(ended, Reason):
        return msgspec.structs.replace(blank, status="error", reason=ended, conditions=conditions)
    conditions = msgspec.structs.replace(conditions, switches=ended.outcome.finished.switches)
    return ended.outcome.record(blank, conditions=conditions, **ended.fields)


def _tests_of(context: ExecutionContext, job: Job) -> Generator[None, None, _Ended | Reason]:
    """Run the tests of the one case of `job`, with a pause after each."""
    loaded, failure = None, None
    try:
        runner = LoadedRunner(context, job)
    except OSError as error:
        return Reason("os", f"cannot be run: {error}")
    try:
        loaded = yield from run_tests(runner, context.suite.measure.load, job.block)
    except LoadError as error:
        failure = error.reason
    outcome, parity, responses = runner.close(failure)
    load = msgspec.structs.replace(loaded, responses=responses) if loaded else None
    return _Ended(outcome, {"load": load, "parity": parity}, outcome.finished.cpu_ns + runner.loader_cpu_ns)


def load_obstacle(case: Case) -> Reason | None:
    """Return the reason if threads that share a session cannot compute requests of `case`."""
    checks = (
        (case.workload != "segment", "workload", "'load' is for the workloads classify and tensor"),
        (case.settings.batch == 1, "batch", "a request of 'load' has one item; set max_batch in the group's load"),
        (case.settings.provider == "cpu", "provider-unavailable", "'load' runs on the CPU"),
    )
    return next((Reason(kind, message) for fine, kind, message in checks if not fine), None)


def run_tests(runner: LoadedRunner, options: LoadOptions, seed: int) -> Generator[None, None, LoadRun]:
    """Run all tests of `runner`, with a pause after each; `seed` makes the same arrivals for every case of a block.

    Raises
    ------
    LoadError
        If the runner or the loader cannot continue, or a request failed in a closed loop.
    """
    tests: list[LoadTest] = []
    # fewer cannot show that the bound is held
    requests = max(options.requests, statistics.fewest_samples(options.percentile))

    def test(scenario: str, count: int, rate: float, *, seed: int = 1 + seed, judged: bool = False) -> LoadTest:
        ran = runner.test(scenario, count=count, rate=rate, seed=seed)
        in_time = ran.late_us <= LATE_SHARE * options.bound_ms * 1e3
        held = in_time and _holds(ran, options) if judged else None
        tests.append(msgspec.structs.replace(ran, in_time=in_time, held=held))
        if scenario != "Server" and ran.failed:
            raise LoadError(Reason("garbage", f"{ran.failed} requests failed in {scenario}", "see the runner's log"))
        return tests[-1]

    single = test("SingleStream", _FEWEST, 100.0)
    yield
    if options.streams:
        test("MultiStream", _FEWEST, 100.0)
        yield
    guess = single.throughput * runner.workers
    offline = test("Offline", min(_MOST, max(requests, ceil(guess * options.min_time_s))), guess).throughput
    yield
    for share in CURVE:
        rate = STEP ** _place(offline * share)
        test("Server", max(_FEWEST, ceil(requests / FEWER), ceil(rate * options.min_time_s)), rate)
        yield
    is_long = max(options.min_time_s, requests / offline) * 1e3 >= LONG * options.bound_ms
    begin = share_within(options.bound_ms / 1e3, 1 / offline, options.percentile)
    known: dict[int, bool] = {}
    while (place := next_place(known, offline, begin, ABOVE if is_long else 1)) is not None:
        rate = STEP**place
        count = max(requests, ceil(rate * options.min_time_s))
        ran = test("Server", count, rate, judged=True)
        yield
        if not ran.held and _late(ran, options) < STALLED * ran.requests:
            ran = test("Server", count, rate, seed=AGAIN + seed, judged=True)
            yield
        known[place] = bool(ran.held)
    cores, loader_cores = runner.cores
    return LoadRun(
        cores=cores, loader_cores=loader_cores, first_response_ns=runner.first_response_ns, tests=tuple(tests)
    )


def share_within(bound_s: float, service_s: float, percentile: float) -> float:
    """Return the share of the throughput at which this share of the requests would take `bound_s` at most.

    It is that of Poisson arrivals at a server which takes `service_s` for each: by Kingman's approximation, waits are
    exponential, with the mean ``service_s / 2 * share / (1 - share)``.
    """
    waits = max(bound_s - service_s, 0.0) / (service_s / 2 * -log(1 - percentile))
    return waits / (1 + waits)


def next_place(known: Mapping[int, bool], throughput: float, begin: float, most: float) -> int | None:
    """Return the place on the grid of the rate to test next; None if the knee is known.

    The first is at the share `begin` of `throughput`, that of Offline. From there it goes down until a rate holds, or
    up until one does not, in steps that grow; then it bisects. No rate is above `most` times the throughput.

    Parameters
    ----------
    known
        By place, whether its rate held.
    """
    lowest, first, highest = (_place(throughput * share) for share in (_LOWEST, max(_LOWEST, min(begin, most)), most))
    if not known:
        return first
    good = max((one for one, held in known.items() if held), default=None)
    bad = min((one for one, held in known.items() if not held and (good is None or one > good)), default=None)
    step = FIRST_STEP * GROWTH ** (len(known) - 1)
    if good is None:
        place = max(lowest, min(known) - step)
    elif bad is None:
        place = min(highest, good + step)
    else:
        place = (good + bad) // 2
    return None if place in known else place


def _place(rate: float) -> int:
    return floor(log(rate) / log(STEP))


def _holds(test: LoadTest, options: LoadOptions) -> bool:
    """Return whether the latency was within the bound, with 99% confidence."""
    return statistics.holds(_late(test, options), test.failed + len(test.latency_us), options.percentile)


def _late(test: LoadTest, options: LoadOptions) -> int:
    """Return the number of requests that were late, failed or lost."""
    bound_us = options.bound_ms * 1e3
    return test.failed + sum(us > bound_us for us in test.latency_us)
