"""``counters``: the CPU work of a whole process, as ``perf stat`` counts it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from runoff.probes.base import Probe, Sample, Shortfall, Tool
from runoff.records.protocol import Once

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
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


def _wrap(perf: str, runner: tuple[str, ...], scratch: Path) -> tuple[str, ...]:
    return (perf, "stat", "-j", "-e", ",".join(EVENTS), "-o", str(scratch / _OUTPUT), "--", *runner)


def _read(scratch: Path) -> list[dict[str, Any]]:
    lines = (scratch / _OUTPUT).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


PERF = Tool(
    name="perf",
    wrap=_wrap,
    read=_read,
    hint="install it: apt-get install linux-perf",
    trial=("stat", "-e", "task-clock", "--", "true"),
    allow="sudo sysctl kernel.perf_event_paranoid=1; for a container: docker run --cap-add PERFMON",
)


class Count(Struct, frozen=True):
    """One metric of one process: `value` in `unit`, or None and the reason why it was not counted."""

    metric: str
    unit: str
    value: float | None
    reason: str = ""


def read_events(events: Sequence[dict[str, Any]]) -> list[Count]:
    """Return the counts in perf's `events`, with ``cpus_utilised`` and ``ipc`` of the same process."""
    counts = []
    for event in events:
        name = str(event.get("event", "")).split(":")[0]
        if name in EVENTS:
            counts.append(_count(EVENTS[name], event))
            if name == "task-clock" and event.get("metric-unit") == "CPUs utilized":
                counts.append(Count("cpus_utilised", "CPUs", float(event["metric-value"])))
    by_name = {count.metric: count for count in counts}
    if {"cycles", "instructions"} <= by_name.keys():
        counts.append(_ipc(by_name["cycles"], by_name["instructions"]))
    return counts


def _count(metric: str, event: dict[str, Any]) -> Count:
    unit = "ns" if metric == "task_clock" else "count"
    text = str(event.get("counter-value", ""))
    try:
        scale = _NS_PER[event.get("unit", "")] if unit == "ns" else 1.0
        return Count(metric, unit, float(text) * scale)
    except (ValueError, KeyError):
        state = text.strip("<>") or "no value"
        return Count(metric, unit, None, f"perf on this machine: {state}")


def _ipc(cycles: Count, instructions: Count) -> Count:
    if cycles.value is None or instructions.value is None:
        return Count("ipc", "instructions/cycle", None, cycles.reason or instructions.reason)
    if cycles.value == 0:
        return Count("ipc", "instructions/cycle", None, "perf counted no cycles")
    return Count("ipc", "instructions/cycle", instructions.value / cycles.value)


def _samples(record: Record, _meters: Sequence[MeterInfo]) -> Iterator[Sample]:
    for count in read_events(record.tool):
        if count.value is not None:
            yield Sample(count.metric, count.unit, count.value)


def _shortfalls(records: Sequence[Record], _meters: Sequence[MeterInfo]) -> Iterator[Shortfall]:
    """Yield the counters that the machine does not have, and what follows from them."""
    counts = [count for record in records for count in read_events(record.tool)]
    counted = {count.metric for count in counts if count.value is not None}
    missing = {count.metric: count for count in counts if count.metric not in counted}
    for count in missing.values():
        yield Shortfall(count.metric, count.unit, count.reason)


COUNTERS = Probe(
    name="counters",
    summary="CPU work of a whole process: cycles, instructions, page faults, ... (perf stat)",
    measure=Once(),
    blocks=3,
    tool=PERF,
    headline=("instructions", "count"),
    main_metrics=("instructions",),
    read=_samples,
    shortfalls=_shortfalls,
)
