"""The interface of all sources of energy readings, and the difference of two readings."""

from __future__ import annotations

from math import isnan, nan
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
"""Scope of the counters of x86 processors, by domain."""


class MeterError(Exception):
    """A source that gave readings before gives none any more."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Reading(Struct, frozen=True):
    """The state of the counters at one moment."""

    time_ns: int
    """On the source's own clock; only differences have a meaning."""
    joules: dict[str, float]
    """By domain, since the meter was opened; NaN if it did not count all the time."""


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
        """Begin to count; `scratch` is an existing folder for the output of a program."""

    def read(self) -> Reading:
        """Return the counters.

        Raises
        ------
        MeterError
            If the source is gone or its readings are impossible.
        """

    def close(self) -> None:
        """Stop counting, and end the programs that were started for it."""


def difference(
    meter: Meter, first: Reading, last: Reading, *, at_work: bool
) -> tuple[dict[str, float], dict[str, str]]:
    """Return the joules between two readings by domain, and the reasons why the other domains have none.

    A counter that does not move while the processor works is not a measurement of zero: its domain has no joules.

    Parameters
    ----------
    meter
        The source of both.
    first, last
        The earlier and the later reading.
    at_work
        Whether the processor worked all the time between them.
    """
    joules, silent = {}, dead_counters(meter, first, last) if at_work else {}
    for domain, spent in _moved(meter, first, last).items():
        if isnan(spent):
            silent[domain] = "it was not counted all the time"
        elif at_work and not spent > 0:
            silent.setdefault(domain, f"the counter did not move in {_seconds(first, last)}: not in use, or dead")
        elif domain not in silent:
            joules[domain] = spent
    return joules, silent


def dead_counters(meter: Meter, first: Reading, last: Reading) -> dict[str, str]:
    """Return the reason for each domain whose counter did not move although the processor worked."""
    moved, dead = _moved(meter, first, last), {}
    for domain in moved:
        part = meter.needs.get(domain, domain)
        if moved.get(part, nan) <= 0 and part not in meter.may_rest:
            dead[domain] = f"dead counter: {part} did not move in {_seconds(first, last)} of work"
    return dead


def _moved(meter: Meter, first: Reading, last: Reading) -> dict[str, float]:
    return {domain: last.joules[domain] - first.joules[domain] for domain in meter.info.domains}


def _seconds(first: Reading, last: Reading) -> str:
    return f"{(last.time_ns - first.time_ns) / 1e9:.1f} s"
