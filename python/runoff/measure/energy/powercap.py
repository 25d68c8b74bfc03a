"""RAPL through the kernel's powercap tree: what x86 processors count of their own energy.

Sources: the kernel's Documentation/power/powercap/powercap.rst for the files; Intel, Software Developer's Manual,
volume 3B, "Package RAPL Domain", for counters of 32 bits that move about once a millisecond.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from runoff.measure.energy.meter import RAPL, MeterError, Reading
from runoff.records.reason import Reason
from runoff.records.schema import MeterInfo

if TYPE_CHECKING:
    from runoff.processes import Spawner

NAME = "powercap"
ROOT = Path("/sys/class/powercap")
GRANT = "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"
"""Until the machine starts again: only root may read the counters since Linux 5.10."""
STEP_S = 0.001
COUNTS = 2**32
"""Steps of the counter from zero to its wrap-around: `max_energy_range_uj` is so many of them."""
MOST_W = 600.0
"""No package draws more. Between two readings a counter must not have had the time to go round twice."""


class Zone(Struct, frozen=True):
    """One counter."""

    file: Path
    domain: str
    range_uj: int
    """What it counts to before it begins again at zero."""


def find_powercap() -> Powercap | Reason:
    """Return the counters of this machine, or the reason why there is none."""
    zones, lacks = [], {}
    for folder in sorted(ROOT.glob("intel-rapl:*")):
        domain = _domain(folder)
        zone = _zone(folder, domain)
        if isinstance(zone, Reason):
            lacks[domain] = zone
        else:
            zones.append(zone)
    # a domain is a sum over processors: without one of them it is none
    whole = [zone for zone in zones if zone.domain not in lacks]
    if whole:
        return Powercap(whole, {domain: str(reason) for domain, reason in lacks.items()})
    if lacks:
        return next(iter(lacks.values()))
    return Reason("no-counter", f"no RAPL zone under {ROOT}: usual on virtual machines")


def _domain(folder: Path) -> str:
    """Return what a zone is called here: those of several processors share a name."""
    try:
        name = (folder / "name").read_text(encoding="utf-8").strip()
    except OSError:
        return folder.name
    return "package" if name.startswith("package") else name


def _zone(folder: Path, domain: str) -> Zone | Reason:
    try:
        range_uj = int((folder / "max_energy_range_uj").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return Reason("no-range", f"{folder / 'max_energy_range_uj'} has no number: a wrap-around could not be told")
    file = folder / "energy_uj"
    try:
        int(file.read_text(encoding="ascii"))
    except PermissionError:
        return Reason("permission", f"{file} may be read by root only", f"run: {GRANT}")
    except (OSError, ValueError) as error:
        return Reason("no-counter", f"{file} cannot be read: {error}")
    return Zone(file, domain, range_uj)


class Powercap:
    """Counters of the powercap tree; those of several processors are added up.

    Parameters
    ----------
    zones
        The counters, one at least.
    lacks
        By domain, why it cannot be had.
    """

    waits = False
    may_rest = frozenset({"uncore"})

    def __init__(self, zones: list[Zone], lacks: dict[str, str]) -> None:
        self.needs: dict[str, str] = {}
        self._zones = zones
        self._last: dict[Path, int] = {}
        self._last_ns = 0
        self._joules: dict[str, float] = {}
        self.info = MeterInfo(
            name=NAME,
            source=f"RAPL, the processor's own counters, read from {ROOT}",
            domains={zone.domain: RAPL.get(zone.domain, zone.domain) for zone in zones},
            resolution_j=max(zone.range_uj for zone in zones) / COUNTS / 1e6,
            step_s=STEP_S,
            lacks=lacks,
        )

    def open(self, spawner: Spawner, scratch: Path) -> None:  # noqa: ARG002 (the interface of a meter)
        """Begin to count from zero."""
        self._joules = {zone.domain: 0.0 for zone in self._zones}
        self._last_ns = time.monotonic_ns()
        self._last = {zone.file: self._count(zone) for zone in self._zones}

    def read(self) -> Reading:
        """Return the joules by domain since `open`, over wrap-arounds.

        Raises
        ------
        MeterError
            When a counter cannot be read any more, or may have gone round more than once since the last reading.
        """
        now_ns = time.monotonic_ns()
        since_s = (now_ns - self._last_ns) / 1e9
        for zone in self._zones:
            if since_s * MOST_W > zone.range_uj / 1e6:
                raise MeterError(Reason("wrapped", _lost(zone, since_s), "measure a model whose process is shorter"))
            count = self._count(zone)
            step_uj = count - self._last[zone.file]
            self._joules[zone.domain] += (step_uj if step_uj >= 0 else step_uj + zone.range_uj) / 1e6
            self._last[zone.file] = count
        self._last_ns = now_ns
        return Reading(now_ns, dict(self._joules))

    def close(self) -> None:
        """Nothing was started."""

    def _count(self, zone: Zone) -> int:
        try:
            return int(zone.file.read_text(encoding="ascii"))
        except (OSError, ValueError) as error:
            raise MeterError(Reason("no-counter", f"{zone.file} cannot be read any more: {error}", GRANT)) from error


def _lost(zone: Zone, since_s: float) -> str:
    return (
        f"{since_s:.0f} s went by between two readings of {zone.file}, which begins anew after "
        f"{zone.range_uj / 1e6:,.0f} J: it may have done so more than once"
    )
