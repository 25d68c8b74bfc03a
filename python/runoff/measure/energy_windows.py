"""The pass of the probe ``energy``, for one case: idle, whole processes, inferences in a live process, idle again.

The counters are of the whole package or device, so one case at a time has the machine. Work is repeated until it has
lasted for many steps of the slowest counter; what the idle machine draws is measured before and after.
"""

from __future__ import annotations

import random
import time
from math import ceil
from statistics import median
from typing import TYPE_CHECKING

import msgspec

from runoff.measure.conditions import conditions_since, take_snapshot
from runoff.measure.energy.meter import MeterError, difference
from runoff.measure.launch import launch
from runoff.measure.live_process import LiveProcess, TurnError
from runoff.measure.one_shot import fresh
from runoff.measure.request import draw, make_request
from runoff.measure.verify import check_result
from runoff.measure.warmup import WINDOW, WINDOWS, is_steady
from runoff.records.reason import Reason
from runoff.records.schema import EnergyWindow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runoff.measure.job import ExecutionContext, Job
    from runoff.measure.launch import Answer
    from runoff.records.schema import Record

STEPS = 50
"""A window lasts for so many steps of the slowest counter at least: one more or less is 2 % of it."""
TURN_S = 0.25
"""A turn lasts about this long, so that the questions between turns are no part of what is measured."""
MOST_INFERENCES = 2048
"""In a turn."""


def measure_energy(context: ExecutionContext, job: Job, blank: Record) -> Record:
    """Measure the one case of `job` and return `blank` filled in."""
    scratch = fresh(context.scratch / "energy")
    done = _Pass(context, job, scratch)
    began, before, own = time.monotonic_ns(), take_snapshot(), time.process_time_ns()
    status, reason = "ok", None
    try:
        with context.meters.opened(context.spawner, scratch):
            done.measure()
    except MeterError as error:
        status, reason = "not-measured", error.reason
    except TurnError as error:
        status, reason = "error", error.reason
    except OSError as error:
        status, reason = "error", Reason("os", f"it could not be run: {error}")
    answer = done.answer
    if answer is not None and answer.reason is not None:
        status, reason = answer.status, answer.reason
    return msgspec.structs.replace(
        blank,
        status=status,
        reason=reason,
        spawn_ns=began,
        exit_ns=time.monotonic_ns(),
        exit_code=answer.finished.exit_code if answer else None,
        result=answer.result if answer else None,
        parity=done.parity,
        energy=tuple(done.windows),
        conditions=conditions_since(before, done.spent_ns + time.process_time_ns() - own),
    )


class _Pass:
    """The windows of one case as they are measured."""

    def __init__(self, context: ExecutionContext, job: Job, scratch: Path) -> None:
        (self._case,) = job.cases
        self._context, self._job, self._scratch = context, job, scratch
        self._model = context.models[self._case.model]
        self._order = draw(self._case, self._model, job.probe, job.block, context.secret)
        self._can = context.targets_info[self._case.target].capabilities
        # no seed: a runner could know it
        self._items = random.SystemRandom()
        self.windows: list[EnergyWindow] = []
        self.answer: Answer | None = None
        """Of the latest whole process."""
        self.parity: list[dict[str, object]] = []
        self.spent_ns = 0
        """CPU time of what was measured."""

    def measure(self) -> None:
        """Measure all windows; those after a process that failed are left out."""
        asked = self._context.suite.measure.energy
        self._idle("idle-before", asked.idle_s)
        self._processes(asked.window_s)
        if self.answer is None or self.answer.reason is not None:
            return
        if self._can is not None and "turns" in self._can.measures:
            self._inferences(asked.window_s)
        self._idle("idle-after", asked.idle_s)

    def _idle(self, part: str, seconds: float) -> None:
        def rest() -> int:
            time.sleep(self._least_s(seconds))
            return 0

        self._window(part, 0.0, rest, lambda: 0)

    def _processes(self, seconds: float) -> None:
        """Start whole processes one after the other; the outputs of the last are compared with the reference."""
        folder = fresh(self._scratch / "process")
        target, timeout_s = self._context.targets_info[self._case.target].target, self._context.suite.measure.timeout_s
        request = make_request(self._case, self._model, self._job.probe, folder, self._order)

        def process() -> int:
            (folder / "result.json").unlink(missing_ok=True)
            self.answer = launch(request, target, self._context.spawner, folder, timeout_s)
            self.spent_ns += self.answer.finished.cpu_ns
            if self.answer.reason is not None:
                raise _FailedError
            return 1

        try:
            self._window("process", seconds, process, lambda: self.spent_ns)
        except _FailedError:
            return
        self._check()

    def _check(self) -> None:
        answer = self.answer
        if answer is None or answer.result is None or (self._can is not None and not self._can.computes):
            return
        parity, doubt = check_result(self._case, self._model, self._job.probe, self._order, answer.result)
        self.parity = parity
        if doubt:
            raise TurnError(doubt)

    def _inferences(self, seconds: float) -> None:
        """Ask a live process turn by turn, once it is warm."""
        player = LiveProcess(self._context, self._job, self._case)
        try:
            player.warm()
            self._warm_up(player)
            roundtrip_ns = median(player.roundtrip_ns[-WINDOW * WINDOWS :])
            count = min(MOST_INFERENCES, ceil(TURN_S * 1e9 / max(1.0, roundtrip_ns)))
            self._window("inference", seconds, lambda: self._turn(player, count), player.cpu_ns)
        finally:
            if player.finished is None:
                player.close()
            self._context.spawner.measured_ns += player.inside_ns
            self.spent_ns += player.finished.cpu_ns if player.finished else 0
        if player.reason is not None:
            raise TurnError(player.reason)

    def _warm_up(self, player: LiveProcess) -> None:
        until = time.monotonic() + self._context.suite.measure.latency.warmup_time_s
        while not is_steady(player.inference_ns):
            self._turn(player, 1)
            if len(player.inference_ns) >= WINDOW * WINDOWS and time.monotonic() > until:
                break

    def _turn(self, player: LiveProcess, count: int) -> int:
        player.turn([self._items.randrange(player.items) for _ in range(count)])
        return count

    def _window(self, part: str, seconds: float, act: Callable[[], int], spent_ns: Callable[[], int | None]) -> None:
        """Do `act`, which returns how much was done, again and again between two readings of all counters."""
        meters, least_ns = self._context.meters, self._least_s(seconds) * 1e9 if seconds else 0.0
        before, own, theirs = take_snapshot(), time.process_time_ns(), spent_ns()
        begun = meters.begin()
        start_ns = time.monotonic_ns()
        count = act()
        while time.monotonic_ns() - start_ns < least_ns:
            count += act()
        end_ns = time.monotonic_ns()
        ended = meters.end()
        used = spent_ns()
        told = theirs is not None and used is not None
        conditions = conditions_since(before, (used or 0) - (theirs or 0) + time.process_time_ns() - own)
        window = EnergyWindow(
            part=part, start_ns=start_ns, end_ns=end_ns, count=count, others=conditions.others if told else None
        )
        for meter in meters.found:
            name = meter.info.name
            joules, silent = difference(meter, begun[name], ended[name], at_work=count > 0)
            window.joules.update({f"{name}.{domain}": value for domain, value in joules.items()})
            window.silent.update({f"{name}.{domain}": why for domain, why in silent.items()})
            window.seconds[name] = (ended[name].time_ns - begun[name].time_ns) / 1e9
        self.windows.append(window)

    def _least_s(self, seconds: float) -> float:
        return max(seconds, STEPS * self._context.meters.step_s)


class _FailedError(Exception):
    """A whole process went wrong; its answer says how."""
