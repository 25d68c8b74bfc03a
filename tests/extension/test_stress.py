"""Concurrent threads: no leak, no deadlock, correct outputs; and the behaviour of a process around a call."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from programs import slow_call
from stress import CALLS

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
TIMEOUT_S = 300
MEBIBYTE = 2**20


def program(name: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / name), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_ten_thousand_calls_from_eight_threads(tmp_path: Path, note: Callable[[str], None]) -> None:
    running = program("stress.py", tmp_path)
    printed, errors = running.communicate(timeout=TIMEOUT_S)
    assert running.returncode == 0, errors
    found = json.loads(printed)
    assert sum(found["done"].values()) == CALLS
    assert min(found["done"].values()) > 50, "each kind of call was made"
    grown = {name: found["after"][name] - count for name, count in found["before"].items()}
    note(f"{CALLS:,} calls from 8 threads: {grown['resident_bytes'] / MEBIBYTE:+.1f} MiB, {grown['blocks']:+} blocks")
    # a leak of one output per call would be 600 MiB, of one Python object 10,000 blocks
    assert grown["resident_bytes"] < 4 * MEBIBYTE
    assert grown["blocks"] < 1000


@pytest.mark.parametrize("name", ["interrupted", "interrupted_loop"])
def test_ctrl_c_during_a_run_ends_the_process_in_order(name: str, tmp_path: Path) -> None:
    running = program("programs.py", name, tmp_path)
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    # long enough for the run to begin; the run takes two seconds
    time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=TIMEOUT_S)
    assert running.returncode == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")


def test_spawned_processes_have_separate_sessions(tmp_path: Path) -> None:
    running = program("programs.py", "spawned", tmp_path)
    printed, errors = running.communicate(timeout=TIMEOUT_S)
    assert (running.returncode, printed) == (0, "ready\n"), errors


def test_the_event_loop_continues_during_a_run(tmp_path: Path) -> None:
    session, feeds = slow_call(tmp_path, 1)

    async def ticks() -> tuple[int, Any]:
        work = asyncio.create_task(asyncio.to_thread(session.run, feeds))
        count = 0
        while not work.done():
            count += 1
            await asyncio.sleep(0.01)
        return count, (await work)["y"]

    count, answer = asyncio.run(ticks())
    assert np.count_nonzero(answer) == 0
    # a loop blocked by the run ticks twice
    assert count > 10
