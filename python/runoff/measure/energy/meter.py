"""The interface of all sources of energy readings, and the difference of two readings."""

from __future__ import annotations

import time
from math import isnan, nan
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from runoff.records.reason import Reason, ReasonError
from runoff.records.schema import MeterInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from runoff.processes import Spawner

RAPL = {
    "package": "processor package",
    "core": "cores of the package",
    "uncore": "graphics of the package",
    "dram": "memory",
    "psys": "machine",
}
"""Scope of the counters of x86 processors, by domain."""
WHOLE = "soc"
"""The sum of the other domains of Apple silicon."""
APPLE = {
    "cpu": "processor cores",
    "gpu": "device",
    "gpu-sram": "memory of the GPU",
    "neural-engine": "device",
    "dram": "memory",
    WHOLE: "all of the chip that is counted",
}
"""Scope of the counters of Apple silicon, by domain."""
APPLE_MAY_REST = frozenset({"gpu", "gpu-sram", "neural-engine"})
MILLIJOULE = 0.001


class MeterError(ReasonError):
    """A source can no longer be read."""


class Reading(Struct, frozen=True):
    """The state of the counters at one moment."""

    time_ns: int
    """On the source's own clock; only differences have a meaning."""
    joules: dict[str, float]
    """By domain, since the meter was opened; NaN if it did not count all the time."""


class Meter(Protocol):
    """A source: opened, read around each window, closed."""

    info: MeterInfo
    waits: bool = False
    """Whether a reading waits for the end of the block that a program is writing."""
    may_rest: frozenset[str] = frozenset()
    """Domains that may draw nothing while the processor works."""

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


def apple_info(name: str, source: str, step_s: float, domains: Iterable[str], unavailable: dict[str, str]) -> MeterInfo:
    """Return the description of a source that counts `domains` of Apple silicon in millijoules."""
    scopes = {domain: APPLE[domain] for domain in (*domains, WHOLE)}
    return MeterInfo(
        name=name, source=source, domains=scopes, resolution_j=MILLIJOULE, step_s=step_s, unavailable=unavailable
    )


def with_whole(joules: dict[str, float], info: MeterInfo) -> dict[str, float]:
    """Return a copy of `joules`, with their sum if `info` has the domain for it."""
    return {**joules, WHOLE: sum(joules.values())} if WHOLE in info.domains else dict(joules)


class CumulativeMeter(Meter):
    """Counters that never decrease and can be read at any time.

    `count` returns them in joules by domain, and raises `MeterError` if they cannot be read.
    """

    def __init__(
        self, info: MeterInfo, count: Callable[[], dict[str, float]], may_rest: frozenset[str] = frozenset()
    ) -> None:
        self.info, self.may_rest = info, may_rest
        self._counters = count
        self._zero: dict[str, float] = {}

    def open(self, spawner: Spawner, scratch: Path) -> None:  # noqa: ARG002 (the interface of a meter)
        """Count from zero."""
        self._zero = self._counters()

    def read(self) -> Reading:
        """Return the joules by domain since `open`.

        Raises
        ------
        MeterError
            If a counter is gone or decreased.
        """
        now_ns, counted = time.monotonic_ns(), self._counters()
        joules = {domain: counted[domain] - zero for domain, zero in self._zero.items() if domain in counted}
        if len(joules) < len(self._zero) or min(joules.values()) < 0:
            raise MeterError(Reason("no-counter", f"a counter of {self.info.source} is gone or was reset"))
        return Reading(now_ns, with_whole(joules, self.info))

    def close(self) -> None:
        """Nothing was started."""


def difference(
    meter: Meter, first: Reading, last: Reading, *, at_work: bool
) -> tuple[dict[str, float], dict[str, str]]:
    """Return the joules between two readings by domain, and the reasons why the other domains have none.

    `at_work` says whether the processor worked all the time between `first` and `last`. A counter that does not move
    meanwhile is not a measurement of zero: its domain has no joules.
    """
    joules, silent = {}, dead_counters(meter, first, last) if at_work else {}
    for domain, spent in _moved(meter, first, last).items():
        if isnan(spent):
            silent[domain] = "not counted all the time"
        elif at_work and not spent > 0:
            silent.setdefault(domain, f"the counter did not move in {_seconds(first, last)}: not in use, or dead")
        elif domain not in silent:
            joules[domain] = spent
    return joules, silent


def dead_counters(meter: Meter, first: Reading, last: Reading) -> dict[str, str]:
    """Return the reason for each domain whose counter did not move although the processor worked."""
    moved, dead = _moved(meter, first, last), {}
    for domain in moved:
        part = "cpu" if domain == WHOLE else domain
        if moved.get(part, nan) <= 0 and part not in meter.may_rest:
            dead[domain] = f"dead counter: {part} did not move in {_seconds(first, last)} of work"
    return dead


def _moved(meter: Meter, first: Reading, last: Reading) -> dict[str, float]:
    return {domain: last.joules[domain] - first.joules[domain] for domain in meter.info.domains}


def _seconds(first: Reading, last: Reading) -> str:
    return f"{(last.time_ns - first.time_ns) / 1e9:.1f} s"
