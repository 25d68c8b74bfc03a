"""The threads of a process that compute, counted from outside."""

from __future__ import annotations

from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BUSY = 0.1
"""A thread computes if it uses at least this share of the CPU time of the busiest thread of the process, and at least
this share of the time that passes."""
_TICKS = 20
"""Fewer ticks of CPU time do not show which threads compute."""
TICK_S = 0.01
"""The unit in which the system counts CPU time."""


class Spent(NamedTuple):
    """The time of a thread since its start, in seconds."""

    cpu_s: float
    waited_s: float = 0.0
    """Time in which it could run and had no core; 0 if the system does not report it."""


def thread_times(pid: int) -> dict[int, Spent]:
    """Return the times of each thread of the process `pid` so far; empty if the system does not report them.

    It is also empty if others compute for the process: a browser has threads of many kinds.
    """
    try:
        process = psutil.Process(pid)
        threads = [] if process.children() else process.threads()
    except psutil.Error:
        return {}
    return {thread.id: Spent(thread.user_time + thread.system_time, _waited_s(pid, thread.id)) for thread in threads}


def since(now: Mapping[int, Spent], before: Mapping[int, Spent]) -> list[Spent]:
    """Return the times of each thread between two reads of `thread_times`."""
    starts = {thread: before.get(thread, Spent(0.0)) for thread in now}
    return [
        Spent(spent.cpu_s - starts[thread].cpu_s, spent.waited_s - starts[thread].waited_s)
        for thread, spent in now.items()
    ]


def busy_threads(used: Iterable[Spent], passed_s: float, requested: int, inference_s: float) -> int | None:
    """Return the number of threads that computed within `passed_s` seconds of turns; None if that is unknown.

    Threads that took turns count as one: a library may decode images in a thread that the main one waits for. Above
    the `requested` number, as many count as used or waited for a core concurrently, on average. It is unknown if the
    inferences took less than half of the turns, since the rest would hide those that computed concurrently in them.
    """
    used = list(used)
    busiest, total = max((spent.cpu_s for spent in used), default=0.0), sum(spent.cpu_s for spent in used)
    if total < _TICKS * TICK_S:
        return None
    busy = sum(spent.cpu_s >= BUSY * busiest for spent in used)
    if busy <= requested or passed_s <= 0:
        return busy
    if inference_s < passed_s / 2:
        return None
    concurrent = ceil(sum(spent.cpu_s + spent.waited_s for spent in used) / passed_s - BUSY)
    return max(requested, min(busy, concurrent))


def _waited_s(pid: int, thread: int) -> float:
    """Return the time in which a thread waited for a core: the second field of its ``schedstat``, in ns (Linux)."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    return 0.0
