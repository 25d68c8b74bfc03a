"""How long an exchange with a process waited for a core: on a busy machine, that can be most of its round trip.

Linux counts the time in which a thread could run and had no core: the second field of ``/proc/PID/schedstat``, in ns
(Documentation/scheduler/sched-stats.rst). The main threads of the process and of runoff count. The files stay open: a
read takes microseconds, and happens outside the round trip.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import NamedTuple


class Exchange(NamedTuple):
    """A command and its response. Times are in ns, by runoff's clock."""

    took_ns: int
    woken_ns: int
    """Without the time that runoff waited for a core: it had the response already."""
    net_ns: int
    """Nor the time that the process waited, inside of what it reports or outside."""


class Waits(NamedTuple):
    """Totals since the start, in ns."""

    own_ns: int
    """Time that runoff waited for a core."""
    theirs_ns: int
    """The same of the process."""
    cpu_ns: int
    """CPU time of all threads of the process, also of those that have ended."""


class CoreWaits:
    """Reads the waits of runoff and of the process `pid`; None where the system does not report them."""

    def __init__(self, pid: int) -> None:
        self._clock = ~pid << 3 | 2
        """What clock_getcpuclockid(3) returns, which Python does not have."""
        self._files: list[int] = []
        with suppress(OSError):
            for path in ("/proc/self/schedstat", f"/proc/{pid}/schedstat"):
                self._files.append(os.open(path, os.O_RDONLY))

    def read(self) -> Waits | None:
        """Return the totals so far."""
        try:
            own_ns, theirs_ns = (int(os.pread(file, 100, 0).split()[1]) for file in self._files)
            return Waits(own_ns, theirs_ns, time.clock_gettime_ns(self._clock))
        except (OSError, ValueError, IndexError):  # no such files, or the process has ended
            return None

    def close(self) -> None:
        """Close the files."""
        while self._files:
            os.close(self._files.pop())


def exchange_between(before: Waits | None, after: Waits | None, took_ns: int) -> Exchange:
    """Return the exchange of `took_ns`, between the totals `before` and `after`.

    The CPU time of the process always counts, so a process that computes in an exchange cannot look shorter than what
    it computes: if it lets its main thread or runoff wait behind other threads of its own, those use the core.
    """
    if before is None or after is None:
        return Exchange(took_ns, took_ns, took_ns)
    own_ns, theirs_ns, cpu_ns = (later - earlier for earlier, later in zip(before, after, strict=True))
    least_ns = min(took_ns, cpu_ns)
    return Exchange(took_ns, max(least_ns, took_ns - own_ns), max(least_ns, took_ns - own_ns - theirs_ns))
