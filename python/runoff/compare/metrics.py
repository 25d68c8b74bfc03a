"""Names of metrics: ``PROBE.NAME`` as ``summary.csv`` has them, and shorter ones for what is asked for most."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from runoff.probes import PROBES
from runoff.records.errors import RunoffError, did_you_mean
from runoff.statistics import fewest_samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from runoff.analysis.metric_samples import MetricSamples

_STATISTIC = re.compile(r"(?P<cell>.+)\.(?P<statistic>median|mean|p50|p90|p95|p99|p99\.9)")
_WARM = ".warm"


class Metric(Struct, frozen=True):
    """A number that a case may have: a statistic of the samples of one cell."""

    probe: str
    cell: str
    """The metric's name in ``summary.csv`` without its statistic: ``inference.warm``."""
    statistic: str = "median"

    @property
    def summary_name(self) -> str:
        """Its name in the column ``metric`` of ``summary.csv``."""
        return self.cell if self.statistic == "median" else f"{self.cell}.{self.statistic}"

    def __str__(self) -> str:
        names = {metric: alias for alias, metric in PROBES[self.probe].aliases.items()}
        parts = (self.probe, names.get(self.cell, self.cell), self.statistic if self.cell.endswith(_WARM) else "")
        return ".".join(part for part in parts if part)

    @property
    def quantile(self) -> float | None:
        """The share below it when it is a percentile, 0 to 1."""
        return float(self.statistic[1:]) / 100 if self.statistic.startswith("p") else None

    def of(self, samples: NDArray[np.float64]) -> float:
        """Return the statistic of one process's samples, shape ``(samples,)``."""
        return float(self._function(samples))

    def lacks(self, cell: MetricSamples) -> str:
        """Return why `cell` has too few samples for the statistic; empty when it has enough."""
        if self.quantile is None:
            return ""
        needed, n = fewest_samples(self.quantile), sum(map(len, cell.processes))
        return "" if n >= needed else f"{self} needs {needed:,} samples at 99 % confidence, and has {n:,}"

    @property
    def _function(self) -> Callable[[NDArray[np.float64]], np.floating]:
        quantile = self.quantile
        if quantile is not None:
            return lambda samples: np.quantile(samples, quantile)
        return np.mean if self.statistic == "mean" else np.median


def parse_metric(text: str) -> Metric:
    """Return the metric called `text`, such as ``latency.median``, ``life.load`` or ``counters.instructions``.

    Raises
    ------
    RunoffError
        When it is not ``PROBE.NAME``, or there is no such probe.
    """
    probe, dot, name = text.partition(".")
    if not dot or not name:
        raise RunoffError(f"metric {text!r} is not PROBE.NAME", "for example: latency.median, process.wall")
    if probe not in PROBES:
        raise RunoffError(f"metric {text!r}: no probe is called {probe!r}", did_you_mean(probe, PROBES))
    whole = _STATISTIC.fullmatch(text)
    cell, statistic = (whole["cell"], whole["statistic"]) if whole else (text, "median")
    cell = cell.removeprefix(probe).removeprefix(".")
    cell = PROBES[probe].aliases.get(cell, cell)
    if statistic != "median" and not cell.endswith(_WARM):
        raise RunoffError(f"metric {text!r}: only warm times have a {statistic}", "for example: latency.p99")
    return Metric(probe, cell, "median" if statistic == "p50" else statistic)


MAIN = tuple(str(Metric(name, cell)) for name, probe in PROBES.items() for cell in probe.main_metrics)
"""What a comparison shows by default."""
