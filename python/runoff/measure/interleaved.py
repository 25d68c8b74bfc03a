"""Interleaved live processes, which take turns in short blocks: each block sees one state of the machine.

While one process computes, the others wait for input on a pipe. A group begins with fresh processes, because two
processes of one program differ for their whole lifetime; it warms up until all are steady; then every round requests
the same inputs from each process, in random order.
"""

from __future__ import annotations

import random
import time
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Self

import msgspec

from runoff.measure.conditions import conditions_since, take_snapshot
from runoff.measure.live_process import LiveProcess, TurnError
from runoff.measure.warmup import WINDOW, WINDOWS, is_steady
from runoff.records.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from runoff.measure.job import ExecutionContext, Job
    from runoff.records.schema import Case, Conditions, InterleavingStats, Record

TURN_NS = 6_000_000
"""Approximate least duration of a turn. A shorter turn would mostly measure the wake-up, and hide a wrong clock: of a
turn of 5 ms, the 3% that a clock is fast are little more than the 0.1 ms that runners may differ by."""
THREADED_TURN_NS = 50_000_000
"""The same with several threads: those of a pool that wakes up after a pause often share a core, above all on a virtual
machine, until the scheduler spreads them some milliseconds later."""
LONGEST = 4
"""Times its least duration that a turn may take in the slowest process."""
MOST_INFERENCES = 64
FEWEST_ROUNDS = 5
"""Turns of each process, if that many inferences are requested: a single one cannot show whether its clock is right."""
SETTLE_S = 0.012
"""Pause after a turn of several threads: OpenMP's spin for 3 to 11 ms when there is nothing left to do."""
PATIENCE_S = 20.0
"""A warm-up that takes longer ends with its time, even if there were too few inferences to show a steady state."""
EMPTY_EVERY = 5
"""Rounds between two turns without an inference, which measure the pipe itself."""


def measure_interleaved(context: ExecutionContext, job: Job, blanks: Sequence[Record]) -> list[Record]:
    """Measure the cases of `job` interleaved and return their records, `blanks` filled in."""
    before = take_snapshot()
    with ProcessGroup(context, job, job.cases) as group:
        group.warm_up()
        stats = _take_turns(context, group)
    conditions = conditions_since(before, group.spent_ns)
    return [_record(group, blank, stats.get(blank.case), conditions) for blank in blanks]


def _take_turns(context: ExecutionContext, group: ProcessGroup) -> dict[str, InterleavingStats]:
    """Take the measured turns, until every process has met both minima; return the statistics by case."""
    if not group.active:
        return {}
    group_size, warmup = len(group.active), group.warmup
    count, minima = group.inferences(group.turn_ns, MOST_INFERENCES), context.suite.measure.latency
    group.each(LiveProcess.begin)
    rounds = 0
    while group.active:
        group.round(count)
        rounds += 1
        measured = [process.inference_ns[warmup:] for process in group.active.values()]
        enough = all(len(ns) >= minima.min_samples and sum(ns) >= minima.min_time_s * 1e9 for ns in measured)
        out_of_time = rounds * count * 2 >= minima.min_samples and context.sampling.out_of_time()
        if (enough or out_of_time) and rounds >= min(FEWEST_ROUNDS, minima.min_samples):
            break
        if rounds % EMPTY_EVERY == 0:
            group.each(lambda process: process.turn([]))
    group.each(LiveProcess.end)
    return {
        name: process.stats(group_size=group_size, inferences=count, warmup=warmup, steady=name in group.steady)
        for name, process in group.active.items()
    }


def _record(group: ProcessGroup, blank: Record, stats: InterleavingStats | None, conditions: Conditions) -> Record:
    process = group.processes.get(blank.case)
    if process is None or process.outcome is None:
        reason = group.failures.get(blank.case) or Reason("os", "cannot be started")
        return msgspec.structs.replace(blank, status="error", reason=reason, conditions=conditions)
    conditions = msgspec.structs.replace(conditions, switches=process.outcome.finished.switches)
    return process.outcome.record(blank, parity=process.parity, turned=stats, conditions=conditions)


class ProcessGroup:
    """Live processes of a job from their start to their end, one for each of `cases`. Use it as a context manager.

    A process that fails leaves the group; the others continue.
    """

    def __init__(self, context: ExecutionContext, job: Job, cases: Sequence[Case]) -> None:
        self._context, self._job = context, job
        self._cases = {case.id: case for case in cases}
        self.processes: dict[str, LiveProcess] = {}
        self.failures: dict[str, Reason] = {}
        """By case: the reason why a process left the group."""
        self.steady: set[str] = set()
        """Cases whose times became steady in the warm-up."""
        self.warmup = 0
        """Inferences of each process in the warm-up."""
        threaded = any(case.settings.threads > 1 for case in cases)
        self.turn_ns = THREADED_TURN_NS if threaded else TURN_NS
        """Least duration of a measured turn."""
        self._order = random.Random(f"{context.suite.measure.seed}.set.{job.block}.{job.cases[0].id}")  # noqa: S311
        # no seed: a runner could know it
        self._items = random.SystemRandom()

    def __enter__(self) -> Self:
        for name in self._shuffled(self._cases):
            self._guard(name, partial(self._start, name))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and not issubclass(kind, Exception):
            return  # Ctrl-C: the spawner kills them
        for name, process in self.processes.items():
            process.close(self.failures.get(name))
        self._context.spawner.measured_ns += sum(process.waited_ns for process in self.processes.values())

    def _start(self, name: str) -> None:
        process = self.processes[name] = LiveProcess(self._context, self._job, self._cases[name])
        process.wait_until_ready()

    @property
    def active(self) -> dict[str, LiveProcess]:
        """The processes that did not fail."""
        return {name: process for name, process in self.processes.items() if name not in self.failures}

    @property
    def spent_ns(self) -> int:
        """CPU time of the processes that have ended."""
        return sum(process.outcome.finished.cpu_ns for process in self.processes.values() if process.outcome)

    def warm_up(self) -> None:
        """Take turns until each process was steady once or the time for it is over.

        The windows that show it are completed, unless that takes longer than `PATIENCE_S`. Turns are of one inference
        each, with several threads at first: those that follow are as long as measured ones. A process whose outputs
        took too long leaves the group, before its times decide the length of the turns.
        """
        began, most_s = time.monotonic(), self._context.suite.measure.latency.warmup_time_s
        few = WINDOW * WINDOWS
        while self.active:
            long = self.turn_ns > TURN_NS and self.warmup >= few
            count = self.inferences(self.turn_ns, MOST_INFERENCES) if long else 1
            self.round(count)
            self.warmup += count
            self.steady |= {name for name, process in self.active.items() if is_steady(process.inference_ns)}
            passed_s = time.monotonic() - began
            late = passed_s > most_s and (self.warmup >= few or passed_s > PATIENCE_S)
            if late or self.steady >= self.active.keys():
                break
        self.each(LiveProcess.check_outputs_time)

    def inferences(self, turn_ns: float, most: int) -> int:
        """Return the inferences in a turn, at most `most`, that make the fastest process take `turn_ns`.

        The slowest takes at most `LONGEST` times as long, unless that is less than one inference.
        """
        took = [median(process.inference_ns[-WINDOW * WINDOWS :]) for process in self.active.values()]
        fastest, slowest = max(1, min(took)), max(1, *took)
        return max(1, min(most, -int(-turn_ns // fastest), int(LONGEST * turn_ns // slowest)))

    def round(self, count: int) -> None:
        """Request `count` inferences from every process on the same inputs, in random order of the processes."""
        items = next(iter(self.active.values())).items
        firsts = [self._items.randrange(items) for _ in range(count)]
        self.each(lambda process: self._turn(process, firsts))

    def _turn(self, process: LiveProcess, firsts: list[int]) -> None:
        process.turn(firsts)
        if process.case.settings.threads > 1:
            time.sleep(SETTLE_S)
            process.waited_ns += round(SETTLE_S * 1e9)

    def each(self, act: Callable[[LiveProcess], None]) -> None:
        """Call `act` with every process, in random order."""
        for name in self._shuffled(self.active):
            self._guard(name, partial(act, self.processes[name]))

    def _guard(self, name: str, act: Callable[[], None]) -> None:
        """Call `act`; if it fails, the process leaves the group."""
        try:
            act()
        except TurnError as error:
            self.failures[name] = error.reason
        except OSError as error:
            self.failures[name] = Reason("os", f"cannot be run: {error}")

    def _shuffled(self, names: Iterable[str]) -> list[str]:
        order = list(names)
        self._order.shuffle(order)
        return order
