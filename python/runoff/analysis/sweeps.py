"""Sweeps: what each value of a setting costs, compared with the first value, for one target at a time.

Cases that differ in one setting alone make a sweep; its first value in the plan is the default that the others are
compared with. Every block has a process of each case, so ratios are paired by block.
"""

from __future__ import annotations

from collections import defaultdict
from math import log
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from runoff.analysis.metric_samples import Key, Metric, cells, pair
from runoff.analysis.validity import computes
from runoff.analysis.verdict import Verdict, decide
from runoff.statistics import Estimate, Ratio, adjust, paired

if TYPE_CHECKING:
    import pandas as pd

    from runoff.records.schema import Case, Run

METRICS = (
    Metric("process", "wall"),
    Metric("life", "whole"),
    Metric("latency", "inference.first"),
    Metric("latency", "inference.warm"),
    Metric("memory", "peak_memory"),
)
"""Numbers that are compared over a sweep, if they were measured."""
_PER_ITEM = Metric("latency", "inference.warm")
"""Over the batch, its time is that of one item."""
DEFAULT = "default"
"""Value of a setting that a case leaves to its profile."""


class SweptValue(Struct, frozen=True, kw_only=True):
    """One value of the setting, on one metric."""

    case: str
    value: str
    estimate: Estimate
    """In the metric's unit; per item if the sweep's numbers are."""
    verdict: Verdict
    """Compared with the first value: above 1 takes less."""


class Sweep(Struct, frozen=True, kw_only=True):
    """The values of one setting, of cases that are otherwise alike, on one metric."""

    model: str
    workload: str
    target: str
    setting: str
    others: str
    """The settings that the cases share, as text."""
    metric: Metric
    unit: str
    per_item: bool
    steps: tuple[SweptValue, ...]
    """In the order of the plan; the first is what the others are compared with."""

    @property
    def words(self) -> str:
        """The metric as text."""
        return f"{_WORDS[self.metric]}{' per item' if self.per_item else ''}"


_NAMES = ("process time", "process time, phases", "first inference", "warm inference", "peak memory")
_WORDS = dict(zip(METRICS, _NAMES, strict=True))


def sweeps(run: Run, samples: pd.DataFrame, summary: pd.DataFrame) -> list[Sweep]:
    """Return every sweep of `run`, in the order of the plan; `samples` and `summary` are its tables."""
    known = cells(samples)
    lines = {(line["case"], line["probe"], line["metric"]): line for line in summary.to_dict("records")}
    found = []
    for (model, workload, target, setting, others), cases in _groups(run).items():
        for metric in METRICS:
            per_item = setting == "batch" and metric == _PER_ITEM
            values = _values(cases, metric, known, lines, per_item=per_item)
            if len(values) > 1:
                unit = str(lines[values[0].case, *_name(metric)]["unit"])
                words = ", ".join(f"{key} {value}" for key, value in others if key != "profile" or value != DEFAULT)
                sweep = Sweep(
                    model=model,
                    workload=workload,
                    target=target,
                    setting=setting,
                    others=words,
                    metric=metric,
                    unit=unit,
                    per_item=per_item,
                    steps=tuple(values),
                )
                found.append(sweep)
    return _corrected(found)


def _name(metric: Metric) -> tuple[str, str]:
    return metric.probe, metric.cell


def settings_of(case: Case) -> dict[str, str]:
    """Return the settings of a case as text; those that its profile decides are missing."""
    if len(case.variant) < 3:  # noqa: PLR2004 (profile, threads, batch)
        return {}
    profile, threads, batch, *others = case.variant
    named = dict(word.split("-", 1) for word in others)
    return {"profile": profile, "threads": threads[1:], "batch": batch[1:], **named}


def _groups(run: Run) -> dict[tuple[Any, ...], dict[str, Case]]:
    """Return the cases by the value of a setting, for each setting and each group of cases that differ in it alone."""
    cases = [
        (case, settings_of(case))
        for case in run.info.cases
        if case.control_of is None and case.skipped is None and computes(run, case.target)
    ]
    keys = dict.fromkeys(key for _, settings in cases for key in settings)
    groups: defaultdict[tuple[Any, ...], dict[str, Case]] = defaultdict(dict)
    for key in keys:
        for case, settings in cases:
            others = tuple((name, value) for name, value in settings.items() if name != key)
            place = (case.model, case.workload, case.target, key, others)
            groups[place].setdefault(settings.get(key, DEFAULT), case)
    return {place: values for place, values in groups.items() if len(values) > 1}


def _values(
    cases: dict[str, Case], metric: Metric, known: dict[Key, Any], lines: dict[Any, Any], *, per_item: bool
) -> list[SweptValue]:
    """Return the values of a sweep that were measured, with uncorrected verdicts."""
    values: list[SweptValue] = []
    first: Case | None = None
    for value, case in cases.items():
        cell, line = known.get(Key(case.id, *_name(metric))), lines.get((case.id, *_name(metric)))
        if cell is None or line is None or not line["n"]:
            continue
        first = first or case
        items = case.settings.batch if per_item else 1
        middle, low, high = (float(line[name]) / items for name in ("estimate", "low", "high"))
        estimate = Estimate(middle, low, high, int(line["n"]))
        verdict = Verdict("baseline", unit=cell.unit)
        if case is not first:
            gain = log(items / first.settings.batch) if per_item else 0.0
            logs = [one + gain for one in pair(cell, known[Key(first.id, *_name(metric))])]
            ratio = paired(logs) if logs else Ratio(np.nan, np.nan, np.nan, 0, np.nan)
            floor = float(lines[first.id, *_name(metric)]["floor"])
            verdict = decide(ratio, ratio.p, None if np.isnan(floor) else floor, cell.unit)
        values.append(SweptValue(case=case.id, value=value, estimate=estimate, verdict=verdict))
    return values


def _corrected(found: list[Sweep]) -> list[Sweep]:
    """Return the sweeps with p-values corrected for many comparisons: those of one metric and setting together."""
    others = [(sweep, one) for sweep in found for one in sweep.steps[1:]]
    families = [(sweep.setting, sweep.metric) for sweep, _ in others]
    ps = iter(adjust([one.verdict.p_adjusted for _, one in others], families))
    return [
        replace(sweep, steps=(sweep.steps[0], *(_decided(one, next(ps)) for one in sweep.steps[1:]))) for sweep in found
    ]


def _decided(one: SweptValue, p: float) -> SweptValue:
    """Return a value of a setting with the verdict that its corrected p-value gives."""
    old = one.verdict
    if old.kind == "not comparable":
        return one
    floor = None if np.isnan(old.floor) else old.floor
    return replace(one, verdict=decide(Ratio(old.ratio, old.low, old.high, one.estimate.n, p), p, floor, old.unit))
