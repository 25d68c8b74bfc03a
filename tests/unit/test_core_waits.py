"""The time that an exchange waited for a core."""

from __future__ import annotations

import subprocess
import sys

import pytest

from runoff.measure.core_waits import CoreWaits, Exchange, Waits, exchange_between

ZERO = Waits(0, 0, 0)


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (Waits(0, 0, 30), Exchange(100, 100, 100)),
        (Waits(20, 0, 30), Exchange(100, 80, 80)),
        (Waits(20, 40, 30), Exchange(100, 80, 40)),
        (Waits(20, 150, 30), Exchange(100, 80, 30)),
        (Waits(90, 90, 95), Exchange(100, 95, 95)),
        (Waits(90, 90, 190), Exchange(100, 100, 100)),
        (None, Exchange(100, 100, 100)),
    ],
    ids=["idle", "runoff", "both", "waited before", "made itself wait", "several threads", "not reported"],
)
def test_waits_do_not_count_and_cpu_time_always_does(later: Waits | None, expected: Exchange) -> None:
    assert exchange_between(ZERO, later, 100) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not report it")
def test_the_totals_of_a_process() -> None:
    command = [sys.executable, "-c", "import time\nwhile time.process_time() < 0.2: pass\nprint(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        waits = CoreWaits(process.pid)
        before = waits.read()
        assert process.stdout is not None
        process.stdout.readline()
        after = waits.read()
        process.communicate(b"\n")
    assert before is not None
    assert after is not None
    assert after.cpu_ns - before.cpu_ns > 100_000_000
    assert after.own_ns >= before.own_ns
    assert after.theirs_ns >= before.theirs_ns
    assert waits.read() is None, "it has ended"
    waits.close()
    assert waits.read() is None
