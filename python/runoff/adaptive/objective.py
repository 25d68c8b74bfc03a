"""What a search compares: a number in the records of a probe, of which less is better."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from runoff.probes import PROBES
from runoff.probes.base import metric_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from runoff.records.schema import Case, MeterInfo, Record


class Objective(Struct, frozen=True, kw_only=True):
    """A number of a case of which less is better."""

    name: str
    what: str
    """It in words."""
    unit: str
    """``ns``, ``bytes`` or ``J``."""
    metrics: dict[str, tuple[str, ...]]
    """By probe that has it: the metrics whose sum it is. The first is measured."""
    per_item: bool = False
    """Whether it is divided by the items of an inference."""

    @property
    def probe(self) -> str:
        """The probe that is measured."""
        return next(iter(self.metrics))

    @property
    def process(self) -> bool:
        """Whether it is of a process from start to exit."""
        return PROBES[self.probe].engine != "interleaved"

    def values(self, record: Record, case: Case, meters: Sequence[MeterInfo] = ()) -> NDArray[np.float64]:
        """Return the samples in a record of one of its probes, shape ``(samples,)``; empty if it has none."""
        found: dict[str, list[float]] = {}
        for sample in PROBES[record.probe].read(record, meters):
            found.setdefault(metric_name(sample.phase, sample.metric), []).append(sample.value)
        columns = [self._column(name, found) for name in self.metrics[record.probe]]
        divisor = case.settings.batch if self.per_item else 1
        return np.sum(columns, axis=0) / divisor if all(columns) else np.empty(0)

    @staticmethod
    def _column(name: str, found: dict[str, list[float]]) -> list[float]:
        """Return the samples of a metric; a name that ends in a dot is the first that begins so."""
        if not name.endswith("."):
            return found.get(name, [])
        return next((values for key, values in found.items() if key.startswith(name) and "gross" not in key), [])


OBJECTIVES = {
    one.name: one
    for one in (
        Objective(name="cold", what="time of a process, start to exit", unit="ns", metrics={"process": ("wall",)}),
        Objective(name="latency", what="warm inference", unit="ns", metrics={"latency": ("inference.warm",)}),
        Objective(
            name="throughput",
            what="warm inference per item",
            unit="ns",
            metrics={"latency": ("inference.warm",)},
            per_item=True,
        ),
        Objective(
            name="memory",
            what="peak memory of a process",
            unit="bytes",
            metrics={"memory": ("peak_memory",), "process": ("peak_memory",)},
        ),
        Objective(name="cpu", what="CPU time of a process", unit="ns", metrics={"process": ("user", "system")}),
        Objective(name="energy", what="energy of a process", unit="J", metrics={"energy": ("process.",)}),
    )
}
