"""The cases of a comparison live side by side and take turns in short blocks, so that each block sees one machine.

While one computes the others wait in the read of a pipe. A set begins with fresh processes, because two processes of
one program differ for their whole life; it warms up until all of them are steady; then every round asks each of them,
in random order, for the same inputs.
"""

from __future__ import annotations

import random
import time
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

import msgspec

from runoff.measure.conditions import conditions_since, take_snapshot
from runoff.measure.live_process import LiveProcess, TurnError
from runoff.measure.warmup import WINDOW, WINDOWS, is_steady
from runoff.records.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from runoff.measure.job import ExecutionContext, Job
    from runoff.records.schema import Case, Conditions, InterleavingStats, Record

TURN_NS = 2_000_000
"""A turn lasts at least about this long: shorter ones would measure the waking up."""
MOST_INFERENCES = 64
SETTLE_S = 0.012
"""Pause after a turn of several threads: OpenMP's spin for 3 to 11 ms when there is nothing left to do."""
EMPTY_EVERY = 5
"""Every so many rounds the pipe itself is measured, by a turn without inferences."""


def measure_interleaved(context: ExecutionContext, job: Job, blanks: Sequence[Record]) -> list[Record]:
    """Measure the cases of `job` side by side and return their records, `blanks` filled in.

    One that takes too long is killed with all the others; the set is then begun again without it.
    """
    left = {case.id: (case, blank) for case, blank in zip(job.cases, blanks, strict=True)}
    records: dict[str, Record] = {}
    while left:
        played = _Set(context, job, [case for case, _ in left.values()]).play(left)
        late = {name: record for name, record in played.items() if record.reason and record.reason.kind == "timeout"}
        done = late or played
        records |= done
        left = {name: pair for name, pair in left.items() if name not in done}
    return [records[case.id] for case in job.cases]


class _Set:
    """Live processes, from their start to their end."""

    def __init__(self, context: ExecutionContext, job: Job, cases: list[Case]) -> None:
        self._context, self._job = context, job
        self._cases = {case.id: case for case in cases}
        self._players: dict[str, LiveProcess] = {}
        self._reasons: dict[str, Reason] = {}
        self._turned: dict[str, InterleavingStats] = {}
        self._order = random.Random(f"{context.suite.measure.seed}.set.{job.block}.{job.cases[0].id}")  # noqa: S311
        # no seed: a runner could know it
        self._items = random.SystemRandom()

    def play(self, blanks: dict[str, tuple[Case, Record]]) -> dict[str, Record]:
        """Start, warm up, take turns and end; return the records by case."""
        before, own = take_snapshot(), time.process_time_ns()
        for name in self._shuffled(self._cases):
            self._guarded(name, partial(self._begin, name))
        steady, warmup = self._warm_up()
        self._take_turns(steady, warmup)
        for name, player in self._players.items():
            if player.finished is None:
                player.reason = player.reason or self._reasons.get(name)
                player.close()
        self._context.spawner.measured_ns += sum(player.inside_ns for player in self._players.values())
        spent = sum(player.finished.cpu_ns for player in self._players.values() if player.finished)
        conditions = conditions_since(before, spent + time.process_time_ns() - own)
        return {name: self._record(blank, conditions) for name, (_, blank) in blanks.items()}

    def _begin(self, name: str) -> None:
        player = self._players[name] = LiveProcess(self._context, self._job, self._cases[name])
        player.warm()

    def _warm_up(self) -> tuple[set[str], int]:
        """Take turns until each was steady once or the time for it is over; return which were, and the turns."""
        until = time.monotonic() + self._context.suite.measure.latency.warmup_time_s
        steady: set[str] = set()
        rounds = 0
        while self._playing():
            self._round(1)
            rounds += 1
            steady |= {name for name, player in self._playing().items() if is_steady(player.inference_ns)}
            if steady >= self._playing().keys() or (rounds >= WINDOW * WINDOWS and time.monotonic() > until):
                break
        return steady, rounds

    def _take_turns(self, steady: set[str], warmup: int) -> None:
        """Take the measured turns, until every player has met both minima."""
        if not self._playing():
            return
        beside = len(self._playing())
        count = self._inferences()
        minima = self._context.suite.measure.latency
        self._each(lambda player: player.begin())
        rounds = 0
        while self._playing():
            self._round(count)
            rounds += 1
            told = [player.inference_ns[warmup:] for player in self._playing().values()]
            enough = all(len(ns) >= minima.min_samples and sum(ns) >= minima.min_time_s * 1e9 for ns in told)
            cut = rounds * count * 2 >= minima.min_samples and self._context.sampling.out_of_time()
            if enough or cut:
                break
            if rounds % EMPTY_EVERY == 0:
                self._each(lambda player: player.turn([]))
        self._each(lambda player: player.end())
        for name, player in self._playing().items():
            self._turned[name] = player.turned(beside=beside, inferences=count, warmup=warmup, steady=name in steady)

    def _inferences(self) -> int:
        """Return how many inferences a turn has, so that the quickest player's lasts `TURN_NS`."""
        quickest = min(median(player.inference_ns[-WINDOW * WINDOWS :]) for player in self._playing().values())
        return max(1, min(MOST_INFERENCES, -int(-TURN_NS // max(quickest, 1))))

    def _round(self, count: int) -> None:
        """Ask every player for the same inputs, in random order."""
        items = next(iter(self._playing().values())).items
        firsts = [self._items.randrange(items) for _ in range(count)]
        self._each(lambda player: self._turn(player, firsts))

    def _turn(self, player: LiveProcess, firsts: list[int]) -> None:
        player.turn(firsts)
        if player.case.settings.threads > 1:
            time.sleep(SETTLE_S)
            player.inside_ns += round(SETTLE_S * 1e9)

    def _playing(self) -> dict[str, LiveProcess]:
        return {name: player for name, player in self._players.items() if name not in self._reasons}

    def _each(self, act: Callable[[LiveProcess], None]) -> None:
        for name in self._shuffled(self._playing()):
            self._guarded(name, partial(act, self._players[name]))

    def _guarded(self, name: str, act: Callable[[], None]) -> None:
        """Do `act`; a failure takes this player out and leaves the others in."""
        try:
            act()
        except TurnError as error:
            self._reasons[name] = error.reason
        except OSError as error:
            self._reasons[name] = Reason("os", f"it could not be run: {error}")

    def _shuffled(self, names: Iterable[str]) -> list[str]:
        order = list(names)
        self._order.shuffle(order)
        return order

    def _record(self, blank: Record, conditions: Conditions) -> Record:
        player = self._players.get(blank.case)
        if player is None or player.finished is None:
            reason = self._reasons.get(blank.case) or Reason("os", "it could not be started")
            return msgspec.structs.replace(blank, status="error", reason=reason, conditions=conditions)
        failed = player.reason
        unsupported = player.result is not None and player.result.status == "unsupported"
        return msgspec.structs.replace(
            blank,
            status="ok" if failed is None else "unsupported" if unsupported else "error",
            reason=failed,
            spawn_ns=player.finished.spawn_ns,
            exit_ns=player.finished.exit_ns,
            exit_code=player.finished.exit_code,
            result=player.result,
            parity=[player.parity[example] for example in sorted(player.parity)],
            turned=self._turned.get(blank.case),
            conditions=msgspec.structs.replace(conditions, switches=player.finished.switches),
        )
