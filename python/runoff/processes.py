"""The one module that starts processes.

Every process joins the process group of a *guard*, a tiny process that waits for the end of a pipe; only runoff has
the other end. When runoff dies, for whatever reason, the pipe closes and the guard kills the group. If a process takes
too long, or the user presses Ctrl-C, runoff kills the group itself. No process is left behind.

While a process runs, runoff sleeps in ``wait4``: no polling, no thread. A process that stays alive (`Live`) computes
only while it has a command, and runoff sleeps in the read of its response.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from msgspec import Struct

from runoff.records.untrusted import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from resource import struct_rusage
    from types import FrameType

_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)
"""Python ignores them, and a program would inherit that: it then outlives the reader of its output."""
_GUARD = "import os, signal, sys; sys.stdin.buffer.read(); os.killpg(0, signal.SIGKILL)"
_HEAD_BYTES = 65536
_TAIL_BYTES = 4096
_QUOTED = 300


class Finished(Struct, frozen=True, kw_only=True):
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


class Live:
    """A process that stays alive and responds in lines; `Spawner.start` makes it."""

    def __init__(self, pid: int, spawn_ns: int, pipes: tuple[int, int], log: Path, kill: Callable[[], None]) -> None:
        self.pid = pid
        self._spawn_ns = spawn_ns
        self._stdin = os.fdopen(pipes[0], "wb", buffering=0)
        self._stdout = os.fdopen(pipes[1], "rb")
        self._log = log
        self._kill = kill
        self._exit_code: int | None = None
        self._used: struct_rusage | None = None
        self._timed_out = False

    @property
    def ended(self) -> bool:
        """Whether it was waited for."""
        return self._exit_code is not None

    def ask(self, text: str, timeout_s: float) -> str:
        """Write `text` and return the next line of its standard output; empty if the process is gone.

        After `timeout_s` seconds all processes of the spawner are killed, this one included.
        """
        if self._exit_code is not None:
            return ""
        try:
            with _deadline(timeout_s):
                self._stdin.write(text.encode())
                return self._stdout.readline().decode(errors="replace")
        except BrokenPipeError:
            return ""
        except _DeadlineError:
            self._timed_out = True
            self._kill()
            return ""

    def close(self, timeout_s: float) -> Finished:
        """Close its standard input, wait for its end and return how it ended.

        `Finished.stdout` is the output that was not read yet.
        """
        rest = b""
        try:
            if self._exit_code is None:
                with _deadline(timeout_s):
                    self._stdin.close()
                    rest = self._stdout.read()
                    self.reap()
        except _DeadlineError:
            self._timed_out = True
            self._kill()
        return Finished(
            exit_code=self.reap(),
            spawn_ns=self._spawn_ns,
            exit_ns=time.monotonic_ns(),
            timed_out=self._timed_out,
            stdout=rest[:_HEAD_BYTES].decode(errors="replace"),
            stderr=_tail(self._log),
            **_used(self._used),
        )

    def reap(self) -> int:
        """Wait for its end, once, and return its exit code."""
        if self._exit_code is None:
            _, status, self._used = os.wait4(self.pid, 0)
            self._exit_code = os.waitstatus_to_exitcode(status)
            self._stdin.close()
            self._stdout.close()
        return self._exit_code


class Spawner:
    """Starts processes and waits for them. Use it as a context manager, in the main thread."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._live: list[Live] = []
        self._guard: int | None = None
        self._leash: int | None = None
        self.measured_ns = 0
        """Wall time of the processes that were started."""

    def __enter__(self) -> Self:
        self._scratch.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._kill_group()

    def run(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        timeout_s: float,
        stamp: Callable[[int], None] | None = None,
    ) -> Finished:
        """Start `argv` (absolute program and arguments) with the environment `env`; return how it ended.

        After `timeout_s` seconds, the process and its children are killed. `stamp` is called with the spawn time right
        before the spawn, to write it into the request. Raises `OSError` if the program cannot be started.
        """
        out, err = self._scratch / "stdout", self._scratch / "stderr"
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(out), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_OPEN, 2, str(err), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        ]
        guard, spawn_ns = self._prepare(stamp)
        pid = _spawn(argv, env, actions, guard)
        status, used, timed_out = self._wait(pid, timeout_s)
        exit_ns = time.monotonic_ns()
        self.measured_ns += exit_ns - spawn_ns
        return Finished(
            exit_code=os.waitstatus_to_exitcode(status),
            spawn_ns=spawn_ns,
            exit_ns=exit_ns,
            timed_out=timed_out,
            stdout=_head(out),
            stderr=_tail(err),
            pid=pid,
            **_used(used),
        )

    def start(self, argv: Sequence[str], env: Mapping[str, str], stamp: Callable[[int], None] | None = None) -> Live:
        """Start `argv` with pipes on its standard input and output, and leave it running; several may run at a time.

        It is killed with the rest of the group: when the spawner ends, or if another process takes too long.
        `stamp` is called with the spawn time, as in `run`. Raises `OSError` if the program cannot be started.
        """
        guard, spawn_ns = self._prepare(stamp)
        log = self._scratch / f"stderr-{spawn_ns}"
        (stdin, to_process), (from_process, stdout) = os.pipe(), os.pipe()
        actions = [
            (os.POSIX_SPAWN_DUP2, stdin, 0),
            (os.POSIX_SPAWN_DUP2, stdout, 1),
            (os.POSIX_SPAWN_OPEN, 2, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        ]
        try:
            pid = _spawn(argv, env, actions, guard)
        except OSError:
            os.close(to_process)
            os.close(from_process)
            raise
        finally:
            os.close(stdin)
            os.close(stdout)
        self._live = [process for process in self._live if not process.ended]
        self._live.append(Live(pid, spawn_ns, (to_process, from_process), log, self._kill_group))
        return self._live[-1]

    def _prepare(self, stamp: Callable[[int], None] | None) -> tuple[int, int]:
        """Return the guard's process id and the spawn time, which `stamp` is called with."""
        guard = self._guard or self._start_guard()
        spawn_ns = time.monotonic_ns()
        if stamp:
            stamp(spawn_ns)
        return guard, spawn_ns

    def _wait(self, pid: int, timeout_s: float) -> tuple[int, struct_rusage, bool]:
        timed_out = False
        try:
            with _deadline(timeout_s):
                _, status, used = os.wait4(pid, 0)
        except BaseException as error:
            self._kill_group()
            _, status, used = os.wait4(pid, 0)
            timed_out = isinstance(error, _DeadlineError)
            if not timed_out:
                raise
        return status, used, timed_out

    def _start_guard(self) -> int:
        read, self._leash = os.pipe()  # not inheritable: the guard gets its end by dup2, children get neither
        actions = [(os.POSIX_SPAWN_DUP2, read, 0)]
        self._guard = os.posix_spawn(
            sys.executable, [sys.executable, "-I", "-S", "-c", _GUARD], {}, file_actions=actions, setpgroup=0
        )
        os.close(read)
        return self._guard

    def _kill_group(self) -> None:
        if self._guard is None or self._leash is None:
            return
        guard, self._guard = self._guard, None
        with suppress(ProcessLookupError):
            os.killpg(guard, signal.SIGKILL)
        os.close(self._leash)
        os.waitpid(guard, 0)
        live, self._live = self._live, []
        for process in live:
            process.reap()


def _spawn(argv: Sequence[str], env: Mapping[str, str], actions: Sequence[Any], group: int) -> int:
    return os.posix_spawn(
        argv[0], list(argv), dict(env), file_actions=actions, setpgroup=group, setsigdef=_DEFAULT_SIGNALS
    )


def _used(used: struct_rusage | None) -> dict[str, int]:
    """Return the fields of `Finished` that the kernel accounts for."""
    if used is None:
        return {}
    return {"cpu_ns": round((used.ru_utime + used.ru_stime) * 1e9), "switches": used.ru_nivcsw}


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


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES).decode(errors="replace")


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return file.read().decode(errors="replace")


@contextmanager
def workspace() -> Iterator[tuple[Spawner, Path]]:
    """Give a spawner and a scratch folder; both are removed at the end, with all processes."""
    with tempfile.TemporaryDirectory(prefix="runoff-") as folder, Spawner(Path(folder) / "log") as spawner:
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
