"""The sources of energy readings on this machine, and the reasons why others are unavailable."""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from runoff.measure.energy import ioreport, nvml, perf, powercap, powermetrics
from runoff.measure.energy.meter import MeterError, dead_counters
from runoff.records.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runoff.measure.energy.meter import Meter, Reading
    from runoff.processes import Spawner

_AHEAD = {perf.NAME: powercap.NAME, powermetrics.NAME: ioreport.NAME}
"""Source -> a better source of the same counters."""
_WORK_S = 2.0
"""Duration of the work during which a counter has to move."""
_WORKERS = 2
_WORK = "import select\nwhile not select.select([0], [], [], 0)[0]: sum(range(100_000))"
_END_S = 10.0


class Meters(Struct, frozen=True):
    """The sources that can be read, and the reasons of the others by name."""

    found: tuple[Meter, ...] = ()
    unavailable: dict[str, Reason] = {}

    @property
    def reason(self) -> Reason | None:
        """Reason why energy cannot be measured: that of each source; None if it can."""
        if self.found:
            return None
        grants = [reason.hint for reason in self.unavailable.values() if reason.kind == "permission"]
        reasons = "; ".join(f"{name}: {reason.message}" for name, reason in self.unavailable.items())
        return Reason("no-meter", reasons, "; or ".join(grants))

    def unreadable(self) -> list[str]:
        """Return a line for each counter of a source in use that cannot be read."""
        infos = (meter.info for meter in self.found)
        return [f"{info.name}, {name}: {why}" for info in infos for name, why in info.unavailable.items()]

    @property
    def step_s(self) -> float:
        """Time between two steps of the slowest counter."""
        return max((meter.info.step_s for meter in self.found), default=0.0)

    @contextmanager
    def opened(self, spawner: Spawner, scratch: Path) -> Iterator[None]:
        """Count with all of them; their programs are stopped at the end."""
        with ExitStack() as stack:
            for meter in self.found:
                stack.callback(meter.close)
                meter.open(spawner, scratch)
            yield

    def begin(self) -> dict[str, Reading]:
        """Return a reading of each by name, slow ones first: work begins right after the last one."""
        return {meter.info.name: meter.read() for meter in sorted(self.found, key=lambda meter: not meter.waits)}

    def end(self) -> dict[str, Reading]:
        """Return a reading of each by name, slow ones last: work has ended right before the first one."""
        return {meter.info.name: meter.read() for meter in sorted(self.found, key=lambda meter: meter.waits)}


def find_meters(spawner: Spawner) -> Meters:
    """Return the sources of this machine, without dead counters: each source is read once around 2 s of work.

    Of two that read the same counters, only the better one is used.
    """
    found: dict[str, Meter] = {}
    unavailable: dict[str, Reason] = {}
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
            unavailable[name] = Reason("not-needed", f"not needed: {better} reads the same counters")
            continue
        source = find()
        if isinstance(source, Reason):
            unavailable[name] = source
        elif reason := _drop_dead(source, spawner):
            unavailable[name] = reason
        else:
            found[name] = source
    return Meters(tuple(found.values()), unavailable)


def _drop_dead(meter: Meter, spawner: Spawner) -> Reason | None:
    """Remove the domains of `meter` whose counters do not move; return the reason if no counter moves at all."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="runoff-") as folder,
            Meters((meter,)).opened(spawner, Path(folder)),
            _work(spawner),
        ):
            first = meter.read()
            time.sleep(_WORK_S)
            last = meter.read()
    except MeterError as error:
        return error.reason
    dead = dead_counters(meter, first, last)
    if dead and not any(last.joules[domain] > first.joules[domain] for domain in meter.info.domains):
        return Reason("no-counter", "; ".join(dict.fromkeys(dead.values())))
    alive = {domain: scope for domain, scope in meter.info.domains.items() if domain not in dead}
    meter.info = replace(meter.info, domains=alive, unavailable={**meter.info.unavailable, **dead})
    return None


@contextmanager
def _work(spawner: Spawner) -> Iterator[None]:
    """Keep two cores busy."""
    command = (sys.executable, "-I", "-S", "-c", _WORK)
    workers = [spawner.start(command, {}) for _ in range(_WORKERS)]
    try:
        yield
    finally:
        for worker in workers:
            worker.close(_END_S)
