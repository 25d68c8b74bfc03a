"""The samples of one metric of one case, ready for statistics."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


class Key(NamedTuple):
    """What a cell is of."""

    case: str
    probe: str
    metric: str


@dataclass(frozen=True)
class Cell:
    """The samples of one metric of one case."""

    unit: str
    processes: tuple[NDArray[np.float64], ...]
    """An array of samples for each process, shape ``(samples,)``."""
    blocks: tuple[int, ...]
    """The block of each process."""

    def pooled(self) -> NDArray[np.float64]:
        """Return the samples of all processes, shape ``(samples,)``."""
        return np.concatenate(self.processes)

    def by_block(self) -> dict[int, float]:
        """Return, for each block, the median of its processes' medians."""
        medians: dict[int, list[float]] = {}
        for block, samples in zip(self.blocks, self.processes, strict=True):
            medians.setdefault(block, []).append(statistics.median(samples.tolist()))
        return {block: statistics.median(values) for block, values in medians.items()}


def metric_name(phase: str, metric: str) -> str:
    """Return the name of a metric in ``summary.csv``, which carries the phase.

    A duration goes by its phase alone: ``load``; others are ``inference.warm``, ``resident.load``, ``wall``.
    """
    if metric == "duration":
        return phase
    return f"{metric}.{phase}" if phase else metric


def cells(samples: pd.DataFrame) -> dict[Key, Cell]:
    """Return the cells of the tidy table `samples`, in the order in which they were measured."""
    made: dict[Key, Cell] = {}
    groups = samples.groupby(["case", "probe", "phase", "metric"], sort=False)
    for (case, probe, phase, metric), rows in groups:
        ordered = rows.sort_values(["process", "sample"])
        _, starts = np.unique(ordered["process"].to_numpy(), return_index=True)
        values = ordered["value"].to_numpy(dtype=np.float64)
        blocks = ordered["block"].to_numpy()[starts]
        made[Key(str(case), str(probe), metric_name(str(phase), str(metric)))] = Cell(
            unit=str(rows["unit"].iloc[0]),
            processes=tuple(np.split(values, starts[1:])),
            blocks=tuple(int(block) for block in blocks),
        )
    return made
