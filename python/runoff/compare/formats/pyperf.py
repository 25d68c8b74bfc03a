"""pyperf's JSON, version 1.0: a benchmark for each case and metric, a run for each process.

Benchmarks written by runoff have their case and metric in the metadata (``runoff_...``); those measured by pyperf are
read as warm times (unit ``second``) or memory (unit ``byte``).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from runoff import __version__
from runoff.analysis.measurements import Measurements, of_table
from runoff.compare.formats.rows import SampleRow, omitted, table
from runoff.probes.base import WARM_UP, metric_name
from runoff.records.errors import RunoffError
from runoff.records.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pandas as pd

_TO = {"ns": ("second", 1e9), "bytes": ("byte", 1.0), "count": ("integer", 1.0)}
_FROM = {unit: (ours, scale) for ours, (unit, scale) in _TO.items()}
_PLACES = {
    "second": ("latency", "warm", "inference"),
    "byte": ("memory", "", "peak_memory"),
    "integer": ("counters", "", "value"),
}
"""By unit: probe, phase and metric of a benchmark measured by pyperf."""
_OURS = ("case", "target", "model", "workload", "profile", "probe", "phase", "metric")
_MACHINE = "runoff_machine"


class _Run(Struct, rename={"numbers": "values"}):
    metadata: dict[str, Any] = {}
    numbers: list[float] = []
    warmups: list[tuple[int, float]] = []


class _Benchmark(Struct):
    runs: list[_Run]
    metadata: dict[str, Any] = {}


class _File(Struct):
    benchmarks: list[_Benchmark]
    metadata: dict[str, Any] = {}


def read(document: dict[str, Any], path: Path) -> Measurements:
    """Return the measurements of a decoded file.

    Raises
    ------
    RunoffError
        If the document is not in pyperf's format.
    """
    try:
        file = msgspec.convert(document, _File)
        encoded = file.metadata.get(_MACHINE)
        machine = msgspec.json.decode(encoded, type=dict[str, Any]) if isinstance(encoded, str) else None
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise RunoffError(f"{path} is not in pyperf's format: {error}") from error
    rows, block = [], 0
    for place, benchmark in enumerate(file.benchmarks):
        metadata = file.metadata | benchmark.metadata
        rows += list(_rows(benchmark, metadata, f"benchmark {place + 1}", block, path))
        block += len(benchmark.runs)
    return of_table(path.stem, table(rows, path), machine)


def _rows(benchmark: _Benchmark, metadata: dict[str, Any], unnamed: str, block: int, path: Path) -> Iterator[SampleRow]:
    unit = str(metadata.get("unit", "second"))
    if unit not in _FROM:
        raise RunoffError(f"{path}: unit {unit!r} is not one of pyperf's: {', '.join(_FROM)}")
    ours, scale = _FROM[unit]
    name = str(metadata.get("name", unnamed))
    probe, phase, metric = _PLACES[unit]
    if "command" in metadata or any("command" in run.metadata for run in benchmark.runs):
        probe, phase, metric = "process", "", "wall"
    case = {"case": name, "target": name, "probe": probe, "phase": phase, "metric": metric}
    named = {key: str(metadata.get(f"runoff_{key}", "")) for key in _OURS}
    head = named if named["case"] else dict.fromkeys(_OURS, "") | case
    process = 0
    for place, run in enumerate(benchmark.runs):
        shared = int(run.metadata.get("runoff_block", block + place))
        series = [(head["phase"], run.numbers), (WARM_UP, [value for _, value in run.warmups])]
        for at, values in series:
            for sample, value in enumerate(values):
                yield SampleRow(
                    **{**head, "phase": at},
                    block=shared,
                    process=process,
                    sample=sample,
                    unit=ours,
                    value=value * scale,
                )
        process += bool(run.numbers or run.warmups)


def write(data: Measurements, path: Path) -> list[str]:
    """Write a benchmark for each case and metric, and return what the format omits."""
    fits = data.samples["unit"].isin(list(_TO)) & (data.samples["value"] > 0)
    samples = data.samples[fits]
    warm_ups = samples["phase"] == WARM_UP
    groups = samples[~warm_ups].groupby(["case", "probe", "phase", "metric"], sort=False)
    benchmarks = [_benchmark(rows, samples[warm_ups]) for _, rows in groups]
    if not benchmarks:
        raise RunoffError(f"{path} would be empty: {data.name} has no times, sizes or counts")
    machine = {} if data.machine is None else {_MACHINE: json.dumps(data.machine)}
    document = {
        "version": "1.0",
        "metadata": {"runoff_version": __version__, **machine},
        "benchmarks": benchmarks,
    }
    write_atomically(path, msgspec.json.encode(document) + b"\n")
    failed = ["failure reasons"] if any(member.failures for member in data.members) else []
    return failed + omitted(data.samples[~fits])


def _benchmark(rows: pd.DataFrame, warm_ups: pd.DataFrame) -> dict[str, Any]:
    first = rows.iloc[0]
    unit, scale = _TO[first["unit"]]
    head = {f"runoff_{key}": first[key] for key in _OURS if first[key]}
    name = f"{first['case']} {first['probe']}.{metric_name(first['phase'], first['metric'])}"
    runs = []
    alike = [warm_ups[key] == first[key] for key in ("case", "probe", "metric")]
    before = warm_ups[alike[0] & alike[1] & alike[2]] if first["phase"] == "warm" else warm_ups.iloc[:0]
    for process, own in rows.groupby("process", sort=False):
        values = (own.sort_values("sample")["value"] / scale).tolist()
        warm = before[before["process"] == process].sort_values("sample")["value"] / scale
        metadata = {"runoff_block": int(own["block"].iloc[0])}
        run: dict[str, Any] = {"metadata": metadata, "values": values}
        runs.append(run | ({"warmups": [[1, value] for value in warm.tolist()]} if len(warm) else {}))
    return {"metadata": {"name": name, "unit": unit, "loops": 1, **head}, "runs": runs}
