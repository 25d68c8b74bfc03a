"""Reading what ``perf stat -j`` printed for one process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = {
    "cycles": "cycles",
    "instructions": "instructions",
    "task-clock": "task_clock",
    "context-switches": "context_switches",
    "cpu-migrations": "migrations",
    "page-faults": "page_faults",
    "branches": "branches",
    "branch-misses": "branch_misses",
}
"""perf's event to the metric's name."""

_NS_PER = {"ns": 1.0, "nsec": 1.0, "usec": 1e3, "msec": 1e6, "sec": 1e9}


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
        if name in NAMES:
            counts.append(_count(NAMES[name], event))
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
