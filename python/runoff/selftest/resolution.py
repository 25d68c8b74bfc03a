"""The smallest difference that is detected on this machine, from injected slowdowns and an A/A control."""

from __future__ import annotations

from math import ceil, isfinite
from typing import TYPE_CHECKING

from msgspec import Struct, field

from runoff.selftest.suites import SAME, SHORT_SETS, UNMODIFIED, Plan, pick_model, runner
from runoff.selftest.verdicts import NOTHING, TargetVerdict, read_verdicts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runoff.records.schema import Run

INJECTED = {SAME: 0.0, "slow-1": 0.01, "slow-2": 0.02, "slow-5": 0.05}
"""Targets that run in the same sets as the unmodified one, and the slowdown injected in each."""
_STEP = 0.001


class Slowdown(Struct, frozen=True, kw_only=True):
    """An injected slowdown and its verdict in the run; 0 is the A/A control."""

    injected: float = field(name="planted")
    verdict: TargetVerdict = field(name="said")


class Resolution(Struct, frozen=True, kw_only=True):
    """The differences that the run detects."""

    slowdowns: tuple[Slowdown, ...]
    resolves: float | None
    """The smallest slowdown that is expected to be detected, as a share; None without intervals or floor."""

    @property
    def quiet(self) -> bool:
        """Whether no difference was claimed for the A/A control."""
        return any(one.verdict.quiet for one in self.slowdowns if one.injected == 0)

    @property
    def missed(self) -> list[float]:
        """The slowdowns that should have been detected and were not."""
        limit = self.resolves if self.resolves is not None else 0.0
        return [one.injected for one in self.slowdowns if one.injected >= max(limit, _STEP) and not one.verdict.slower]


def plan_resolution(time: str) -> Plan:
    """Return the suite with `time` as its budget."""
    targets = {name: runner("slow", share) for name, share in {UNMODIFIED: 0.0, **INJECTED}.items()}
    measure = {"time": time, "latency": SHORT_SETS}
    return Plan(name="selftest-resolution", model=pick_model(), targets=targets, probe="latency", measure=measure)


def read_resolution(run: Run) -> Resolution:
    """Return the differences detected in `run`, a run of the suite from `plan_resolution`."""
    verdicts = read_verdicts(run, "latency")
    slowdowns = tuple(
        Slowdown(injected=share, verdict=verdicts.get(target, NOTHING)) for target, share in INJECTED.items()
    )
    return Resolution(slowdowns=slowdowns, resolves=resolves(one.verdict for one in slowdowns))


def resolves(verdicts: Iterable[TargetVerdict]) -> float | None:
    """Return the smallest difference that is nearly always detected, rounded up to a tenth of a percent.

    It is ``max(floor, w) + w``, where ``w`` is the widest half interval. A verdict needs an estimate farther from 1
    than both the noise floor and the half width of its interval; an estimate is below the true value by more than
    ``w`` once in forty times.
    """
    rows = list(verdicts)
    numbers = [number for one in rows for number in (one.half_width, one.floor)]
    if not numbers or not all(isfinite(number) for number in numbers):
        return None
    width, floor = max(one.half_width for one in rows), max(one.floor for one in rows)
    return ceil((max(floor, width) + width) / _STEP) * _STEP
