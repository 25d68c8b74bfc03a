"""How cost grows with a graph: a line through the synthetic networks ``layers_LxK``, for each target and metric.

In each block, an ordinary least squares line is fitted to the medians of the sizes, on plain values: cost = fixed part
+ cost of an operation x operations. Intercepts and slopes of the blocks give the estimates, with
Student's 95% interval.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct
from scipy import stats

from runoff.analysis.metric_samples import Key, Metric, cells
from runoff.models.zoo import operations
from runoff.statistics import CONFIDENCE, Estimate

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from runoff.analysis.metric_samples import MetricSamples
    from runoff.records.schema import Run

METRICS = {
    Metric("process", "wall"): "process time",
    Metric("latency", "load"): "load",
    Metric("latency", "inference.first"): "first inference",
    Metric("latency", "inference.warm"): "warm inference",
}
"""Costs that a line is fitted to, all in ns: cold ones first."""


class Growth(Struct, frozen=True, kw_only=True):
    """A fitted line of one target, workload and setting on one metric, in ns."""

    target: str
    workload: str
    setting: str
    metric: str
    fixed: Estimate
    per_operation: Estimate
    points: dict[int, float]
    """Median over blocks by the number of operations."""


def growth(run: Run, samples: pd.DataFrame) -> list[Growth]:
    """Return the lines of `run`; none for fewer than two sizes in a block."""
    groups: defaultdict[tuple[str, str, str], dict[int, str]] = defaultdict(dict)
    for case in run.info.cases:
        size = operations(case.model)
        if size and case.control_of is None and case.skipped is None:
            groups[case.target, case.workload, ", ".join(case.variant)][size] = case.id
    known = cells(samples) if groups else {}
    found = []
    for (target, workload, setting), by_size in groups.items():
        for metric, words in METRICS.items():
            of_size = {size: known.get(Key(case, metric.probe, metric.cell)) for size, case in sorted(by_size.items())}
            blocks = _by_block({size: cell for size, cell in of_size.items() if cell is not None})
            if blocks:
                fixed, slope = _line(blocks)
                points = {size: float(np.median([block[size] for block in blocks])) for size in sorted(blocks[0])}
                line = Growth(
                    target=target,
                    workload=workload,
                    setting=setting,
                    metric=words,
                    fixed=fixed,
                    per_operation=slope,
                    points=points,
                )
                found.append(line)
    return found


def _by_block(of_size: dict[int, MetricSamples]) -> list[dict[int, float]]:
    """Return the median of each size by block, for the blocks that have all sizes; empty for fewer than two sizes."""
    blocks: defaultdict[int, dict[int, float]] = defaultdict(dict)
    for size, cell in of_size.items():
        for block, process in zip(cell.blocks, cell.processes, strict=True):
            blocks[block][size] = float(np.median(process))
    return [block for block in blocks.values() if len(block) == len(of_size) > 1]


def _line(blocks: list[dict[int, float]]) -> tuple[Estimate, Estimate]:
    """Return intercept and slope over the blocks' lines."""
    fits = np.array([np.polyfit(list(block), list(block.values()), 1) for block in blocks])
    slope, fixed = (_student(fits[:, column]) for column in (0, 1))
    return fixed, slope


def _student(values: NDArray[np.float64]) -> Estimate:
    """Return the mean of values of any sign, shape ``(n,)``, with Student's interval; NaN bounds for one value."""
    middle, n = float(values.mean()), len(values)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * values.std(ddof=1) / n**0.5) if n > 1 else np.nan
    return Estimate(middle, middle - half, middle + half, n)
