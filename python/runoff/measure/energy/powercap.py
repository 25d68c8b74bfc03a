"""RAPL through the kernel's powercap tree: the energy counters of x86 processors.

Sources: the kernel's Documentation/power/powercap/powercap.rst for the files; Intel, Software Developer's Manual,
volume 3B, "Package RAPL Domain", for the 32-bit counters, which are updated about once per millisecond.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from runoff.measure.energy.meter import RAPL, CumulativeMeter, MeterError
from runoff.records.reason import Reason
from runoff.records.schema import MeterInfo

if TYPE_CHECKING:
    from runoff.processes import Spawner

NAME = "powercap"
ROOT = Path("/sys/class/powercap")
GRANT = "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"
"""Until the next boot. Since Linux 5.10, only root is permitted to read the counters."""
STEP_S = 0.001
COUNTS = 2**32
"""Steps of the counter in `max_energy_range_uj`, after which it wraps around."""
MOST_W = 600.0
"""No package draws more. A counter must not be able to wrap around twice between two readings."""


class Zone(Struct, frozen=True):
    """One counter."""

    file: Path
    domain: str
    range_uj: int
    """Value at which it wraps around to zero."""


def find_powercap() -> Powercap | Reason:
    """Return the counters of this machine, or the reason why there is none."""
    zones, unavailable = [], {}
    for folder in sorted(ROOT.glob("intel-rapl:*")):
        domain = _domain(folder)
        zone = _zone(folder, domain)
        if isinstance(zone, Reason):
            unavailable[domain] = zone
        else:
            zones.append(zone)
    # a domain is a sum over processors, so all of them must be readable
    readable = [zone for zone in zones if zone.domain not in unavailable]
    if readable:
        return Powercap(readable, {domain: str(reason) for domain, reason in unavailable.items()})
    if unavailable:
        return next(iter(unavailable.values()))
    return Reason("no-counter", f"no RAPL zone under {ROOT}: usual on virtual machines")


def _domain(folder: Path) -> str:
    """Return the domain of a zone; zones of several processors share one."""
    try:
        name = (folder / "name").read_text(encoding="utf-8").strip()
    except OSError:
        return folder.name
    return "package" if name.startswith("package") else name


def _zone(folder: Path, domain: str) -> Zone | Reason:
    try:
        range_uj = int((folder / "max_energy_range_uj").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return Reason(
            "no-range", f"{folder / 'max_energy_range_uj'} has no number: a wrap-around would not be detected"
        )
    file = folder / "energy_uj"
    try:
        int(file.read_text(encoding="ascii"))
    except PermissionError:
        return Reason("permission", f"{file} is readable by root only", f"run: {GRANT}")
    except (OSError, ValueError) as error:
        return Reason("no-counter", f"{file} cannot be read: {error}")
    return Zone(file, domain, range_uj)


class Powercap(CumulativeMeter):
    """Counters of the powercap tree, added up over processors; `unavailable` has the other domains, with reasons."""

    def __init__(self, zones: list[Zone], unavailable: dict[str, str]) -> None:
        self._zones = zones
        self._last: dict[Path, int] = {}
        self._last_ns = 0
        self._joules = {zone.domain: 0.0 for zone in zones}
        info = MeterInfo(
            name=NAME,
            source=f"RAPL, the processor's own counters, read from {ROOT}",
            domains={zone.domain: RAPL.get(zone.domain, zone.domain) for zone in zones},
            resolution_j=max(zone.range_uj for zone in zones) / COUNTS / 1e6,
            step_s=STEP_S,
            unavailable=unavailable,
        )
        super().__init__(info, self._total, frozenset({"uncore"}))

    def open(self, spawner: Spawner, scratch: Path) -> None:
        """Count from zero."""
        self._last, self._last_ns = {}, time.monotonic_ns()
        super().open(spawner, scratch)

    def _total(self) -> dict[str, float]:
        """Return the joules by domain, over wrap-arounds; a counter must not wrap around twice between two calls."""
        now_ns = time.monotonic_ns()
        since_s = (now_ns - self._last_ns) / 1e9
        for zone in self._zones:
            range_j, file = zone.range_uj / 1e6, zone.file
            if since_s * MOST_W > range_j:
                message = f"{since_s:.0f} s between two readings of {file}, which wraps around after {range_j:,.0f} J"
                hint = "measure a model with shorter processes"
                raise MeterError(Reason("wrapped", f"{message}: more than one wrap-around is possible", hint))
            count = self._count(zone)
            step_uj = count - self._last.get(zone.file, count)
            self._joules[zone.domain] += (step_uj if step_uj >= 0 else step_uj + zone.range_uj) / 1e6
            self._last[zone.file] = count
        self._last_ns = now_ns
        return dict(self._joules)

    def _count(self, zone: Zone) -> int:
        try:
            return int(zone.file.read_text(encoding="ascii"))
        except (OSError, ValueError) as error:
            raise MeterError(Reason("no-counter", f"{zone.file} can no longer be read: {error}", GRANT)) from error
