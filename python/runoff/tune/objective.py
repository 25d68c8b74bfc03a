"""Objectives and limits: what is measured, by which probe, and the number in a record, of which less is better."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from runoff.compare.limits import UNITS
from runoff.probes import PROBES
from runoff.probes.base import metric_name
from runoff.records.errors import RunoffError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from runoff.records.schema import Case, MeterInfo, Record

_NUMBER = r"\d+\.?\d*(?:[eE][+-]?\d+)?"
_LIMIT = re.compile(rf"\s*(?P<name>\w+)\s*(?P<sign>[<>])\s*(?P<value>{_NUMBER})\s*(?P<unit>/s|[A-Za-zµ]*)\s*")
_GRAMMAR = "write it as 'memory < 200MB', 'cold < 80ms', 'latency < 5ms' or 'throughput > 100/s'"


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


class Limit(Struct, frozen=True, kw_only=True):
    """A bound that a candidate must keep to."""

    text: str
    objective: Objective
    most: float
    """In the objective's unit."""


def parse_limit(text: str) -> Limit:
    """Return the limit in a text such as ``memory < 200MB``.

    Raises
    ------
    RunoffError
        If it is not a limit; the message contains it.
    """
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise RunoffError(f"--limit {text!r} is not valid", _GRAMMAR)
    name, value = match["name"], float(match["value"])
    if name not in OBJECTIVES:
        raise RunoffError(f"--limit {text!r}: unknown objective {name!r}", did_you_mean(name, OBJECTIVES))
    objective, rate = OBJECTIVES[name], name == "throughput"
    if match["sign"] != (">" if rate else "<"):
        raise RunoffError(f"--limit {text!r}: {name} is bounded from {'below' if rate else 'above'}", _GRAMMAR)
    if rate:
        unit, most = ("ns" if match["unit"] == "/s" else ""), 1e9 / value if value else 0.0
    else:
        unit, factor = UNITS.get(match["unit"], ("", 0.0))
        most = value * factor
    if unit != objective.unit or not most:
        raise RunoffError(f"--limit {text!r}: unit {match['unit']!r} does not fit {name}", _GRAMMAR)
    return Limit(text=" ".join(text.split()), objective=objective, most=most)
