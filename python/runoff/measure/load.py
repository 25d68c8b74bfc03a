"""The engine of the probe ``load``: a live runner, a loader that sends it requests, and the search for the knee.

The knee is the highest rate of arrivals at which the latency stays within the bound. Rates are on a grid of 5%, the
same for all cases, so their tests can be compared and pooled.
"""

from __future__ import annotations

from math import ceil, floor, log
from typing import TYPE_CHECKING

import msgspec

from runoff import statistics
from runoff.measure.conditions import conditions_since, take_snapshot
from runoff.measure.loaded_runner import LoadedRunner, LoadError
from runoff.probes.load import STEP
from runoff.records.reason import Reason
from runoff.records.schema import LoadRun

if TYPE_CHECKING:
    from collections.abc import Callable

    from runoff.measure.job import ExecutionContext, Job
    from runoff.probes.load import LoadOptions
    from runoff.records.schema import Case, LoadTest, Record

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
GROWTH = 3
"""Factor of the steps of the search, as long as all rates hold, or none does."""
_LOWEST = 0.1
"""Share of the throughput of Offline below which the search gives up."""
ABOVE = STEP**2
"""Multiple of the throughput of Offline up to which rates are tried, if a test is long enough to show overload."""
LONG = 40
"""Multiple of the bound: at a rate that is 5% too high, requests wait longer than the bound in the second half."""
LATE_SHARE = 0.1
"""A test does not count if one in a hundred requests was sent later than this share of the bound."""


def measure_load(context: ExecutionContext, job: Job, blank: Record) -> Record:
    """Measure the one case of `job` with a fresh process and return `blank` filled in."""
    before, failure, loaded = take_snapshot(), None, None
    try:
        runner = LoadedRunner(context, job)
    except OSError as error:
        return msgspec.structs.replace(blank, status="error", reason=Reason("os", f"cannot be run: {error}"))
    try:
        loaded = run_tests(runner, context.suite.measure.load, job.block)
    except LoadError as error:
        failure = error.reason
    outcome, parity, responses = runner.close(failure)
    spent_ns = outcome.finished.cpu_ns + runner.loader_cpu_ns
    return outcome.record(
        blank,
        load=msgspec.structs.replace(loaded, responses=responses) if loaded else None,
        parity=parity,
        conditions=conditions_since(before, spent_ns, outcome.finished.switches),
    )


def load_obstacle(case: Case) -> Reason | None:
    """Return the reason if threads that share a session cannot compute requests of `case`."""
    checks = (
        (case.workload != "segment", "workload", "'load' is for the workloads classify and tensor"),
        (case.settings.batch == 1, "batch", "a request of 'load' has one item; set max_batch in the group's load"),
        (case.settings.provider == "cpu", "provider-unavailable", "'load' runs on the CPU"),
    )
    return next((Reason(kind, message) for fine, kind, message in checks if not fine), None)


def run_tests(runner: LoadedRunner, options: LoadOptions, seed: int) -> LoadRun:
    """Run all tests of `runner`; `seed` makes the same arrivals for every case of a block.

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
    if options.streams:
        test("MultiStream", _FEWEST, 100.0)
    guess = single.throughput * runner.workers
    offline = test("Offline", min(_MOST, max(requests, ceil(guess * options.min_time_s))), guess)

    def holds(rate: float) -> bool:
        count = max(requests, ceil(rate * options.min_time_s))
        ran = test("Server", count, rate, judged=True)
        if not ran.held and _late(ran, options) < STALLED * ran.requests:
            ran = test("Server", count, rate, seed=AGAIN + seed, judged=True)
        return bool(ran.held)

    for share in CURVE:
        rate = STEP ** _place(offline.throughput * share)
        test("Server", max(_FEWEST, ceil(requests / FEWER), ceil(rate * options.min_time_s)), rate)

    length_s = max(options.min_time_s, requests / offline.throughput)
    is_long = length_s * 1e3 >= LONG * options.bound_ms
    begin = share_within(options.bound_ms / 1e3, 1 / offline.throughput, options.percentile)
    search(offline.throughput, begin, holds, ABOVE if is_long else 1)
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


def search(throughput: float, begin: float, holds: Callable[[float], bool], most: float) -> None:
    """Call `holds` with rates around the knee; `throughput` is that of Offline, of which `begin` is the first share.

    From there it goes down until a rate holds, or up until one does not, in steps that grow, and bisects until the next
    rate of the grid does not hold. No rate is above `most` times the throughput.
    """
    known: dict[int, bool] = {}
    lowest, place, highest = (_place(throughput * share) for share in (_LOWEST, max(_LOWEST, min(begin, most)), most))
    step = 2
    while place not in known:
        known[place] = holds(STEP**place)
        good = max((one for one, held in known.items() if held), default=None)
        bad = min((one for one, held in known.items() if not held and (good is None or one > good)), default=None)
        if good is None:
            place = max(lowest, min(known) - step)
        elif bad is None:
            place = min(highest, good + step)
        else:
            place = (good + bad) // 2
        step *= GROWTH


def _place(rate: float) -> int:
    return floor(log(rate) / log(STEP))


def _holds(test: LoadTest, options: LoadOptions) -> bool:
    """Return whether the latency was within the bound, with 99% confidence."""
    return statistics.holds(_late(test, options), test.failed + len(test.latency_us), options.percentile)


def _late(test: LoadTest, options: LoadOptions) -> int:
    """Return the number of requests that were late, failed or lost."""
    bound_us = options.bound_ms * 1e3
    return test.failed + sum(us > bound_us for us in test.latency_us)
