"""Names of metrics: ``PROBE.NAME`` as in ``summary.csv``, and shorter ones for the most common."""

from __future__ import annotations

import re

from runoff.analysis.metric_samples import Metric
from runoff.probes import PROBES
from runoff.probes.base import DISTRIBUTED
from runoff.records.errors import RunoffError, did_you_mean

_STATISTIC = re.compile(r"(?P<cell>.+)\.(?P<statistic>median|mean|p50|p90|p95|p99|p99\.9)")


def parse_metric(text: str) -> Metric:
    """Return the metric called `text`, such as ``latency.median``, ``life.load`` or ``counters.instructions``.

    Raises
    ------
    RunoffError
        If it is not ``PROBE.NAME``, or there is no such probe.
    """
    probe, dot, name = text.partition(".")
    if not dot or not name:
        raise RunoffError(f"metric {text!r} is not PROBE.NAME", "for example: latency.median, process.wall")
    if probe not in PROBES:
        raise RunoffError(f"metric {text!r}: no probe {probe!r}", did_you_mean(probe, PROBES))
    match = _STATISTIC.fullmatch(text)
    cell, statistic = (match["cell"], match["statistic"]) if match else (text, "median")
    cell = cell.removeprefix(probe).removeprefix(".")
    cell = PROBES[probe].aliases.get(cell, cell)
    if statistic != "median" and not cell.endswith(DISTRIBUTED):
        raise RunoffError(f"metric {text!r}: only warm times have a {statistic}", "for example: latency.p99")
    return Metric(probe, cell, "median" if statistic == "p50" else statistic)


MAIN = tuple(str(Metric(name, cell)) for name, probe in PROBES.items() for cell in probe.main_metrics)
"""Metrics that a comparison shows by default."""
