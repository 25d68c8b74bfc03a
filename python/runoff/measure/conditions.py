"""The machine during a measurement: other work, throttling, clock. Only reads."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import psutil
from msgspec import Struct

from runoff.records.schema import Conditions

_CGROUPS = (("cpu.stat", "throttled_usec", 1e3), ("cpu/cpu.stat", "throttled_time", 1.0))
"""Version 2, then version 1: file, field, nanoseconds in its unit."""


class Snapshot(Struct, frozen=True):
    """The counters of the system at one moment."""

    clock_ns: int
    all_s: float
    """Time of all cores together, whatever they did."""
    busy_s: float
    steal_s: float | None
    mhz: float | None
    throttled_ns: float | None
    runoff_ns: int = 0
    """CPU time of runoff itself."""


def take_snapshot() -> Snapshot:
    """Return the counters now."""
    times = psutil.cpu_times()
    steal = getattr(times, "steal", None)
    # guest time is part of user time already
    every = sum(value for name, value in times._asdict().items() if not name.startswith("guest"))
    idle = times.idle + getattr(times, "iowait", 0.0) + (steal or 0.0)
    return Snapshot(time.monotonic_ns(), every, every - idle, steal, _mhz(), _throttled_ns(), time.process_time_ns())


def conditions_since(before: Snapshot, spent_ns: int, switches: int | None = None) -> Conditions:
    """Return the conditions from `before` until now.

    `spent_ns` is the CPU time of the measured processes, `switches` their involuntary context switches.
    """
    now = take_snapshot()
    own_s = (spent_ns + now.runoff_ns - before.runoff_ns) / 1e9
    wall_s, all_s = (now.clock_ns - before.clock_ns) / 1e9, now.all_s - before.all_s
    clocks = [mhz for mhz in (before.mhz, now.mhz) if mhz]
    return Conditions(
        load=round(psutil.getloadavg()[0], 2),
        steal=_share(before.steal_s, now.steal_s, all_s),
        others=max(0.0, round((now.busy_s - before.busy_s - own_s) / wall_s, 3)) if wall_s else None,
        mhz=round(sum(clocks) / len(clocks), 1) if clocks else None,
        throttled=_share(before.throttled_ns, now.throttled_ns, wall_s * 1e9),
        switches=switches,
    )


def _share(before: float | None, now: float | None, total: float) -> float | None:
    if before is None or now is None or total <= 0:
        return None
    return round(max(0.0, now - before) / total, 4)


def _mhz() -> float | None:
    # some systems have the files and no figure in them
    with suppress(OSError, RuntimeError, AttributeError, ValueError):
        frequency = psutil.cpu_freq()
        return float(frequency.current) or None
    return None


def _throttled_ns() -> float | None:
    for file, field, unit in _CGROUPS:
        with suppress(OSError, ValueError):
            lines = Path("/sys/fs/cgroup", file).read_text(encoding="utf-8").splitlines()
            values = [line.split()[1] for line in lines if line.startswith(f"{field} ")]
            if values:
                return float(values[0]) * unit
    return None
