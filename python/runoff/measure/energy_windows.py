"""The pass of the probe ``energy`` for one case: idle, processes from start to exit, inferences, idle again.

The counters are of the whole package or device, so one case at a time has the machine. Work is repeated until it has
lasted for many steps of the slowest counter; the idle machine is measured before and after.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from runoff.measure.conditions import conditions_since, take_snapshot
from runoff.measure.energy.meter import MeterError, difference
from runoff.measure.interleaved import ProcessGroup
from runoff.measure.live_process import TurnError
from runoff.measure.one_shot import OneShot
from runoff.measure.request import fresh
from runoff.records.reason import Reason
from runoff.records.schema import EnergyWindow

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runoff.measure.job import ExecutionContext, Job
    from runoff.measure.result import Outcome
    from runoff.records.schema import Record

STEPS = 50
"""Least duration of a window, in steps of the slowest counter: one more or less is 2% of it."""
TURN_NS = 250_000_000
"""Approximate duration of a turn: long enough that the time between turns hardly counts."""
MOST_INFERENCES = 2048
"""Largest number of inferences in a turn."""


def measure_energy(context: ExecutionContext, job: Job, blank: Record) -> Record:
    """Measure the one case of `job` and return `blank` filled in."""
    work = _Pass(context, job)
    began, before = time.monotonic_ns(), take_snapshot()
    status, reason = "ok", None
    try:
        with context.meters.opened(context.spawner, fresh(context.scratch / "energy")):
            work.measure()
    except MeterError as error:
        status, reason = "not-measured", error.reason
    except TurnError as error:
        status, reason = "error", error.reason
    except OSError as error:
        status, reason = "error", Reason("os", f"cannot be run: {error}")
    fields: dict[str, Any] = {
        "spawn_ns": began,
        "exit_ns": time.monotonic_ns(),
        "parity": work.parity,
        "energy": tuple(work.windows),
        "conditions": conditions_since(before, work.spent_ns),
    }
    if reason is not None:
        fields |= {"status": status, "reason": reason}
    if work.outcome is None:
        return msgspec.structs.replace(blank, **{"status": status, **fields})
    return work.outcome.record(blank, **fields)


class _Pass:
    """The windows of one case as they are measured."""

    def __init__(self, context: ExecutionContext, job: Job) -> None:
        self._context, self._job = context, job
        self.windows: list[EnergyWindow] = []
        self.outcome: Outcome | None = None
        """Of the latest process from start to exit."""
        self.parity: list[dict[str, object]] = []
        self.spent_ns = 0
        """CPU time of the processes that have ended."""

    def measure(self) -> None:
        """Measure all windows.

        Raises
        ------
        TurnError
            If a process fails; the windows after it are omitted.
        """
        options, (case,) = self._context.suite.measure.energy, self._job.cases
        can = self._context.targets[case.target].capabilities
        self._idle("idle-before", options.idle_s)
        self._processes(options.window_s)
        if can is not None and "turns" in can.measures:
            self._inferences(options.window_s)
        self._idle("idle-after", options.idle_s)

    def _idle(self, part: str, seconds: float) -> None:
        def rest() -> int:
            time.sleep(self._least_s(seconds))
            return 0

        self._window(part, 0.0, rest, lambda: 0)

    def _processes(self, seconds: float) -> None:
        """Run processes one after the other; the outputs of the last are compared with the reference."""
        process = OneShot(self._context, self._job)

        def run() -> int:
            self.outcome = process.run()
            self.spent_ns += self.outcome.finished.cpu_ns
            if self.outcome.reason is not None:
                raise TurnError(self.outcome.reason)
            return 1

        self._window("process", seconds, run, lambda: self.spent_ns)
        if self.outcome is not None and self.outcome.result is not None:
            self.parity, reason = process.check(self.outcome.result)
            if reason:
                raise TurnError(reason)

    def _inferences(self, seconds: float) -> None:
        """Let a live process take turns, once it is warm."""
        (case,) = self._job.cases
        group = ProcessGroup(self._context, self._job, self._job.cases)

        def turn() -> int:
            group.round(count)
            if case.id in group.failures:
                raise TurnError(group.failures[case.id])
            return count

        with group:
            group.warm_up()
            if group.active:
                count = group.inferences(TURN_NS, MOST_INFERENCES)
                self._window("inference", seconds, turn, group.processes[case.id].cpu_ns)
        self.spent_ns += group.spent_ns
        outcome = group.processes[case.id].outcome if case.id in group.processes else None
        reason = outcome.reason if outcome else group.failures.get(case.id)
        if reason is not None:
            raise TurnError(reason)

    def _window(self, part: str, seconds: float, act: Callable[[], int], spent_ns: Callable[[], int | None]) -> None:
        """Repeat `act`, which returns the count of completed work, between two readings of all counters."""
        meters, least_ns = self._context.meters, self._least_s(seconds) * 1e9 if seconds else 0.0
        before, spent_before = take_snapshot(), spent_ns()
        first = meters.begin()
        start_ns = time.monotonic_ns()
        count = act()
        while time.monotonic_ns() - start_ns < least_ns:
            count += act()
        end_ns = time.monotonic_ns()
        last = meters.end()
        spent_after = spent_ns()
        known = spent_before is not None and spent_after is not None
        conditions = conditions_since(before, (spent_after or 0) - (spent_before or 0))
        window = EnergyWindow(
            part=part, start_ns=start_ns, end_ns=end_ns, count=count, others=conditions.others if known else None
        )
        for meter in meters.found:
            name = meter.info.name
            joules, silent = difference(meter, first[name], last[name], at_work=count > 0)
            window.joules.update({f"{name}.{domain}": value for domain, value in joules.items()})
            window.silent.update({f"{name}.{domain}": reason for domain, reason in silent.items()})
            window.seconds[name] = (last[name].time_ns - first[name].time_ns) / 1e9
        self.windows.append(window)

    def _least_s(self, seconds: float) -> float:
        return max(seconds, STEPS * self._context.meters.step_s)
