"""The best case of each comparison, and all others compared with it: which cannot be distinguished from the best."""

from __future__ import annotations

from collections import defaultdict
from math import isfinite
from typing import TYPE_CHECKING

from runoff.analysis.comparisons import estimate, in_run
from runoff.analysis.metric_samples import Key, Metric
from runoff.probes.energy import ENERGY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runoff.analysis.measurements import Measurements, Member
    from runoff.analysis.verdict import Verdict

METRICS = (
    Metric("process", "wall"),
    Metric("latency", "inference.warm"),
    Metric("memory", "peak_memory"),
    Metric("process", "peak_memory"),
)
"""Metrics with a best case, besides the energy of an inference."""


def leaders(data: Measurements) -> dict[Key, dict[str, Verdict]]:
    """Return, by the best case of each comparison on each metric, the verdict on each other case, by its target.

    The best has the smallest estimate; the null runners and A/A controls do not compete. Verdicts are relative to it,
    and corrected for the number of others, as those relative to a baseline are.
    """
    wanted = [
        (best, other, metric, other.target)
        for comparison in data.comparisons
        for metric in _metrics(data)
        for best, others in _ranked(data, comparison, metric)
        for other in others
    ]
    found: defaultdict[Key, dict[str, Verdict]] = defaultdict(dict)
    for (best, other, metric, _), line in zip(wanted, in_run(data, wanted), strict=True):
        found[Key(best.case, metric.probe, metric.cell)][other.target] = line.verdict
    return dict(found)


def _metrics(data: Measurements) -> list[Metric]:
    joules = dict.fromkeys(key.metric for key in data.cells if key.probe == ENERGY.name)
    return [*METRICS, *(Metric(ENERGY.name, name) for name in joules if name.startswith(f"{ENERGY.headline[0]}."))]


def _ranked(data: Measurements, comparison: str, metric: Metric) -> Iterator[tuple[Member, list[Member]]]:
    """Yield the best case of a comparison and the others that have the metric; nothing if there are none."""
    measured = [
        (value, member)
        for member in data.peers(comparison)
        if metric.probe not in member.failures
        and (cell := data.cell(member, metric)) is not None
        and isfinite(value := estimate(cell, metric).value)
    ]
    if len(measured) > 1:
        _, best = min(measured, key=lambda entry: entry[0])
        yield best, [member for _, member in measured if member is not best]
