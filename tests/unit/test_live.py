"""Live processes that communicate in lines, with real processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runoff.processes import LINE_BYTES, Spawner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runoff.processes import Live

pytestmark = pytest.mark.clock

ENV = {"PATH": "/bin:/usr/bin"}
ECHO = 'echo $$; while read line; do echo "got $line"; done; echo end; exit 5'


@pytest.fixture
def spawner(tmp_path: Path) -> Iterator[Spawner]:
    with Spawner(tmp_path / "log") as made:
        yield made


def start(spawner: Spawner, script: str) -> Live:
    return spawner.start(("/bin/sh", "-c", script), ENV)


def test_several_processes_respond_in_turn_and_end_with_their_input(spawner: Spawner) -> None:
    one, two = start(spawner, ECHO), start(spawner, ECHO)
    assert one.ask("", 5) != two.ask("", 5)
    assert [one.ask("1\n", 5), two.ask("2\n", 5), one.ask("3\n", 5)] == ["got 1\n", "got 2\n", "got 3\n"]
    for process in (one, two):
        ended = process.close(5)
        assert (ended.exit_code, ended.stdout, ended.timed_out) == (5, "end\n", False)
        assert ended.exit_ns > ended.spawn_ns


def test_other_processes_run_concurrently(spawner: Spawner) -> None:
    live = start(spawner, ECHO)
    assert spawner.run(("/bin/sh", "-c", "exit 3"), ENV, 5).exit_code == 3
    assert live.ask("", 5).strip().isdigit()


def test_a_finished_process_does_not_respond(spawner: Spawner) -> None:
    live = start(spawner, "echo why >&2; exit 7")
    assert live.ask("", 5) == ""
    assert live.ask("1\n", 5) == ""
    ended = live.close(5)
    assert (ended.exit_code, ended.stderr) == (7, "why\n")
    assert live.close(5).exit_code == 7


def test_an_unresponsive_process_is_killed_alone(spawner: Spawner, is_gone: Callable[[int], bool]) -> None:
    other = start(spawner, ECHO)
    other.ask("", 5)
    slow = start(spawner, "sleep 1000 & echo $!; wait")
    child = int(slow.ask("", 5))
    assert slow.ask("1\n", 0.2) == ""
    ended = slow.close(5)
    assert (ended.exit_code, ended.timed_out) == (-signal.SIGKILL, True)
    assert is_gone(child)
    assert other.ask("1\n", 5) == "got 1\n"


def test_a_process_that_kills_its_group_kills_no_other(spawner: Spawner) -> None:
    other = start(spawner, ECHO)
    other.ask("", 5)
    assert spawner.run(("/bin/sh", "-c", "kill -KILL 0"), ENV, 5).exit_code == -signal.SIGKILL
    assert start(spawner, "kill -KILL 0").ask("", 5) == ""
    assert other.ask("1\n", 5) == "got 1\n"


def test_of_a_line_without_end_only_the_beginning_is_read(spawner: Spawner) -> None:
    live = start(spawner, f"head -c {3 * LINE_BYTES} /dev/zero | tr '\\0' x; echo; read line; echo late")
    assert live.ask("", 30) == "x" * LINE_BYTES
    ended = live.close(30)
    assert (ended.exit_code, ended.stdout) == (0, "x" * 65536)


def test_half_a_line_is_no_response(spawner: Spawner) -> None:
    assert start(spawner, "printf half").ask("", 5) == ""


def test_a_process_that_does_not_end_is_killed(spawner: Spawner) -> None:
    ended = start(spawner, "sleep 1000").close(0.2)
    assert (ended.exit_code, ended.timed_out) == (-signal.SIGKILL, True)


def test_a_process_whose_status_was_lost_ends_all_the_same(spawner: Spawner) -> None:
    live = start(spawner, ECHO)
    pid = int(live.ask("", 5))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)  # as if the alarm had come right after it in `reap`
    ended = live.close(5)
    assert (ended.exit_code, ended.cpu_ns) == (-signal.SIGKILL, 0)
    assert start(spawner, ECHO).ask("", 5).strip().isdigit()


def test_none_outlives_the_spawner(tmp_path: Path, is_gone: Callable[[int], bool]) -> None:
    with Spawner(tmp_path / "log") as spawner:
        pid = int(start(spawner, ECHO).ask("", 5))
        os.kill(pid, 0)
    assert is_gone(pid)


def test_no_pipe_stays_open(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    with Spawner(tmp_path / "log") as spawner:
        start(spawner, ECHO)
        start(spawner, ECHO).close(5)
        with pytest.raises(OSError, match="No such file"):
            spawner.start((str(tmp_path / "none"),), {})
    assert descriptors() == before
