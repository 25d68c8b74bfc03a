"""The stopping rule: the suite's number of blocks, narrow intervals, or the end of the time budget."""

from __future__ import annotations

import time
from math import ceil
from typing import TYPE_CHECKING

from runoff.probes import PROBES
from runoff.records.schema import Run, Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from runoff.plan.suite import Suite
    from runoff.records.schema import Record, RunInfo

FEWEST_BLOCKS = 2
"""An interval needs two."""
FEWEST = 5
"""Blocks before the intervals are first computed."""
STEP = 1.2
"""Intervals are computed less often as blocks add up: each time costs as much as a short process."""
DEFAULT_TIME_S = 600.0
"""Budget if only a precision is given."""


class Sampling:
    """Decides, block by block, whether a probe needs another.

    `suite` has the number of blocks, for a run without precision and budget. `info` and `folder` are the run, `before`
    the records of its earlier attempts, whose time counts. `widest_interval` returns, for a run and a probe, half the
    relative width of the widest interval and its case, or None without any interval.
    """

    def __init__(
        self,
        suite: Suite,
        info: RunInfo,
        folder: Path,
        widest_interval: Callable[[Run, str], tuple[float, str] | None],
        before: Sequence[Record] = (),
    ) -> None:
        self._suite = suite
        self._widest_interval = widest_interval
        self._run = (folder, info)
        self._precision = info.precision
        self._adaptive = info.precision is not None or info.time_s is not None
        self._ended = dict(info.stops) if self._adaptive else {}
        wanted = {name for case in info.cases if case.skipped is None for name in case.probes}
        sampled = [name for name in PROBES if PROBES[name].sampled and name in wanted]
        self._waiting = [name for name in sampled if name not in self._ended]
        self._left_s = info.time_s or DEFAULT_TIME_S
        self._spend(sum(_lasted_s(record for record in before if record.probe == name) for name in sampled))
        self.until: float | None = None
        """End of the pass on the clock of `time.monotonic`; None if blocks are counted."""
        self._began = 0.0
        self._next_look = FEWEST
        self._widest: tuple[float, str] | None = None
        self._cause = "blocks"

    def min_blocks(self, probe: str) -> int:
        """Return the number of blocks of `probe`; the smallest number, if it is sampled."""
        return FEWEST_BLOCKS if self._adaptive and PROBES[probe].sampled else self._suite.blocks(probe)

    def begin(self, probe: str) -> None:
        """Begin the pass of `probe` with its share of the remaining time."""
        self._began, self._next_look, self._widest, self.until = time.monotonic(), FEWEST, None, None
        self._cause = "blocks"
        if self._adaptive and probe in self._waiting:
            self.until = self._began + self._left_s / len(self._waiting)

    def out_of_time(self) -> bool:
        """Return whether the time of the pass is over."""
        return self.until is not None and time.monotonic() >= self.until

    def needs_block(self, probe: str, blocks: int, records: Sequence[Record]) -> bool:
        """Return whether another block of `probe` is needed after `blocks` of them, which gave `records`."""
        if self.until is None:
            return blocks < self.min_blocks(probe)
        if blocks < FEWEST_BLOCKS:
            return True
        mean_s = (time.monotonic() - self._began) / blocks
        # a block that starts at the last moment would be cut short
        if time.monotonic() + mean_s / 2 >= self.until:
            self._cause = "time"
            return False
        return not self._narrow(blocks, records)

    def abandon(self) -> None:
        """Note that the pass ends because no case is left that could be measured."""
        self._cause = "no-case"

    def end(self, probe: str, blocks: int, records: Sequence[Record]) -> Stop:
        """End the pass of `probe` and return the reason; that of an earlier attempt if the pass had ended there."""
        if probe in self._ended:
            return self._ended[probe]
        if probe in self._waiting:
            self._waiting.remove(probe)
            self._spend(time.monotonic() - self._began)
        if PROBES[probe].sampled:
            self._widest = self._widest_interval(self._of(records), probe)
        width, case = self._widest or (None, "")
        return Stop(cause=self._cause, blocks=blocks, widest=width, widest_case=case)

    def _spend(self, seconds: float) -> None:
        self._left_s = max(0.0, self._left_s - seconds)

    def _narrow(self, blocks: int, records: Sequence[Record]) -> bool:
        if self._precision is None or blocks < self._next_look:
            return False
        self._next_look = max(blocks + 1, ceil(blocks * STEP))
        self._widest = self._widest_interval(self._of(records), records[0].probe) if records else None
        if self._widest is None or self._widest[0] > self._precision:
            return False
        self._cause = "precision"
        return True

    def _of(self, records: Sequence[Record]) -> Run:
        folder, info = self._run
        return Run(folder, info, tuple(records))


def _lasted_s(records: Iterable[Record]) -> float:
    """Return for how many seconds at least one process of `records` was running: some ran at the same time."""
    lasted_ns = until_ns = 0
    for began_ns, end_ns in sorted((record.spawn_ns, record.exit_ns) for record in records):
        lasted_ns += max(0, end_ns - max(began_ns, until_ns))
        until_ns = max(until_ns, end_ns)
    return lasted_ns / 1e9
