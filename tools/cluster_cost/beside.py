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


def send(number: signal.Signals, pids: list[int]) -> None:
    """Send a signal to processes."""
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, number)


def when_closed(pipe: tuple[int, int], pids: list[int]) -> int:
    """Start a process that lets others continue when this one closes the pipe, or is killed; return its id."""
    watcher = os.fork()
    if watcher == 0:
        os.close(pipe[1])
        os.read(pipe[0], 1)
        send(signal.SIGCONT, pids)
        os._exit(0)
    os.setpgid(watcher, watcher)  # the group of this process may be killed
    os.close(pipe[0])
    return watcher


def main() -> None:
    """Stop or continue Ray, run the runner in a child, and let Ray continue."""
    rays, pipe = rays_processes(), os.pipe()
    watcher = when_closed(pipe, rays)
    send(signal.SIGSTOP if sys.argv[1] == "stop" else signal.SIGCONT, rays)
    child = os.fork()
    if child == 0:
        os.close(pipe[1])
        sys.argv = ["runner.py", *sys.argv[2:]]
        runpy.run_module("runoff_runners.runner", run_name="__main__")
        return
    _, status = os.waitpid(child, 0)
    os.close(pipe[1])
    os.waitpid(watcher, 0)
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
