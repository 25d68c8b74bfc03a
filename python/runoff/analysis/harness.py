"""What the harness itself costs: wall time outside measured processes and deliberate pauses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from runoff.records.schema import RunInfo

MOST = 0.10
"""Share of a run's wall time that runoff may spend on itself."""


class Harness(Struct, frozen=True):
    """The row on the harness itself, in nanoseconds of wall time."""

    elapsed_ns: int
    measured_ns: int
    paused_ns: int

    @property
    def own_ns(self) -> int:
        """Wall time that was neither a measured process nor a pause."""
        return self.elapsed_ns - self.measured_ns - self.paused_ns

    @property
    def overhead_share(self) -> float | None:
        """`own_ns` as a part of the time without pauses, 0 to 1; None when the run has no time yet."""
        active = self.elapsed_ns - self.paused_ns
        return self.own_ns / active if active > 0 else None

    @property
    def within_threshold(self) -> bool | None:
        """Whether the harness kept under `MOST`; None when unknown."""
        return None if self.overhead_share is None else self.overhead_share < MOST


def harness(info: RunInfo) -> Harness:
    """Return the row on the harness of the run `info`."""
    return Harness(info.elapsed_ns, info.measured_ns, info.paused_ns)
