"""Which sources of energy readings this machine has, and why it has not the others."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from msgspec import Struct

from runoff.measure.energy import ioreport, nvml, perf, powercap, powermetrics
from runoff.records.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runoff.measure.energy.meter import Meter, Reading
    from runoff.processes import Spawner

_AHEAD = {perf.NAME: powercap.NAME, powermetrics.NAME: ioreport.NAME}
"""Sources that read what another one reads already, and reads better."""


class Meters(Struct, frozen=True):
    """The sources that can be read, and the reasons of the others by name."""

    found: tuple[Meter, ...] = ()
    lacking: dict[str, Reason] = {}

    @property
    def reason(self) -> Reason | None:
        """Why energy cannot be measured at all: each source with its reason; None when it can."""
        if self.found:
            return None
        grants = [reason.hint for reason in self.lacking.values() if reason.kind == "permission"]
        return Reason("no-meter", self.words(), "; or ".join(grants))

    def words(self) -> str:
        """Return each source that cannot be read with its reason."""
        return "; ".join(f"{name}: {reason.message}" for name, reason in self.lacking.items())

    @property
    def step_s(self) -> float:
        """How often the slowest counter moves."""
        return max((meter.info.step_s for meter in self.found), default=0.0)

    @contextmanager
    def opened(self, spawner: Spawner, scratch: Path) -> Iterator[None]:
        """Let all of them count; what was started for it is ended at the end."""
        with ExitStack() as stack:
            for meter in self.found:
                stack.callback(meter.close)
                meter.open(spawner, scratch)
            yield

    def begin(self) -> dict[str, Reading]:
        """Return a reading of each by name, those that take time first: work begins right after the last one."""
        return {meter.info.name: meter.read() for meter in sorted(self.found, key=lambda meter: not meter.waits)}

    def end(self) -> dict[str, Reading]:
        """Return a reading of each by name, those that take time last: work has ended right before the first one."""
        return {meter.info.name: meter.read() for meter in sorted(self.found, key=lambda meter: meter.waits)}


def find_meters(spawner: Spawner) -> Meters:
    """Return the sources of this machine. Programs among them are tried once.

    Of two that read the same counters only the better one is taken.
    """
    found: dict[str, Meter] = {}
    lacking: dict[str, Reason] = {}
    ways = {
        powercap.NAME: powercap.find_powercap,
        perf.NAME: lambda: perf.find_perf(spawner),
        ioreport.NAME: ioreport.find_ioreport,
        powermetrics.NAME: lambda: powermetrics.find_powermetrics(spawner),
        nvml.NAME: nvml.find_nvml,
    }
    for name, find in ways.items():
        better = _AHEAD.get(name)
        if better in found:
            lacking[name] = Reason("not-needed", f"not needed beside {better}")
            continue
        source = find()
        if isinstance(source, Reason):
            lacking[name] = source
        else:
            found[name] = source
    return Meters(tuple(found.values()), lacking)
