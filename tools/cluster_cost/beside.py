"""A runner beside Ray: ``beside.py stop|continue TARGET ...`` is ``runner.py TARGET ...`` with Ray's processes so.

Ray's processes are found from this one: ``runoff bench`` was started by Ray's worker, that by the raylet, and that by
the program that started the cluster. Without Ray among its ancestors, nothing is stopped.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from contextlib import suppress
from pathlib import Path

_WORKER = b"ray::"


def parents() -> dict[int, int]:
    """Return the parent of each process."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    return found


def rays_processes() -> list[int]:
    """Return Ray's processes on this machine, without what it has started for runoff."""
    above = parents()
    own, pid = [], os.getpid()
    while pid in above and not _is_worker(pid):
        own.append(pid)
        pid = above[pid]
    if pid not in above:
        return []
    raylet = above[pid]
    children: dict[int, list[int]] = {}
    for child, parent in above.items():
        children.setdefault(parent, []).append(child)
    # as a daemon it has no other program above it
    waiting: list[int] = [raylet] if above[raylet] <= 1 else list(children[above[raylet]])
    found: list[int] = []
    while waiting:
        one = waiting.pop()
        if one not in own:
            found.append(one)
            waiting += children.get(one, [])
    return found


def _is_worker(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(_WORKER)
    return False


def send(number: signal.Signals) -> None:
    """Send a signal to all of Ray's processes."""
    for pid in rays_processes():
        with suppress(OSError):
            os.kill(pid, number)


def main() -> None:
    """Stop or continue Ray, run the runner in a child, and let Ray continue."""
    send(signal.SIGSTOP if sys.argv[1] == "stop" else signal.SIGCONT)
    child = os.fork()
    if child == 0:
        sys.argv = ["runner.py", *sys.argv[2:]]
        runpy.run_module("runoff_runners.runner", run_name="__main__")
        return
    _, status = os.waitpid(child, 0)
    send(signal.SIGCONT)
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
