"""RAPL through ``perf stat -a``: for machines on which the powercap tree is not readable.

perf reads the counters itself, corrects wrap-arounds, and prints the energy of each interval.
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

from runoff.measure.energy.meter import RAPL
from runoff.measure.energy.stream import INTERVAL_S, Interval, StreamMeter
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
"""Until the next boot. Above 0, only root is permitted to count on all processors."""
DOMAINS = {
    "energy-pkg": "package",
    "energy-cores": "core",
    "energy-gpu": "uncore",
    "energy-ram": "dram",
    "energy-psys": "psys",
}
"""Event of perf -> domain."""
RESOLUTION_J = 2.0**-14
"""The usual unit of RAPL, 61 microjoules; perf prints more digits, and an interval of 0.1 s is many units."""
_TRIAL_S = 30.0


def find_perf(spawner: Spawner) -> StreamMeter | Reason:
    """Return perf as a source, or the reason why it is unavailable, after a trial."""
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
    (tried, *_) = read_intervals(finished.stdout.encode()) or [Interval(0, {})]
    able = [event for event in events if tried.joules.get(DOMAINS[event], nan) >= 0]
    if not able:
        return Reason("no-counter", f"perf counts none of {', '.join(events)} on this machine")
    info = MeterInfo(
        name=NAME,
        source="RAPL, the processor's own counters, read by perf stat -a",
        domains={DOMAINS[event]: RAPL[DOMAINS[event]] for event in able},
        resolution_j=RESOLUTION_J,
        step_s=INTERVAL_S,
        unavailable={DOMAINS[event]: "perf does not count it on this machine" for event in events if event not in able},
    )
    argv = (*_command(perf, able), "-I", f"{INTERVAL_S * 1e3:.0f}")
    end = re.compile(rb"power/%s/[^\n]*\n" % able[-1].encode())
    return StreamMeter(info, argv, end, read_intervals, frozenset({"uncore"}), cumulative=True)


def _command(perf: str, events: Sequence[str]) -> tuple[str, ...]:
    return (perf, "stat", "-a", "-j", "-e", ",".join(f"power/{event}/" for event in events), "--log-fd", "1")


def _refused(finished: Finished) -> Reason:
    try:
        paranoid = int(PARANOID.read_text(encoding="ascii"))
    except (OSError, ValueError):
        paranoid = 0
    if paranoid > 0:
        message = f"perf is not permitted to count on all processors: perf_event_paranoid is {paranoid}"
        return Reason("permission", message, f"run: {GRANT}")
    return Reason("tool-failed", f"perf stat -a {describe_exit(finished)}")


def read_intervals(text: bytes) -> list[Interval]:
    """Return the intervals printed by ``perf stat -j``, complete lines of JSON; without ``-I`` one that ends at 0."""
    by_end: dict[float, dict[str, float]] = {}
    for line in text.splitlines():
        if not line.startswith(b"{"):
            continue
        fields = json.loads(line)
        domain = DOMAINS.get(str(fields.get("event", "")).removeprefix("power/").rstrip("/"))
        if domain:
            by_end.setdefault(float(fields.get("interval", 0.0)), {})[domain] = _joules(fields)
    return [Interval(round(end_s * 1e9), joules) for end_s, joules in by_end.items()]


def _joules(fields: dict[str, object]) -> float:
    """Return the value of a line; NaN for ``<not counted>`` and ``<not supported>``."""
    try:
        return float(str(fields.get("counter-value")))
    except ValueError:
        return nan
