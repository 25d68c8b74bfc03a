"""The module that starts processes, with real ones: no process is left behind, however a process or runoff ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from runoff.processes import Spawner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.clock

FAMILY = "sleep 1000 & echo $$ $!; wait"
PARENT = """
import sys
from pathlib import Path
from runoff.processes import Spawner
with Spawner(Path(sys.argv[1])) as spawner:
    spawner.run(("/bin/sh", "-c", sys.argv[2]), {"PATH": "/bin:/usr/bin"}, 1000)
"""
WAITING = """
import sys, time
from pathlib import Path
from runoff.processes import Spawner
with Spawner(Path(sys.argv[1])) as spawner:
    spawner.run(("/bin/true",), {}, 10)  # the guard is started with the first process
    before = time.process_time()
    spawner.run(("/bin/sleep", "1"), {}, 10)
    print(time.process_time() - before)
"""


@pytest.fixture
def spawner(tmp_path: Path) -> Iterator[Spawner]:
    with Spawner(tmp_path / "log") as made:
        yield made


def shell(script: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", script)


def run(spawner: Spawner, script: str, timeout_s: float = 30.0) -> tuple[int, str, str]:
    done = spawner.run(shell(script), {"PATH": "/bin:/usr/bin"}, timeout_s)
    return done.exit_code, done.stdout, done.stderr


def wait_for(path: Path) -> str:
    """Return the text of `path` as soon as it has a complete line."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if path.is_file() and path.read_text().endswith("\n"):
            return path.read_text()
        time.sleep(0.01)
    raise AssertionError(f"nothing was written to {path}")


def test_exit_codes_and_signals(spawner: Spawner) -> None:
    assert run(spawner, "exit 0")[0] == 0
    assert run(spawner, "exit 7")[0] == 7
    assert run(spawner, "kill -SEGV $$")[0] == -signal.SIGSEGV
    assert run(spawner, "kill -KILL $$")[0] == -signal.SIGKILL


def test_captured_output(spawner: Spawner) -> None:
    assert run(spawner, "echo out; echo err >&2") == (0, "out\n", "err\n")
    assert run(spawner, "true") == (0, "", "")


def test_only_the_head_of_stdout_and_the_tail_of_stderr_are_kept(spawner: Spawner) -> None:
    many = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done"
    _, out, err = run(spawner, f"({many}) ; ({many}) >&2")
    assert out.startswith("line 0\n")
    assert len(out) == 65536
    assert err.endswith("line 19999\n")
    assert len(err) == 4096


def test_output_that_is_not_text(spawner: Spawner) -> None:
    assert run(spawner, r"printf '\377\n' >&2")[2] == "\ufffd\n"


def test_the_environment_is_the_one_given_and_stdin_is_empty(spawner: Spawner) -> None:
    done = spawner.run(("/usr/bin/env",), {"ONLY": "this"}, 10)
    assert done.stdout == "ONLY=this\n"
    assert run(spawner, "cat; echo end")[1] == "end\n"


def test_times_enclose_the_process(spawner: Spawner) -> None:
    stamped: list[int] = []
    before = time.monotonic_ns()
    done = spawner.run(shell("sleep 0.2"), {"PATH": "/bin:/usr/bin"}, 10, stamped.append)
    assert stamped == [done.spawn_ns]
    assert before <= done.spawn_ns <= done.exit_ns - 200_000_000
    assert done.exit_ns <= time.monotonic_ns()
    assert spawner.measured_ns == done.elapsed_ns


def test_a_program_that_cannot_be_started(spawner: Spawner, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        spawner.run((str(tmp_path / "none"),), {}, 10)
    (tmp_path / "plain").write_text("no program")
    with pytest.raises(OSError, match="Permission denied"):
        spawner.run((str(tmp_path / "plain"),), {}, 10)


def test_a_timeout_kills_grandchildren_too(spawner: Spawner, is_gone: Callable[[int], bool]) -> None:
    done = spawner.run(shell(FAMILY), {"PATH": "/bin:/usr/bin"}, 0.5)
    assert done.timed_out
    assert done.exit_code == -signal.SIGKILL
    assert 0.5e9 <= done.elapsed_ns < 5e9
    assert all(is_gone(int(pid)) for pid in done.stdout.split())
    assert run(spawner, "exit 4")[0] == 4


def test_leftover_processes_are_killed_at_the_end(tmp_path: Path, is_gone: Callable[[int], bool]) -> None:
    with Spawner(tmp_path / "log") as spawner:
        _, out, _ = run(spawner, "sleep 1000 >/dev/null 2>&1 & echo $!")
    assert is_gone(int(out))


def test_an_interrupt_kills_and_reaps(spawner: Spawner, tmp_path: Path, is_gone: Callable[[int], bool]) -> None:
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGINT)).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(spawner, FAMILY)
    assert time.monotonic() - began < 5
    pids = [int(pid) for pid in (tmp_path / "log" / "stdout").read_text().split()]
    assert len(pids) == 2
    assert all(is_gone(pid) for pid in pids)
    with pytest.raises(ChildProcessError):
        os.waitpid(pids[0], os.WNOHANG)


def test_runoff_does_nothing_while_a_process_runs(tmp_path: Path) -> None:
    # in a separate process: threads and garbage of earlier tests are not runoff's
    own = subprocess.run([sys.executable, "-c", WAITING, str(tmp_path)], stdout=subprocess.PIPE, check=True)
    assert float(own.stdout) < 0.010


def test_the_alarm_of_others_is_put_back(spawner: Spawner) -> None:
    before = signal.getsignal(signal.SIGALRM)
    run(spawner, "true")
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_nothing_outlives_a_killed_runoff(tmp_path: Path, is_gone: Callable[[int], bool]) -> None:
    log = tmp_path / "log"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(log), FAMILY])
    pids = [int(pid) for pid in wait_for(log / "stdout").split()]
    assert len(pids) == 2
    for pid in pids:
        os.kill(pid, 0)
    parent.kill()
    parent.wait()
    assert all(is_gone(pid) for pid in pids)
