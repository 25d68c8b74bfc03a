"""What all sources of energy readings have in common."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.processes import Spawner
    from runoff.records.reason import Reason
    from runoff.records.schema import MeterInfo

RAPL = {
    "package": "processor package",
    "core": "cores of the package",
    "uncore": "graphics of the package",
    "dram": "memory",
    "psys": "machine",
}
"""What the counters of x86 processors cover, by domain."""


class MeterError(Exception):
    """A source that gave readings before gives none now."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Reading(Struct, frozen=True):
    """What has been counted at one moment."""

    time_ns: int
    """On a clock of the source's own; only differences say something."""
    joules: dict[str, float]
    """By domain, since the meter was opened; NaN where it did not count all the time."""


class Meter(Protocol):
    """A source: opened, read around each window, closed."""

    info: MeterInfo
    waits: bool
    """Whether a reading waits for the end of the block that a program is writing."""
    may_rest: frozenset[str]
    """Domains that may draw nothing while the processor works."""
    needs: dict[str, str]
    """By domain that is a sum, the part that has to move while the processor works."""

    def open(self, spawner: Spawner, scratch: Path) -> None:
        """Begin to count; `scratch` is an existing folder for what a program writes."""

    def read(self) -> Reading:
        """Return what has been counted so far.

        Raises
        ------
        MeterError
            When the source is gone or says what cannot be.
        """

    def close(self) -> None:
        """Stop counting, and end what was started for it."""


def difference(
    meter: Meter, begun: Reading, ended: Reading, *, at_work: bool
) -> tuple[dict[str, float], dict[str, str]]:
    """Return the joules between two readings by domain, and why the other domains have none.

    A counter that stands still while the processor works is not a measurement of zero: such a domain has no joules.

    Parameters
    ----------
    meter
        The source of both.
    begun, ended
        The earlier and the later one.
    at_work
        Whether the processor worked all the time between them.
    """
    joules, silent = {}, {}
    seconds = (ended.time_ns - begun.time_ns) / 1e9
    moved = {domain: ended.joules[domain] - begun.joules[domain] for domain in ended.joules}
    for domain, spent in moved.items():
        carrier = meter.needs.get(domain, domain)
        if isnan(spent):
            silent[domain] = "it was not counted all the time"
        elif at_work and carrier in moved and not moved[carrier] > 0 and carrier not in meter.may_rest:
            silent[domain] = f"dead counter: {carrier} did not move in {seconds:.1f} s of work"
        elif at_work and not spent > 0:
            silent[domain] = f"the counter did not move in {seconds:.1f} s: not in use, or dead"
        else:
            joules[domain] = spent
    return joules, silent
