"""RAPL by perf: lines of its structure, uncounted events, and a fake of the program."""

from __future__ import annotations

import subprocess
import sys
import time
from math import isnan
from typing import TYPE_CHECKING

import pytest
from energy_streams import every_tenth, interval, program

from runoff.measure.energy import perf
from runoff.measure.energy import stream as perf_stream
from runoff.measure.energy.meter import difference
from runoff.measure.energy.meters import find_meters
from runoff.measure.energy.perf import GRANT, find_perf, read_intervals
from runoff.processes import Spawner
from runoff.records.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.clock

PARANOID_WORDS = "Error:\\nAccess to performance monitoring and observability operations is limited.\\n"


@pytest.fixture
def spawner(tmp_path: Path) -> Iterator[Spawner]:
    with Spawner(tmp_path / "log") as made:
        yield made


@pytest.fixture
def events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the kernel's power events, with two of them; perf is found in `tmp_path`/bin."""
    folder = tmp_path / "events"
    folder.mkdir()
    for name in ("energy-pkg", "energy-ram"):
        (folder / name).write_text("event=0x02\n")
        (folder / f"{name}.unit").write_text("Joules\n")
    monkeypatch.setattr(perf, "ROOT", folder)
    monkeypatch.setenv("RUNOFF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return folder


def perf_that(folder: Path, trial: str, then: str = "") -> None:
    """Put a perf on the PATH that prints `trial` in the trial call, and runs `then` when streaming."""
    text = f"if '-I' not in arguments:\n    emit({trial!r})\n    sys.exit()\n{then}"
    program(folder / "bin", "perf", text)


def test_lines_become_intervals() -> None:
    text = "# started on Sun Nov 22\n\n" + interval(0.100206, energy_pkg=1.25, energy_ram=0.5)
    text += interval(0.200412, energy_pkg=1.5, energy_ram=0.25)
    first, second = read_intervals(text.encode())
    assert (first.elapsed_ns, first.joules) == (100_206_000, {"package": 1.25, "dram": 0.5})
    assert (second.elapsed_ns, second.joules) == (200_412_000, {"package": 1.5, "dram": 0.25})


@pytest.mark.parametrize("text", ["<not counted>", "<not supported>"])
def test_uncounted_values_are_not_numbers(text: str) -> None:
    (found,) = read_intervals(interval(0.1, energy_pkg=text, energy_cores=0.5).encode())
    assert isnan(found.joules["package"])
    assert found.joules["core"] == 0.5


def test_a_window_extends_from_interval_to_interval(events: Path, spawner: Spawner) -> None:
    block = interval(None, energy_pkg=2.0, energy_ram=0.1).replace("{", '{"interval": NUMBER, ')
    perf_that(events.parent, interval(None, energy_pkg=0.01, energy_ram=0.01), every_tenth(block))
    meter = find_perf(spawner)
    assert isinstance(meter, perf_stream.StreamMeter)
    assert meter.info.domains == {"package": "processor package", "dram": "memory"}
    meter.open(spawner, events.parent)
    begun, ended = meter.read(), meter.read()
    meter.close()
    intervals = (ended.time_ns - begun.time_ns) / 1e9
    assert intervals >= 1
    joules, silent = difference(meter, begun, ended, at_work=True)
    assert joules == pytest.approx({"package": 2.0 * intervals, "dram": 0.1 * intervals})
    assert silent == {}


def test_an_interval_that_was_not_counted_leaves_no_figure(events: Path, spawner: Spawner) -> None:
    block = interval(None, energy_pkg=2.0, energy_ram="<not counted>").replace("{", '{"interval": NUMBER, ')
    perf_that(events.parent, interval(None, energy_pkg=0.01, energy_ram=0.01), every_tenth(block))
    meter = find_perf(spawner)
    assert isinstance(meter, perf_stream.StreamMeter)
    meter.open(spawner, events.parent)
    joules, silent = difference(meter, meter.read(), meter.read(), at_work=True)
    meter.close()
    assert set(joules) == {"package"}
    assert silent == {"dram": "not counted all the time"}


def test_an_unsupported_event_is_reported(events: Path, spawner: Spawner) -> None:
    perf_that(events.parent, interval(None, energy_pkg=0.25, energy_ram="<not supported>"))
    meter = find_perf(spawner)
    assert isinstance(meter, perf_stream.StreamMeter)
    assert set(meter.info.domains) == {"package"}
    assert meter.info.unavailable == {"dram": "perf does not count it on this machine"}


def test_no_event_is_supported(events: Path, spawner: Spawner) -> None:
    perf_that(events.parent, interval(None, energy_pkg="<not supported>", energy_ram="<not supported>"))
    reason = find_perf(spawner)
    assert isinstance(reason, Reason)
    assert reason.message == "perf counts none of energy-pkg, energy-ram on this machine"


@pytest.mark.parametrize("paranoid", [1, 2, 4])
def test_a_missing_permission_names_the_command(
    paranoid: int, events: Path, spawner: Spawner, monkeypatch: pytest.MonkeyPatch
) -> None:
    (events.parent / "paranoid").write_text(f"{paranoid}\n")
    monkeypatch.setattr(perf, "PARANOID", events.parent / "paranoid")
    program(events.parent / "bin", "perf", f"sys.exit('{PARANOID_WORDS}')\n")
    reason = find_perf(spawner)
    assert isinstance(reason, Reason)
    assert (reason.kind, reason.hint) == ("permission", f"run: {GRANT}")
    assert reason.message.endswith(f"perf_event_paranoid is {paranoid}")


def test_another_failure_quotes_perf(events: Path, spawner: Spawner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perf, "PARANOID", events.parent / "none")
    program(events.parent / "bin", "perf", "sys.exit('event syntax error')\n")
    reason = find_perf(spawner)
    assert isinstance(reason, Reason)
    assert reason.message == "perf stat -a exited with code 1: event syntax error"


def test_a_kernel_without_the_events(spawner: Spawner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perf, "ROOT", tmp_path / "none")
    reason = find_perf(spawner)
    assert isinstance(reason, Reason)
    assert reason.message.startswith("the kernel offers no event power/energy-...")


ENDLESS = """import os, signal
for number in (signal.SIGPIPE, signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
open({pids!r}, 'a').write(f'{{os.getpid()}}\\n')
for number in range(1, 10_000):
    time.sleep(0.1)
    try:
        emit({block!r}.replace('NUMBER', str(number)))
    except OSError:
        pass
"""
DETACHED = """import os, signal
if os.fork():
    time.sleep(1000)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
"""
"""Its child is not visible to the parent, as with sudo."""


def endless(events: Path, before: str = "", **joules: float) -> Path:
    """Put a perf on the PATH that never exits; return the file of its process ids."""
    block = interval(None, **joules).replace("{", '{"interval": NUMBER, ')
    text = ENDLESS.format(pids=str(events.parent / "pids"), block=block)
    lines = text.splitlines(keepends=True)
    text = text if not before else before + "".join(line for line in lines[3:])
    perf_that(events.parent, interval(None, **joules), text)
    return events.parent / "pids"


@pytest.mark.parametrize("before", ["", DETACHED], ids=["ignores signals", "cannot be signalled"])
def test_a_perf_that_never_ends_is_ended_with_its_window(
    before: str, events: Path, spawner: Spawner, is_gone: Callable[[int], bool]
) -> None:
    pids = endless(events, before, energy_pkg=1.0, energy_ram=1.0)
    meter = find_perf(spawner)
    assert isinstance(meter, perf_stream.StreamMeter)
    for _ in range(2):
        meter.open(spawner, events.parent)
        meter.read()
        began = time.monotonic()
        meter.close()
        assert time.monotonic() - began < perf_stream._END_S / 2
    started = [int(pid) for pid in pids.read_text().split()]
    assert len(started) == 2
    assert all(is_gone(pid) for pid in started)


def test_a_perf_that_never_ends_does_not_outlive_runoff(events: Path, is_gone: Callable[[int], bool]) -> None:
    pids = endless(events, energy_pkg=1.0, energy_ram=1.0)
    command = (str(events.parent / "bin" / "perf"), "-I")
    parent = subprocess.Popen([sys.executable, "-c", RUNOFF, str(events.parent), *command])
    deadline = time.monotonic() + 20
    while not pids.is_file() or not pids.read_text().endswith("\n"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    parent.kill()
    parent.wait()
    assert is_gone(int(pids.read_text()))


RUNOFF = """
import re, sys, time
from pathlib import Path
from runoff.measure.energy.stream import Stream
from runoff.processes import Spawner
folder = Path(sys.argv[1])
with Spawner(folder / "log-of-it") as spawner:
    Stream(spawner, sys.argv[2:], folder / "perf.jsonl", re.compile(b"never"))
    time.sleep(1000)
"""


def test_a_perf_with_constant_counters_is_not_a_source(
    events: Path, spawner: Spawner, monkeypatch: pytest.MonkeyPatch, is_gone: Callable[[int], bool]
) -> None:
    monkeypatch.setattr("runoff.measure.energy.powercap.ROOT", events.parent / "none")
    pids = endless(events, energy_pkg=0.0, energy_ram=0.0)
    found = find_meters(spawner)
    reason = found.unavailable["perf"]
    assert "dead counter: package did not move in " in reason.message
    assert all(meter.info.name != "perf" for meter in found.found)
    assert is_gone(int(pids.read_text()))
