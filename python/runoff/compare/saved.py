"""A gate's baseline as a file, with which later runs are compared, by case and metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
from msgspec import Struct

from runoff.analysis.comparisons import RAW, MetricComparison, by_process, estimate, noise_floor, shares, worse
from runoff.analysis.metric_samples import Metric
from runoff.analysis.verdict import BETTER_WORSE
from runoff.probes.base import DISTRIBUTED
from runoff.records.errors import ExitCode, RunoffError
from runoff.records.files import write_atomically
from runoff.statistics import fewest_samples, unpaired

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.analysis.measurements import Measurements, Member
    from runoff.analysis.metric_samples import MetricSamples

VERSION = 1
_STATISTICS = ("median", "mean", "p90", "p95", "p99", "p99.9")


class SavedMetric(Struct, frozen=True):
    """One metric of one case."""

    unit: str
    values: list[float]
    """By process, in `unit`."""
    shares: list[float] = []
    """By block: the case's value divided by its baseline's in the same block."""
    floor: float | None = None
    """The noise floor of the comparison, relative."""


class SavedCase(Struct, frozen=True):
    """One case."""

    relative_to: str
    """The baseline's target; empty for the baseline itself."""
    made_of: str
    """Engine and model of that baseline."""
    metrics: dict[str, SavedMetric]


class Saved(Struct, frozen=True, kw_only=True):
    """The baseline file."""

    format: Literal["runoff-baseline"] = "runoff-baseline"
    version: int = VERSION
    run: str
    machine: dict[str, Any] | None
    cases: dict[str, SavedCase]


def save(data: Measurements, path: Path, earlier: Saved | None = None) -> None:
    """Write the baseline file of `data`, with the cases of `earlier` that `data` does not have.

    Raises
    ------
    RunoffError
        If no case has a result.
    """
    cases = {member.case: made for member in data.members if (made := _saved_case(data, member)) is not None}
    if not cases:
        raise RunoffError(
            f"{data.name} has no result to save", "see its report for the reason", ExitCode.NOTHING_RUNS_HERE
        )
    file = Saved(run=data.name, machine=data.machine, cases={**(earlier.cases if earlier else {}), **cases})
    write_atomically(path, msgspec.json.format(msgspec.json.encode(file), indent=1) + b"\n")


def load(path: Path) -> Saved:
    """Return the baseline in a file.

    Raises
    ------
    RunoffError
        If the file is not a baseline, or has another version.
    """
    try:
        file = msgspec.json.decode(path.read_bytes(), type=Saved)
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise RunoffError(
            f"--baseline {path} cannot be read: {error}", "create it: runoff gate RUN --save-baseline FILE"
        ) from error
    if file.version != VERSION:
        raise RunoffError(
            f"--baseline {path} has version {file.version}; this version of runoff reads {VERSION}",
            "save it again: runoff gate RUN --save-baseline FILE",
        )
    return file


def _saved_case(data: Measurements, member: Member) -> SavedCase | None:
    if not member.computes or member.control_of is not None or member.failed or data.unfair_points(member):
        return None
    base = data.baseline(member.comparison)
    other = base if base is not None and base.case != member.case else None
    relative_to = other.target if other else RAW
    metrics = {}
    for key, cell in data.cells.items():
        if key.case != member.case or cell.unit not in BETTER_WORSE:
            continue
        for metric in _metrics(key.probe, key.metric, cell):
            values = [float(np.median(samples)) for samples in by_process(cell, metric)]
            parts = shares((data, member), metric, relative_to) if relative_to and cell.unit == "ns" else []
            part = [float(np.median(logs)) for logs in parts]
            if values:
                metrics[str(metric)] = SavedMetric(
                    cell.unit, values, part, noise_floor(data, member.comparison, metric)
                )
    return SavedCase(relative_to, other.made_of if other else "", metrics)


def _metrics(probe: str, name: str, cell: MetricSamples) -> list[Metric]:
    every = [Metric(probe, name, statistic) for statistic in _STATISTICS]
    if not name.endswith(DISTRIBUTED):
        return every[:1]
    n = sum(map(len, cell.processes))
    return [metric for metric in every if metric.quantile is None or n >= fewest_samples(metric.quantile)]


def against(saved: Saved, data: Measurements, member: Member, metric: Metric) -> MetricComparison:
    """Return the comparison of a case with the same case in the file."""
    earlier = saved.cases.get(member.case)
    before = earlier.metrics.get(str(metric)) if earlier else None
    cell = data.cell(member, metric)
    if earlier is None or before is None:
        return _none(member, metric, f"the baseline file has no {metric} of this case; save it again")
    if cell is None:
        return _none(member, metric, member.failures.get(metric.probe) or f"{metric} was not measured")
    if short := metric.shortage(cell):
        return _none(member, metric, short)
    relative_to = _reference(earlier, before, data, member)
    old = [np.array([value]) for value in (before.shares if relative_to else before.values)]
    new = shares((data, member), metric, relative_to) if relative_to else by_process(cell, metric)
    if not new:
        return _none(member, metric, f"{metric} has no value above zero")
    return MetricComparison(
        label=member.case,
        metric=str(metric),
        unit=before.unit,
        second=estimate(cell, metric),
        relative_to=relative_to,
        ratio=unpaired(old, new),
        floor=worse(before.floor, noise_floor(data, member.comparison, metric)),
    )


def _reference(earlier: SavedCase, before: SavedMetric, data: Measurements, member: Member) -> str:
    base = data.baseline(member.comparison)
    same = base is not None and (base.target, base.made_of) == (earlier.relative_to, earlier.made_of)
    return earlier.relative_to if same and before.shares else RAW


def _none(member: Member, metric: Metric, reason: str) -> MetricComparison:
    return MetricComparison(label=member.case, metric=str(metric), reason=reason)
