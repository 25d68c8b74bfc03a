"""hyperfine's JSON: schema 2 (version 2.x) and the older one without a number (1.x).

It contains process times, one command after the other: no two commands share a block.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from runoff import __version__
from runoff.analysis.measurements import Measurements, of_table
from runoff.compare.formats.rows import SampleRow, omitted, table
from runoff.records.errors import RunoffError
from runoff.records.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pandas as pd

_FIELDS = {
    "time_wall_clock": ("process", "wall", "ns"),
    "time_user": ("process", "user", "ns"),
    "time_system": ("process", "system", "ns"),
    "memory_peak_resident": ("process", "peak_memory", "bytes"),
    "cpu_cycles": ("counters", "cycles", "count"),
    "instructions": ("counters", "instructions", "count"),
    "cache_misses": ("counters", "cache_misses", "count"),
    "branch_misses": ("counters", "branch_misses", "count"),
}
_UNITS = {"ns": ("second", 1e9), "bytes": ("byte", 1.0), "count": ("count", 1.0)}
_WALL, _MEMORY = "time_wall_clock", "memory_peak_resident"


class _Value(Struct):
    value: float
    unit: str


class _Result2(Struct):
    command: str
    measurements: list[dict[str, Any]]
    name: str | None = None
    parameters: dict[str, Any] | None = None


class _Result1(Struct):
    command: str
    times: list[float]
    memory_usage_byte: list[float] | None = None
    parameters: dict[str, Any] | None = None


def read(document: dict[str, Any], path: Path) -> Measurements:
    """Return the measurements of a decoded file.

    Raises
    ------
    RunoffError
        If the document is not in hyperfine's format.
    """
    version = document.get("schema_version", 1)
    if version not in (1, 2):
        raise RunoffError(f"{path} has hyperfine's schema {version}; runoff reads 1 and 2")
    try:
        if version == 1:
            rows = list(_rows_1(msgspec.convert(document["results"], list[_Result1])))
        else:
            rows = list(_rows_2(msgspec.convert(document["results"], list[_Result2])))
    except msgspec.ValidationError as error:
        raise RunoffError(f"{path} is not in hyperfine's format: {error}") from error
    return of_table(path.stem, table(rows, path))


def _rows_2(results: list[_Result2]) -> Iterator[SampleRow]:
    block = 0
    for result, name in zip(results, _names(results), strict=True):
        for process, measurement in enumerate(result.measurements):
            for field, (probe, metric, unit) in _FIELDS.items():
                if measurement.get(field) is not None:
                    value = msgspec.convert(measurement[field], _Value).value * _UNITS[unit][1]
                    yield _row(name, probe, block, process, metric, unit, value)
            block += 1


def _rows_1(results: list[_Result1]) -> Iterator[SampleRow]:
    block = 0
    for result, name in zip(results, _names(results), strict=True):
        for process, seconds in enumerate(result.times):
            yield _row(name, "process", block, process, "wall", "ns", seconds * 1e9)
            if result.memory_usage_byte:
                yield _row(name, "process", block, process, "peak_memory", "bytes", result.memory_usage_byte[process])
            block += 1


def _names(results: Sequence[_Result1 | _Result2]) -> list[str]:
    """Return a name for each command; equal ones get their parameters, and those still equal a number."""
    plain = [getattr(result, "name", None) or result.command for result in results]
    names = [
        f"{name} ({', '.join(f'{key}={value}' for key, value in result.parameters.items())})"
        if result.parameters and plain.count(name) > 1
        else name
        for name, result in zip(plain, results, strict=True)
    ]
    return [
        name if name not in names[:place] else f"{name} ({names[:place].count(name) + 1})"
        for place, name in enumerate(names)
    ]


def _row(name: str, probe: str, block: int, process: int, metric: str, unit: str, value: float) -> SampleRow:
    return SampleRow(name, name, "", "", "", probe, "", block, process, 0, metric, unit, value)


def write_2(data: Measurements, path: Path) -> list[str]:
    """Write schema 2 and return what it omits."""
    results, losses = [], []
    for case, measurements in _processes(data, path).items():
        fields = dict.fromkeys(field for one in measurements for field in one)
        summary = {field: _summary(field, [one[field] for one in measurements if field in one]) for field in fields}
        values = [
            {field: {"value": value, "unit": _unit(field)} for field, value in one.items()} | {"exit_code": 0}
            for one in measurements
        ]
        results.append({"command": case, "name": case, "measurements": values, "summary": summary})
    losses += _losses(data, {metric for _, metric, _ in _FIELDS.values()})
    document = {
        "schema_version": 2,
        "metadata": {"hyperfine_version": f"none: written by runoff {__version__}"},
        "primary_metric": _WALL,
        "results": results,
    }
    write_atomically(path, msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    return losses


def write_1(data: Measurements, path: Path) -> list[str]:
    """Write the schema of hyperfine 1.x and return what it omits."""
    results = []
    for case, measurements in _processes(data, path).items():
        times = [one[_WALL] for one in measurements]
        result: dict[str, Any] = {"command": case, **_moments(times)}
        for field in ("user", "system"):
            found = [one[f"time_{field}"] for one in measurements if f"time_{field}" in one]
            result[field] = statistics.fmean(found) if found else 0.0
        result |= {"times": times, "exit_codes": [0] * len(times)}
        memory = [one[_MEMORY] for one in measurements if _MEMORY in one]
        results.append(result | ({"memory_usage_byte": memory} if len(memory) == len(times) else {}))
    write_atomically(path, msgspec.json.format(msgspec.json.encode({"results": results}), indent=2) + b"\n")
    one_by_one = data.samples[data.samples["metric"].isin(["user", "system"])]
    return (["user and system time, except their means"] if len(one_by_one) else []) + _losses(
        data, {"wall", "peak_memory", "user", "system"}
    )


def _processes(data: Measurements, path: Path) -> dict[str, list[dict[str, float]]]:
    """Return, by case, the fields of each of its processes, in seconds, bytes and counts."""
    fields = {(probe, metric): (field, unit) for field, (probe, metric, unit) in _FIELDS.items()}
    rows = data.samples[data.samples["probe"] == "process"]
    cases: dict[str, dict[int, dict[str, float]]] = {}
    columns = (rows["case"].tolist(), rows["process"].tolist(), rows["metric"].tolist(), rows["value"].tolist())
    for case, process, metric, value in zip(*columns, strict=True):
        if known := fields.get(("process", metric)):
            cases.setdefault(case, {}).setdefault(process, {})[known[0]] = value / _UNITS[known[1]][1]
    timed = {case: [one for one in processes.values() if _WALL in one] for case, processes in cases.items()}
    by_case = {case: processes for case, processes in timed.items() if processes}
    if not by_case:
        raise RunoffError(
            f"{path} would be empty: hyperfine's JSON contains process times; {data.name} has none (probe process)",
            "formats for all probes: --to parquet, --to csv, --to pyperf",
        )
    return by_case


def _losses(data: Measurements, metrics: set[str]) -> list[str]:
    samples: pd.DataFrame = data.samples
    kept = (samples["probe"] == "process") & samples["metric"].isin(list(metrics))
    machine = [] if data.machine is None else ["the machine"]
    interleaved = ["which processes shared a block"] if _interleaved(samples) else []
    return machine + interleaved + omitted(samples[~kept])


def _interleaved(samples: pd.DataFrame) -> bool:
    rows = samples.loc[samples["probe"] == "process", ["case", "block"]].drop_duplicates()
    return bool(rows["block"].duplicated().any())


def _unit(field: str) -> str:
    return _UNITS[_FIELDS[field][2]][0]


def _moments(values: list[float]) -> dict[str, float | None]:
    return {
        "mean": statistics.fmean(values),
        "stddev": statistics.stdev(values) if len(values) > 1 else None,
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
    }


def _summary(field: str, values: list[float]) -> dict[str, Any]:
    return {"unit": _unit(field), "count": len(values), **_moments(values)}
