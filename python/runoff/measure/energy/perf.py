"""RAPL through ``perf stat -a``: for machines whose powercap tree may not be read.

perf adds up the counters itself and prints what each interval took, wrap-arounds and all.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from runoff.measure.energy.meter import RAPL, Reading
from runoff.measure.energy.stream import INTERVAL_S, Stream
from runoff.probes.counters import PERF
from runoff.processes import describe_exit
from runoff.records.reason import Reason
from runoff.records.schema import MeterInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runoff.processes import Finished, Spawner

NAME = "perf"
ROOT = Path("/sys/bus/event_source/devices/power/events")
PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")
GRANT = "sudo sysctl kernel.perf_event_paranoid=0"
"""Until the machine starts again: counting on all processors is for root above 0."""
DOMAINS = {
    "energy-pkg": "package",
    "energy-cores": "core",
    "energy-gpu": "uncore",
    "energy-ram": "dram",
    "energy-psys": "psys",
}
"""perf's event to the domain."""
RESOLUTION_J = 2.0**-14
"""The usual unit of RAPL, 61 microjoules; perf prints finer, and what moves within an interval of 0.1 s is more."""
_TRIAL_S = 30.0


class Interval(Struct, frozen=True):
    """What perf printed at the end of an interval."""

    end_s: float
    """Since perf began."""
    joules: dict[str, float]
    """By domain, within the interval; NaN where it was not counted."""


def find_perf(spawner: Spawner) -> PerfStat | Reason:
    """Return perf as a source, or the reason why it is none. It is tried once."""
    events = [event for event in DOMAINS if (ROOT / event).exists()]
    if not events:
        return Reason("no-counter", f"the kernel offers no event power/energy-...: nothing in {ROOT}")
    perf = PERF.find()
    if perf is None:
        return Reason("tool-missing", "perf not found", PERF.hint)
    command = (*_command(perf, events), "--", shutil.which("true") or sys.executable)
    finished = spawner.run(command, {**os.environ, "LC_ALL": "C"}, _TRIAL_S)
    if finished.exit_code:
        return _refused(finished)
    (tried, *_) = read_intervals(finished.stdout.encode()) or [Interval(0.0, {})]
    able = [event for event in events if tried.joules.get(DOMAINS[event], nan) >= 0]
    if not able:
        return Reason("no-counter", f"perf counts none of {', '.join(events)} here")
    lacks = {DOMAINS[event]: "perf does not count it here" for event in events if event not in able}
    return PerfStat(perf, able, lacks)


def _command(perf: str, events: Sequence[str]) -> tuple[str, ...]:
    return (perf, "stat", "-a", "-j", "-e", ",".join(f"power/{event}/" for event in events), "--log-fd", "1")


def _refused(finished: Finished) -> Reason:
    try:
        paranoid = int(PARANOID.read_text(encoding="ascii"))
    except (OSError, ValueError):
        paranoid = 0
    if paranoid > 0:
        message = f"perf may not count on all processors: perf_event_paranoid is {paranoid}"
        return Reason("permission", message, f"run: {GRANT}")
    return Reason("tool-failed", f"perf stat -a {describe_exit(finished)}")


def read_intervals(text: bytes) -> list[Interval]:
    """Return the intervals that ``perf stat -j`` printed, whole lines of JSON; without ``-I`` one that ends at 0."""
    found: dict[float, dict[str, float]] = {}
    for line in text.splitlines():
        if not line.startswith(b"{"):
            continue
        told = json.loads(line)
        domain = DOMAINS.get(str(told.get("event", "")).removeprefix("power/").rstrip("/"))
        if domain:
            found.setdefault(float(told.get("interval", 0.0)), {})[domain] = _joules(told)
    return [Interval(end_s, joules) for end_s, joules in found.items()]


def _joules(told: dict[str, object]) -> float:
    """Return the value of a line; NaN for ``<not counted>`` and ``<not supported>``."""
    try:
        return float(str(told.get("counter-value")))
    except ValueError:
        return nan


class PerfStat:
    """``perf stat -a``, which prints what each tenth of a second took.

    Parameters
    ----------
    perf
        Its path.
    events
        Those that it counts here, one at least.
    lacks
        By domain, why it cannot be had.
    """

    waits = True
    may_rest = frozenset({"uncore"})

    def __init__(self, perf: str, events: Sequence[str], lacks: dict[str, str]) -> None:
        self.needs: dict[str, str] = {}
        self._command = (*_command(perf, events), "-I", f"{INTERVAL_S * 1e3:.0f}")
        self._end = re.compile(rb"power/%s/[^\n]*\n" % events[-1].encode())
        self._stream: Stream | None = None
        self._joules: dict[str, float] = {}
        self._end_s = 0.0
        self.info = MeterInfo(
            name=NAME,
            source="RAPL, the processor's own counters, read by perf stat -a",
            domains={DOMAINS[event]: RAPL[DOMAINS[event]] for event in events},
            resolution_j=RESOLUTION_J,
            step_s=INTERVAL_S,
            lacks=lacks,
        )

    def open(self, spawner: Spawner, scratch: Path) -> None:
        """Start perf."""
        self._joules = dict.fromkeys(self.info.domains, 0.0)
        self._end_s = 0.0
        self._stream = Stream(spawner, self._command, scratch / "perf.jsonl", self._end)

    def read(self) -> Reading:
        """Wait for the end of an interval; return the joules by domain up to it.

        Raises
        ------
        MeterError
            When perf has ended.
        """
        if self._stream is None:
            raise ValueError("open comes before read")
        for interval in read_intervals(self._stream.next()):
            self._end_s = interval.end_s
            for domain in self._joules:
                self._joules[domain] += interval.joules.get(domain, nan)
        return Reading(round(self._end_s * 1e9), dict(self._joules))

    def close(self) -> None:
        """End perf."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
