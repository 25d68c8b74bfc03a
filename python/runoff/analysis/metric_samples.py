"""The samples of one metric of one case, ready for statistics."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from msgspec import Struct

from runoff.probes import PROBES
from runoff.probes.base import DISTRIBUTED, WARM_UP, metric_name
from runoff.statistics import fewest_samples

if TYPE_CHECKING:
    from collections.abc import Collection

    import pandas as pd
    from numpy.typing import NDArray


class Key(NamedTuple):
    """Case, probe and metric of a `MetricSamples`."""

    case: str
    probe: str
    metric: str


@dataclass(frozen=True)
class MetricSamples:
    """The samples of one metric of one case."""

    unit: str
    processes: tuple[NDArray[np.float64], ...]
    """An array of samples for each process, shape ``(samples,)``."""
    blocks: tuple[int, ...]
    """The block of each process."""

    def by_block(self) -> dict[int, float]:
        """Return the median of each block's process."""
        return {block: float(np.median(own)) for block, own in zip(self.blocks, self.processes, strict=True)}

    def pooled(self) -> NDArray[np.float64]:
        """Return the samples of all processes, shape ``(samples,)``."""
        return np.concatenate(self.processes)


class Metric(Struct, frozen=True):
    """A number that a case may have: a statistic of the samples of one metric."""

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
        parts = (self.probe, names.get(self.cell, self.cell), self.statistic if self.cell.endswith(DISTRIBUTED) else "")
        return ".".join(part for part in parts if part)

    @property
    def quantile(self) -> float | None:
        """The share below it when it is a percentile, 0 to 1."""
        return float(self.statistic[1:]) / 100 if self.statistic.startswith("p") else None

    def of(self, samples: NDArray[np.float64]) -> float:
        """Return the statistic of one process's samples, shape ``(samples,)``."""
        if self.quantile is not None:
            return float(np.quantile(samples, self.quantile))
        return float(np.mean(samples) if self.statistic == "mean" else np.median(samples))

    def shortage(self, cell: MetricSamples) -> str:
        """Return the reason if `cell` has too few samples for the statistic; empty if it has enough."""
        if self.quantile is None:
            return ""
        needed, n = fewest_samples(self.quantile), sum(map(len, cell.processes))
        return "" if n >= needed else f"{self} needs {needed:,} samples at 99% confidence, and has {n:,}"

    def condensed(self, cell: MetricSamples) -> MetricSamples:
        """Return `cell` with the statistic of each process in place of its samples; for a median, `cell` itself."""
        if self.statistic == "median":
            return cell
        return replace(cell, processes=tuple(np.array([self.of(samples)]) for samples in cell.processes))


def pair(case: MetricSamples, baseline: MetricSamples, together: Collection[int] = ()) -> list[NDArray[np.float64]]:
    """Return the logarithms of baseline / case for each block that both have, shape ``(pairs,)``.

    In blocks of `together` the two processes were interleaved: samples of the same index are a pair. In the others the
    median of the processes' medians makes one pair. Pairs with a value that is not above zero are omitted.
    """
    logs = []
    theirs = _by_block(baseline)
    for block, mine in _by_block(case).items():
        if block not in theirs:
            continue
        sides = (theirs[block], mine)
        if block in together and all(len(side) == 1 for side in sides):
            shared = min(len(side[0]) for side in sides)
            pairs = np.stack([side[0][:shared] for side in sides])
        else:
            pairs = np.array([[np.median([np.median(samples) for samples in side])] for side in sides])
        pairs = pairs[:, (pairs > 0).all(axis=0)]
        if pairs.size:
            over, under = np.log(pairs)
            logs.append(over - under)
    return logs


def _by_block(cell: MetricSamples) -> dict[int, list[NDArray[np.float64]]]:
    blocks: dict[int, list[NDArray[np.float64]]] = {}
    for block, samples in zip(cell.blocks, cell.processes, strict=True):
        blocks.setdefault(block, []).append(samples)
    return blocks


def cells(samples: pd.DataFrame) -> dict[Key, MetricSamples]:
    """Return the cells of the tidy table `samples`, in the order in which they were measured; none of warm-up."""
    by_key: dict[Key, MetricSamples] = {}
    measured = samples[samples["phase"] != WARM_UP]
    orders = measured[["process", "sample"]].to_numpy()
    values, blocks, units = (measured[name].to_numpy() for name in ("value", "block", "unit"))
    groups = measured.groupby(["case", "probe", "phase", "metric"], sort=False)
    indices = cast("dict[tuple[str, str, str, str], NDArray[np.int64]]", groups.indices)
    for (case, probe, phase, metric), rows in indices.items():
        ordered = rows[np.lexsort((orders[rows, 1], orders[rows, 0]))]
        _, starts = np.unique(orders[ordered, 0], return_index=True)
        by_key[Key(case, probe, metric_name(phase, metric))] = MetricSamples(
            unit=str(units[ordered[0]]),
            processes=tuple(np.split(values[ordered].astype(np.float64), starts[1:])),
            blocks=tuple(int(block) for block in blocks[ordered[starts]]),
        )
    return by_key
