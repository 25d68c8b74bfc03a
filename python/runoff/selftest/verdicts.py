"""The verdicts on a run's injected targets, the same as in its reports, as slowdowns."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from runoff.analysis.analyse import analyse
from runoff.analysis.verdict import Kind  # noqa: TC001 (msgspec evaluates the annotations)
from runoff.selftest.suites import UNMODIFIED

if TYPE_CHECKING:
    from runoff.records.schema import Run

METRICS = {"latency": "inference.warm", "process": "wall"}


class TargetVerdict(Struct, frozen=True, kw_only=True):
    """How a target compares with the unmodified one."""

    measured: float
    """Share by which it takes longer, with its 95% interval; NaN if there is none."""
    low: float
    high: float
    floor: float
    p_adjusted: float
    kind: Kind = ""
    """Kind of the verdict; empty if there is none."""
    verdict: str
    """The verdict as text."""

    @property
    def half_width(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2

    @property
    def slower(self) -> bool:
        """Whether the verdict is that it is slower."""
        return self.kind == "worse"

    @property
    def differs(self) -> bool:
        """Whether the verdict is a difference, in either direction."""
        return self.kind in ("better", "worse")

    @property
    def quiet(self) -> bool:
        """Whether the verdict is that there is no difference."""
        return self.kind in ("no difference", "undecided")


NOTHING = TargetVerdict(measured=nan, low=nan, high=nan, floor=nan, p_adjusted=nan, verdict="not measured")
"""For a target without a row: it failed, or was not measured in this part of the run."""


def read_verdicts(run: Run, probe: str) -> dict[str, TargetVerdict]:
    """Return, by target, the verdict of `run` on the headline metric of `probe`."""
    summary = analyse(run).summary
    rows = summary[
        (summary["probe"] == probe) & (summary["metric"] == METRICS[probe]) & (summary["baseline"] == UNMODIFIED)
    ]
    return {row["target"]: _verdict(row) for row in rows.to_dict("records") if row["target"] != UNMODIFIED}


def _verdict(row: dict[Any, Any]) -> TargetVerdict:
    return TargetVerdict(
        measured=1 / row["ratio"] - 1,
        low=1 / row["ratio_high"] - 1,
        high=1 / row["ratio_low"] - 1,
        floor=row["floor"],
        p_adjusted=row["p_adjusted"],
        kind=row["verdict_kind"],
        verdict=row["verdict"],
    )
