"""From raw records to one tidy table: ``samples.csv``, a row for each number that was measured."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from runoff.analysis import counters, energy
from runoff.analysis import phases as life
from runoff.analysis.validity import disagreements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runoff.records.reason import Reason
    from runoff.records.schema import Record, Run

COLUMNS = [
    "case",
    "target",
    "model",
    "workload",
    "profile",
    "probe",
    "phase",
    "block",
    "process",
    "sample",
    "metric",
    "unit",
    "value",
]
SETUP = ("start", "imports", "runtime", "environment", "compile", "load")
"""Phases that a ``latency`` process goes through once."""

DEVICE_PEAK = "device.peak_memory"
"""What a process used at most of the memory of NVIDIA's GPUs."""
WARM_UP = "warm-up"
"""Phase of the inferences before the steady state: kept, and part of no estimate."""


class Reading(NamedTuple):
    """A number of a record. `process` counts within the record, `sample` within process, phase and metric."""

    process: int
    phase: str
    sample: int
    metric: str
    unit: str
    value: float


def tidy(run: Run) -> pd.DataFrame:
    """Return all samples of `run` with the columns `COLUMNS`.

    `process` numbers the processes of a case and probe from 0 in the order of `Record.order`. Times are in
    ns, memory in bytes. A case whose outputs disagree keeps its ``accuracy`` rows and nothing else; what was
    measured of it stays in the raw records.
    """
    cases = {case.id: case for case in run.info.cases}
    wrong = disagreements(run)
    readers = READERS | {"energy": _energy_of(run)}
    started: defaultdict[tuple[str, str], int] = defaultdict(int)
    rows: list[tuple[object, ...]] = []
    for record in sorted(run.records, key=lambda record: record.order):
        case, read = cases.get(record.case), readers.get(record.probe)
        if case is None or read is None or not _counts(record, wrong):
            continue
        key = (record.case, record.probe)
        head = (case.id, case.target, case.model, case.workload, case.settings.profile, record.probe)
        first = last = started[key]
        for process, phase, sample, metric, unit, value in read(record):
            last = first + process
            rows.append((*head, phase, record.block, last, sample, metric, unit, value))
        started[key] = last + 1
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({"block": "int64", "process": "int64", "sample": "int64", "value": "float64"})


def _counts(record: Record, wrong: dict[str, Reason]) -> bool:
    if record.probe == "accuracy":
        return bool(record.parity)
    return record.status == "ok" and record.case not in wrong


def _process(record: Record) -> Iterator[Reading]:
    times = {"time_wall_clock": "wall", "time_user": "user", "time_system": "system"}
    for process, measurement in enumerate(record.tool):
        for field, metric in times.items():
            if field in measurement:
                yield Reading(process, "", 0, metric, "ns", measurement[field]["value"] * 1e9)
        if "memory_peak_resident" in measurement:
            yield Reading(process, "", 0, "peak_memory", "bytes", measurement["memory_peak_resident"]["value"])


def _life(record: Record) -> Iterator[Reading]:
    if record.result is None:
        return
    spent = life.phase_breakdown(record)
    parts = spent.phases | {"unaccounted": spent.unaccounted_ns, "whole": spent.whole_ns}
    for phase, ns in parts.items():
        yield Reading(0, phase, 0, "duration", "ns", ns)


def _latency(record: Record) -> Iterator[Reading]:
    if record.result is None:
        return
    for phase, ns in life.durations(record.result.phases).items():
        if phase in SETUP:
            yield Reading(0, phase, 0, "duration", "ns", ns)
    warmup = record.turned.warmup if record.turned else 0
    for part, timings in record.result.samples.items():
        yield Reading(0, "first", 0, part, "ns", timings.first_ns)
        if timings.second_ns is not None:
            yield Reading(0, "second", 0, part, "ns", timings.second_ns)
        for sample, ns in enumerate(timings.warm_ns[:warmup]):
            yield Reading(0, WARM_UP, sample, part, "ns", ns)
        for sample, ns in enumerate(timings.warm_ns[warmup:]):
            yield Reading(0, "warm", sample, part, "ns", ns)


def _counters(record: Record) -> Iterator[Reading]:
    for count in counters.read_events(record.tool):
        if count.value is not None:
            yield Reading(0, "", 0, count.metric, count.unit, count.value)


def _memory(record: Record) -> Iterator[Reading]:
    if record.device_memory and record.device_memory.peak_bytes is not None:
        yield Reading(0, "", 0, DEVICE_PEAK, "bytes", record.device_memory.peak_bytes)
    memory = record.result.memory if record.result else None
    if memory is None:
        return
    if memory.peak_bytes is not None:
        yield Reading(0, "", 0, "peak_memory", "bytes", memory.peak_bytes)
    for phase, resident in memory.after.items():
        yield Reading(0, phase, 0, "resident", "bytes", resident)


def _accuracy(record: Record) -> Iterator[Reading]:
    for sample, check in enumerate(record.parity):
        for metric, value in check.items():
            if metric in ACCURACY_UNITS and value is not None:
                yield Reading(0, "", sample, metric, ACCURACY_UNITS[metric], float(value))


def _energy_of(run: Run) -> Callable[[Record], Iterator[Reading]]:
    """Return what reads the records of the probe ``energy``, which need what the run knows of the counters."""
    own: defaultdict[str, list[Record]] = defaultdict(list)
    for record in run.records:
        if (record.probe, record.status) == ("energy", "ok"):
            own[record.case].append(record)
    withheld = {case: energy.shortfalls(records, run.info) for case, records in own.items()}

    def read(record: Record) -> Iterator[Reading]:
        for metric, unit, value in energy.values(record, run.info, withheld[record.case]):
            yield Reading(0, "", 0, metric, unit, value)

    return read


ACCURACY_UNITS = {
    "max_abs_diff": "output",
    "max_rel_diff": "ratio",
    "cosine": "ratio",
    "top1_agrees": "share",
    "input_max_diff": "pixel",
    "input_mean_diff": "pixel",
}
READERS: dict[str, Callable[[Record], Iterator[Reading]]] = {
    "process": _process,
    "life": _life,
    "latency": _latency,
    "counters": _counters,
    "memory": _memory,
    "accuracy": _accuracy,
}
