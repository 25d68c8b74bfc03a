"""What can be told apart here: planted slow-downs that were found or not, an A/A, and one sentence."""

from __future__ import annotations

from math import ceil, isfinite
from typing import TYPE_CHECKING

from msgspec import Struct

from runoff.selftest.suites import HONEST, SAME, SHORT_SETS, Plan, pick_model, runner
from runoff.selftest.verdicts import NOTHING, TargetVerdict, read_verdicts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runoff.records.schema import Run

PLANTED = {SAME: 0.0, "slow-1": 0.01, "slow-2": 0.02, "slow-5": 0.05}
"""The targets beside the honest one, in the same sets, and what is planted in each."""
_STEP = 0.001


class Slowdown(Struct, frozen=True, kw_only=True):
    """A planted slow-down and what the run says of it; 0 is the baseline's program again."""

    planted: float
    said: TargetVerdict


class Resolution(Struct, frozen=True, kw_only=True):
    """What the run can tell apart."""

    slowdowns: tuple[Slowdown, ...]
    resolves: float | None
    """The smallest slow-down that is expected to be found, as a share; None without intervals or floor."""

    @property
    def quiet(self) -> bool:
        """Whether nothing was said of the baseline's program under another name."""
        return any(one.said.quiet for one in self.slowdowns if one.planted == 0)

    @property
    def missed(self) -> list[float]:
        """The slow-downs that should have been found and were not."""
        limit = self.resolves if self.resolves is not None else 0.0
        return [one.planted for one in self.slowdowns if one.planted >= max(limit, _STEP) and not one.said.slower]


def plan_resolution(time: str) -> Plan:
    """Return the suite that takes `time`."""
    targets = {name: runner("slow", share) for name, share in {HONEST: 0.0, **PLANTED}.items()}
    measure = {"time": time, "latency": SHORT_SETS}
    return Plan(name="selftest-resolution", model=pick_model(), targets=targets, probe="latency", measure=measure)


def read_resolution(run: Run) -> Resolution:
    """Return what `run`, of the suite from `plan_resolution`, can tell apart."""
    said = read_verdicts(run, "latency")
    slowdowns = tuple(Slowdown(planted=share, said=said.get(target, NOTHING)) for target, share in PLANTED.items())
    return Resolution(slowdowns=slowdowns, resolves=resolves(one.said for one in slowdowns))


def resolves(said: Iterable[TargetVerdict]) -> float | None:
    """Return the smallest difference that is found nearly always, rounded up to a tenth of a percent.

    It is ``max(floor, w) + w``, where ``w`` is the widest half interval. A verdict needs an estimate farther from 1
    than both the noise floor and the half width of its interval; an estimate falls short of the truth by more than
    ``w`` once in forty times.
    """
    rows = list(said)
    numbers = [number for one in rows for number in (one.half_width, one.floor)]
    if not numbers or not all(isfinite(number) for number in numbers):
        return None
    width, floor = max(one.half_width for one in rows), max(one.floor for one in rows)
    return ceil((max(floor, width) + width) / _STEP) * _STEP
