"""The module that starts processes, with real ones: no process is left behind, however a process or runoff ends."""

from __future__ import annotations

import os
import shutil
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

FAMILY = 'sleep 1000 & echo $$ $! >"$PIDS"; wait'
"""It writes the process ids of a parent and its child into a file."""
DAEMON = 'setsid sh -c \'echo $$ >"$PIDS"; exec sleep 1000\' & while [ ! -s "$PIDS" ]; do sleep 0.01; done'
"""It leaves a process behind that has a session, so a group, of its own."""
DEFECTOR = "import os, time; os.setpgid(0, os.getpgid(os.getppid())); time.sleep(1000)"
needs_subreaper = pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands orphans to runoff")
PARENT = """
import sys
from pathlib import Path
from runoff.processes import Spawner
with Spawner(Path(sys.argv[1])) as spawner:
    spawner.run(("/bin/sh", "-c", sys.argv[2]), {"PATH": "/bin:/usr/bin", "PIDS": sys.argv[3]}, 1000)
"""
WAITING = """
import sys, time
from pathlib import Path
from runoff.processes import Spawner
with Spawner(Path(sys.argv[1])) as spawner:
    spawner.run(("/bin/true",), {}, 10)
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


@pytest.fixture
def pids(tmp_path: Path) -> Path:
    return tmp_path / "pids"


def run(spawner: Spawner, script: str, timeout_s: float = 30.0, **variables: object) -> tuple[int, str, str]:
    env = {name: str(value) for name, value in variables.items()}
    done = spawner.run(shell(script), {"PATH": "/bin:/usr/bin", **env}, timeout_s)
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


def test_a_timeout_kills_grandchildren_too(spawner: Spawner, pids: Path, is_gone: Callable[[int], bool]) -> None:
    done = spawner.run(shell(FAMILY), {"PATH": "/bin:/usr/bin", "PIDS": str(pids)}, 0.5)
    assert done.timed_out
    assert done.exit_code == -signal.SIGKILL
    assert 0.5e9 <= done.elapsed_ns < 5e9
    assert all(is_gone(int(pid)) for pid in pids.read_text().split())
    assert run(spawner, "exit 4")[0] == 4


@pytest.mark.parametrize(
    "argv",
    [(sys.executable, "-c", DEFECTOR), (shutil.which("timeout") or "", "1000", "/bin/sleep", "1000")],
    ids=["joins the group of runoff", "timeout"],
)
def test_a_timeout_reaches_a_program_that_changes_its_group(argv: tuple[str, ...], spawner: Spawner) -> None:
    if not argv[0]:
        pytest.skip("timeout (coreutils) is not installed")
    done = spawner.run(argv, {}, 0.5)
    assert (done.timed_out, done.exit_code) == (True, -signal.SIGKILL)
    assert done.elapsed_ns < 5e9


def test_what_a_process_leaves_behind_is_killed_with_it(spawner: Spawner, is_gone: Callable[[int], bool]) -> None:
    _, out, _ = run(spawner, "sleep 1000 & echo $!")
    assert is_gone(int(out))


@needs_subreaper
def test_what_left_its_group_is_killed_before_the_next_process(
    spawner: Spawner, pids: Path, is_gone: Callable[[int], bool]
) -> None:
    assert run(spawner, DAEMON, PIDS=pids)[0] == 0
    assert run(spawner, 'kill -0 "$(cat "$PIDS")" 2>/dev/null || echo gone', PIDS=pids)[1] == "gone\n"
    pids.unlink()
    with Spawner(pids.with_name("other-log")) as other:
        assert run(other, DAEMON, PIDS=pids)[0] == 0
    assert is_gone(int(pids.read_text()))


def test_children_of_others_live_on(tmp_path: Path) -> None:
    with subprocess.Popen(["/bin/sleep", "1000"], start_new_session=True) as before:
        with Spawner(tmp_path / "log") as spawner, subprocess.Popen(["/bin/sleep", "1000"]) as beside:
            assert run(spawner, "exit 0")[0] == run(spawner, "exit 0")[0] == 0
            assert beside.poll() is None
            beside.kill()
        assert before.poll() is None
        before.kill()


def test_output_of_another_process_is_not_mixed_in(spawner: Spawner) -> None:
    run(spawner, "setsid sh -c 'while :; do echo noise; echo noise >&2; done' & sleep 0.2")
    assert run(spawner, "sleep 0.2; echo mine") == (0, "mine\n", "")


def test_a_process_cannot_replace_its_log(spawner: Spawner, tmp_path: Path) -> None:
    script = (
        'for file in "$LOG"/* "$LOG/stdout" "$LOG/stderr"; do rm -f "$file"; mkfifo "$file"; done; echo why >&2; exit 3'
    )
    assert run(spawner, script, LOG=tmp_path / "log") == (3, "", "why\n")


def test_an_interrupt_kills_and_reaps(spawner: Spawner, pids: Path, is_gone: Callable[[int], bool]) -> None:
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGINT)).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(spawner, FAMILY, PIDS=pids)
    assert time.monotonic() - began < 5
    started = [int(pid) for pid in pids.read_text().split()]
    assert len(started) == 2
    assert all(is_gone(pid) for pid in started)
    with pytest.raises(ChildProcessError):
        os.waitpid(started[0], os.WNOHANG)


def test_runoff_does_nothing_while_a_process_runs(tmp_path: Path) -> None:
    # in a separate process: threads and garbage of earlier tests are not runoff's
    own = subprocess.run([sys.executable, "-c", WAITING, str(tmp_path)], stdout=subprocess.PIPE, check=True)
    assert float(own.stdout) < 0.010


def test_the_alarm_of_others_is_put_back(spawner: Spawner) -> None:
    before = signal.getsignal(signal.SIGALRM)
    run(spawner, "true")
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_nothing_outlives_a_killed_runoff(tmp_path: Path, pids: Path, is_gone: Callable[[int], bool]) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path / "log"), FAMILY, str(pids)])
    started = [int(pid) for pid in wait_for(pids).split()]
    assert len(started) == 2
    for pid in started:
        os.kill(pid, 0)
    parent.kill()
    parent.wait()
    assert all(is_gone(pid) for pid in started)
