"""``counters``: the CPU work of a process from start to exit, as ``perf stat`` counts it."""

from __future__ import annotations

from math import isfinite, nan
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from runoff.probes.base import Probe, Sample, Shortfall, Tool
from runoff.records import untrusted
from runoff.records.protocol import Once

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runoff.records.schema import MeterInfo, Record

EVENTS = {
    "task-clock": "task_clock",
    "context-switches": "context_switches",
    "cpu-migrations": "migrations",
    "page-faults": "page_faults",
    "cycles": "cycles",
    "instructions": "instructions",
    "branches": "branches",
    "branch-misses": "branch_misses",
}
"""perf's events, and the metrics that they become."""

_NS_PER = {"ns": 1.0, "nsec": 1.0, "usec": 1e3, "msec": 1e6, "sec": 1e9}
_OUTPUT = "perf.json"


class _Event(Struct, frozen=True, rename="kebab"):
    """A line of perf's report; most numbers are text there."""

    event: str = ""
    counter_value: str | float = ""
    unit: str = ""
    metric_value: str | float = ""
    metric_unit: str | None = None


def _wrap(perf: str, runner: tuple[str, ...], scratch: Path) -> tuple[str, ...]:
    return (perf, "stat", "-j", "-e", ",".join(EVENTS), "-o", str(scratch / _OUTPUT), "--", *runner)


def _read(scratch: Path) -> list[dict[str, Any]]:
    lines = untrusted.read_file(scratch / _OUTPUT).splitlines()
    events = [untrusted.decode(line, dict[str, Any]) for line in lines if line.startswith(b"{")]
    msgspec.convert(events, list[_Event])
    return events


PERF = Tool(
    name="perf",
    wrap=_wrap,
    read=_read,
    # of the user's locale, only the decimal comma is kept away from perf
    env=(("LC_ALL", ""), ("LC_NUMERIC", "C")),
    hint="install it: apt-get install linux-perf",
    trial=("stat", "-e", "task-clock", "--", "true"),
    allow="sudo sysctl kernel.perf_event_paranoid=1; for a container: docker run --cap-add PERFMON",
)


def read_events(events: Sequence[dict[str, Any]]) -> dict[str, Sample | Shortfall]:
    """Return perf's counts by metric, with ``cpus_utilised`` and ``ipc`` of the same process."""
    counts: dict[str, Sample | Shortfall] = {}
    for event in msgspec.convert(events, list[_Event]):
        metric = EVENTS.get(event.event.split(":")[0])
        if metric:
            counts[metric] = _count(metric, event)
        if metric == "task_clock" and event.metric_unit == "CPUs utilized":
            counts["cpus_utilised"] = _sample("cpus_utilised", "CPUs", event.metric_value)
    if {"cycles", "instructions"} <= counts.keys():
        counts["ipc"] = _ipc(counts["cycles"], counts["instructions"])
    return counts


def _count(metric: str, event: _Event) -> Sample | Shortfall:
    if metric != "task_clock":
        return _sample(metric, "count", event.counter_value)
    return _sample(metric, "ns", event.counter_value, _NS_PER.get(event.unit, nan))


def _sample(metric: str, unit: str, value: str | float, factor: float = 1.0) -> Sample | Shortfall:
    """Return the number `value` times `factor`; a shortfall if it is none."""
    try:
        number = float(value) * factor
    except ValueError:
        number = nan
    if isfinite(number):
        return Sample(metric, unit, number)
    return Shortfall(metric, unit, f"perf on this machine: {str(value).strip('<>') or 'no value'}")


def _ipc(cycles: Sample | Shortfall, instructions: Sample | Shortfall) -> Sample | Shortfall:
    unit = "instructions/cycle"
    if isinstance(cycles, Shortfall):
        return Shortfall("ipc", unit, cycles.reason)
    if isinstance(instructions, Shortfall):
        return Shortfall("ipc", unit, instructions.reason)
    if cycles.value == 0:
        return Shortfall("ipc", unit, "perf counted no cycles")
    return Sample("ipc", unit, instructions.value / cycles.value)


def _samples(record: Record, _meters: Sequence[MeterInfo]) -> list[Sample]:
    return [count for count in read_events(record.tool).values() if isinstance(count, Sample)]


def _shortfalls(records: Sequence[Record], _meters: Sequence[MeterInfo]) -> list[Shortfall]:
    """Return the counters that are missing on the machine, and the metrics that depend on them."""
    counts = [count for record in records for count in read_events(record.tool).values()]
    counted = {count.metric for count in counts if isinstance(count, Sample)}
    missing = {count.metric: count for count in counts if isinstance(count, Shortfall)}
    return [count for metric, count in missing.items() if metric not in counted]


COUNTERS = Probe(
    name="counters",
    summary="CPU work of a process, start to exit: cycles, instructions, page faults, ... (perf stat)",
    measure=Once(),
    blocks=3,
    optional=True,
    tool=PERF,
    headline=("instructions", "count"),
    main_metrics=("instructions",),
    read=_samples,
    shortfalls=_shortfalls,
)
