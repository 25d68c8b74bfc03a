"""The one module that starts processes.

Every process has a process group of its own, which is killed as soon as the process has ended, takes too long, or the
user presses Ctrl-C. A *guard*, a tiny process, knows the groups and waits for the end of a pipe; only runoff has the
other end. When runoff dies, for whatever reason, the pipe closes and the guard kills the groups. On Linux, a process
that left its group becomes a child of runoff when its parent ends; runoff kills it before it starts the next process.

While a process runs, runoff sleeps in ``wait4``: no polling, no thread. A process that stays alive (`Live`) computes
only while it has a command, and runoff sleeps in the read of its response.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from resource import struct_rusage
from typing import TYPE_CHECKING, Self

import msgspec

from runoff.records.untrusted import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType
    from typing import IO

    Stamp = Callable[[int], None] | None
    """Called with the spawn time, in ns of the monotonic clock, right before the spawn."""

_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)
"""Python ignores them, and a program would inherit that: it then outlives the reader of its output."""
_GUARD = """
import os, signal, sys
if os.fork():
    os._exit(0)
groups = set()
for line in sys.stdin:
    groups ^= {int(line)}
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""
"""Its parent exits: the guard is no child of runoff. Each line begins or ends the life of a group."""
_PR_SET_CHILD_SUBREAPER = 36
_NOTHING_USED = struct_rusage((0,) * 16)
_SWEEPS = 100
"""Rounds in which strays are killed: a process that starts others faster than that goes on."""
_HEAD_BYTES = 65536
_TAIL_BYTES = 4096
LINE_BYTES = 2**20
"""A longer line is not read to its end."""
_QUOTED = 300


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """A process that has ended. Times are nanoseconds; stamps are on the monotonic clock."""

    exit_code: int
    """Negative: the number of the signal that ended it."""
    spawn_ns: int
    exit_ns: int
    timed_out: bool
    stdout: str
    """The first 64 KiB of its standard output."""
    stderr: str
    """The last 4 KiB of its standard error."""
    cpu_ns: int = 0
    """User and system time of the process and of all children that it waited for."""
    switches: int = 0
    """Involuntary context switches of the same."""
    pid: int = 0
    """Its process id."""

    @property
    def elapsed_ns(self) -> int:
        """From just before the spawn to just after the reaping."""
        return self.exit_ns - self.spawn_ns


class _Guard:
    """Kills process groups when runoff is gone."""

    def __init__(self) -> None:
        read, self._leash = os.pipe()  # not inheritable: the guard gets its end by dup2, others get neither
        argv = [sys.executable, "-I", "-S", "-c", _GUARD]
        actions = [(os.POSIX_SPAWN_DUP2, read, 0)]
        os.waitpid(os.posix_spawn(argv[0], argv, {}, file_actions=actions, setpgroup=0), 0)
        os.close(read)

    def toggle(self, group: int) -> None:
        """Begin to guard `group`, or end it."""
        with suppress(BrokenPipeError):  # somebody killed the guard
            os.write(self._leash, b"%d\n" % group)

    def close(self) -> None:
        """End the guard."""
        os.close(self._leash)


class _Process:
    """A process in a process group of its own, from its spawn to its end.

    `files` are closed at its end, or if it cannot be started.
    """

    def __init__(
        self,
        spawner: Spawner,
        argv: Sequence[str],
        env: Mapping[str, str],
        stamp: Stamp,
        standard: tuple[int, int],
        files: Sequence[IO[bytes]] = (),
    ) -> None:
        self.finished: Finished | None = None
        """Set when it has ended; without its standard output."""
        self._reaped: tuple[int, int, struct_rusage] | None = None
        self._timed_out = False
        self._guard = spawner.guard
        self._log = tempfile.TemporaryFile(dir=spawner.scratch)  # noqa: SIM115 (closed by `end`)
        self._files = (self._log, *files)
        self._spawn_ns = time.monotonic_ns()
        if stamp:
            stamp(self._spawn_ns)
        numbered = enumerate((*standard, self._log.fileno()))
        actions = [(os.POSIX_SPAWN_DUP2, descriptor, number) for number, descriptor in numbered]
        try:
            self.pid = os.posix_spawn(
                argv[0], list(argv), dict(env), file_actions=actions, setpgroup=0, setsigdef=_DEFAULT_SIGNALS
            )
        except OSError:
            self._close_files()
            raise
        self._guard.toggle(self.pid)
        spawner.processes.append(self)

    def reap(self) -> tuple[int, int, struct_rusage]:
        """Wait for its end; return its status, the time in ns, and what it used."""
        if self._reaped is None:
            try:
                _, status, used = os.wait4(self.pid, 0)
            except ChildProcessError:  # the alarm came after the system had handed over the status
                status, used = signal.SIGKILL, _NOTHING_USED
            self._reaped = status, time.monotonic_ns(), used
        return self._reaped

    @contextmanager
    def limited(self, timeout_s: float) -> Iterator[None]:
        """Interrupt the block after `timeout_s` seconds; end the process however the block ends."""
        try:
            with _deadline(timeout_s):
                yield
        except _DeadlineError:
            self._timed_out = True
        finally:
            self.end()

    def end(self) -> Finished:
        """Kill what is left of the process and its group, and return how it ended; once."""
        if self.finished:
            return self.finished
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        if self._reaped is None:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, signal.SIGKILL)  # it may have joined another group
        status, exit_ns, used = self.reap()
        self._guard.toggle(self.pid)
        self.finished = Finished(
            exit_code=os.waitstatus_to_exitcode(status),
            spawn_ns=self._spawn_ns,
            exit_ns=exit_ns,
            timed_out=self._timed_out,
            stdout="",
            stderr=_text(self._log, _TAIL_BYTES, max(0, os.fstat(self._log.fileno()).st_size - _TAIL_BYTES)),
            cpu_ns=round((used.ru_utime + used.ru_stime) * 1e9),
            switches=used.ru_nivcsw,
            pid=self.pid,
        )
        self._close_files()
        return self.finished

    def _close_files(self) -> None:
        for file in self._files:
            file.close()


class OneShot(_Process):
    """A process that reads nothing and whose output goes to a file; `Spawner.begin` makes it."""

    def __init__(self, spawner: Spawner, argv: Sequence[str], env: Mapping[str, str], stamp: Stamp) -> None:
        self._stdout = tempfile.TemporaryFile(dir=spawner.scratch)  # noqa: SIM115 (closed by `wait`)
        try:
            with Path(os.devnull).open("rb") as empty:
                super().__init__(spawner, argv, env, stamp, (empty.fileno(), self._stdout.fileno()))
        except OSError:
            self._stdout.close()
            raise

    def wait(self, timeout_s: float) -> Finished:
        """Return how it ended; after `timeout_s` seconds, it and its children are killed."""
        with self._stdout:
            with self.limited(timeout_s):
                self.reap()
            return msgspec.structs.replace(self.end(), stdout=_text(self._stdout, _HEAD_BYTES))


class Live(_Process):
    """A process that stays alive and responds in lines; `Spawner.start` makes it."""

    def __init__(self, spawner: Spawner, argv: Sequence[str], env: Mapping[str, str], stamp: Stamp) -> None:
        (stdin, to_process), (from_process, stdout) = os.pipe(), os.pipe()
        self._stdin, self._stdout = os.fdopen(to_process, "wb", buffering=0), os.fdopen(from_process, "rb")
        try:
            super().__init__(spawner, argv, env, stamp, (stdin, stdout), (self._stdin, self._stdout))
        finally:
            os.close(stdin)
            os.close(stdout)

    @property
    def descriptors(self) -> tuple[int, int]:
        """The pipes to its standard input and from its standard output, for a process that inherits them."""
        return self._stdin.fileno(), self._stdout.fileno()

    def ask(self, text: str, timeout_s: float) -> str:
        """Write `text` and return the next line of its standard output; empty if the process is gone.

        A line that is longer than `LINE_BYTES` is cut off there. After `timeout_s` seconds the process is killed.
        """
        if self.finished:
            return ""
        try:
            with _deadline(timeout_s):
                self._stdin.write(text.encode())
                line = self._stdout.readline(LINE_BYTES)
        except BrokenPipeError:
            return ""
        except _DeadlineError:
            self._timed_out = True
            self.end()
            return ""
        is_whole = line.endswith(b"\n") or len(line) == LINE_BYTES
        return line.decode(errors="replace") if is_whole else ""

    def close(self, timeout_s: float) -> Finished:
        """Close its standard input, wait for its end and return how it ended.

        `Finished.stdout` is the first 64 KiB of the output that was not read yet.
        """
        rest = b""
        if not self.finished:
            with self.limited(timeout_s):
                self._stdin.close()
                rest = self._stdout.read(_HEAD_BYTES)
                while self._stdout.read(_HEAD_BYTES):
                    pass
                self.reap()
        return msgspec.structs.replace(self.end(), stdout=rest.decode(errors="replace"))


class Spawner:
    """Starts processes and waits for them. Use it as a context manager, in the main thread."""

    guard: _Guard

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        """Folder for the output of processes."""
        self.processes: list[_Process] = []
        """Those that may still run."""
        self._others: set[int] = set()
        """Children of this process that are not the spawner's."""
        self.measured_ns = 0
        """Wall time of the processes that were started."""

    def __enter__(self) -> Self:
        self.scratch.mkdir(parents=True, exist_ok=True)
        self.guard = _Guard()
        self._others = set(_children())
        _adopt_orphans(adopt=True)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.end()
        self._kill_strays()
        _adopt_orphans(adopt=False)
        self.guard.close()

    def run(self, argv: Sequence[str], env: Mapping[str, str], timeout_s: float, stamp: Stamp = None) -> Finished:
        """Start `argv` (absolute program and arguments) with the environment `env`; return how it ended.

        After `timeout_s` seconds, the process and its children are killed. `stamp` is called with the spawn time right
        before the spawn, to write it into the request. Raises `OSError` if the program cannot be started.
        """
        finished = self.begin(argv, env, stamp).wait(timeout_s)
        self.measured_ns += finished.elapsed_ns
        return finished

    def begin(self, argv: Sequence[str], env: Mapping[str, str], stamp: Stamp = None) -> OneShot:
        """Start `argv` as `run` does, and return at once; several may run at a time."""
        self._make_room()
        return OneShot(self, argv, env, stamp)

    def start(
        self, argv: Sequence[str], env: Mapping[str, str], stamp: Stamp = None, inherited: Sequence[int] = ()
    ) -> Live:
        """Start `argv` with pipes on its standard input and output, and leave it running; several may run at a time.

        It is killed when the spawner ends. `stamp` is called with the spawn time, as in `run`. It has the descriptors
        `inherited` too, by the same numbers. Raises `OSError` if the program cannot be started.
        """
        self._make_room()
        for descriptor in inherited:
            os.set_inheritable(descriptor, True)  # noqa: FBT003 (positional only)
        try:
            return Live(self, argv, env, stamp)
        finally:
            for descriptor in inherited:
                os.set_inheritable(descriptor, False)  # noqa: FBT003 (as above)

    def _make_room(self) -> None:
        """Forget processes that have ended; if that is all, kill what they left behind."""
        self.processes = [process for process in self.processes if not process.finished]
        if not self.processes:
            self._kill_strays()

    def _kill_strays(self) -> None:
        """Kill processes that left their group and outlived their parent: they are children of this process now."""
        for _ in range(_SWEEPS):
            strays = [pid for pid in _children() if pid not in self._others and os.getpgid(pid) != os.getpgrp()]
            for pid in strays:
                try:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                except PermissionError:  # a program that became another user's
                    self._others.add(pid)
            if not strays:
                break


def _adopt_orphans(*, adopt: bool) -> None:
    """Let processes that lose their parent become children of this one, or end that; only Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(adopt))


def _children() -> list[int]:
    """Return the ids of this process's children; none where they cannot become strays."""
    if sys.platform != "linux":
        return []
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return []  # the usual case, and quick
    import psutil

    return [child.pid for child in psutil.Process().children()]


def _text(file: IO[bytes], most: int, offset: int = 0) -> str:
    """Return text of a regular file; its position, which a process may share, stays."""
    return os.pread(file.fileno(), most, offset).decode(errors="replace")


class _DeadlineError(BaseException):
    """Raised by the alarm; not an `Exception`, so no handler in between swallows it."""


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise _DeadlineError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def workspace() -> Iterator[tuple[Spawner, Path]]:
    """Give a spawner and a scratch folder; both are removed at the end, with all processes."""
    # a process that cannot be killed may still write there
    kept = tempfile.TemporaryDirectory(prefix="runoff-", ignore_cleanup_errors=True)
    with kept as folder, Spawner(Path(folder) / "log") as spawner:
        yield spawner, Path(folder)


def describe_exit(finished: Finished) -> str:
    """Return a description of a process's end, with the last line of its standard error."""
    lines = [line for line in finished.stderr.splitlines() if line.strip()]
    last = f": {clean(lines[-1].strip()[:_QUOTED])}" if lines else ""
    if finished.exit_code < 0:
        return f"was ended by {_signal_name(-finished.exit_code)}{last}"
    return f"exited with code {finished.exit_code}{last}"


def _signal_name(number: int) -> str:
    names = {known.value: known.name for known in signal.Signals}
    return names.get(number, f"signal {number}")  # most real-time signals have no name
