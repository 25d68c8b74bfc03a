"""Figures of sweeps: one for each swept setting, and one of cost by the size of a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
import pandas as pd

from runoff.report.frame import target_colour, title
from runoff.report.palette import AXIS, INK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runoff.analysis.growth import Growth
    from runoff.analysis.sweeps import Sweep
    from runoff.report.frame import Frame

_HEIGHT = 190


def by_setting(found: Sequence[Sweep]) -> Iterator[tuple[str, str, list[Sweep]]]:
    """Yield a name, a title and the sweeps of each figure: those of one setting, model and workload, others alike."""
    groups: dict[tuple[str, str, str, str], list[Sweep]] = {}
    for sweep in found:
        if sweep.setting == "profile":  # other figures have a panel for each
            continue
        groups.setdefault((sweep.setting, sweep.model, sweep.workload, sweep.others), []).append(sweep)
    for place, ((setting, model, workload, others), group) in enumerate(groups.items()):
        first = group[0].steps[0].value
        where = f"{setting} from {first}; {model}, {workload}" + (f"; {others}" if others else "")
        yield f"sweep-{setting}-{model}-{workload}-{place}", where, group


def sweep_chart(group: Sequence[Sweep], frame: Frame) -> Any:  # noqa: ANN401 - Altair's charts share no type
    """Return a panel per metric: how many times less each value takes than the first, with intervals."""
    table = pd.DataFrame(
        {
            "metric": sweep.words,
            "target": sweep.target,
            "value": one.value,
            "ratio": one.verdict.ratio if one is not sweep.steps[0] else 1.0,
            "low": one.verdict.low if one is not sweep.steps[0] else 1.0,
            "high": one.verdict.high if one is not sweep.steps[0] else 1.0,
            "ideal": _ideal(sweep, one.value),
        }
        for sweep in group
        for one in sweep.steps
    ).dropna(subset=["ratio"])
    if table["value"].nunique() < 2:  # noqa: PLR2004 (nothing to compare)
        return None
    order = _ordered(list(dict.fromkeys(table["value"])))
    colour = target_colour(table, frame)
    setting = group[0].setting
    return frame.joined(
        [
            _sweep_panel(part, str(words), order, setting, colour, frame)
            for words, part in table.groupby("metric", sort=False)
        ]
    )


def _ideal(sweep: Sweep, value: str) -> float | None:
    """Return the speed-up that as many times the threads would ideally give."""
    first = sweep.steps[0].value
    timed = sweep.unit == "ns" and sweep.setting == "threads"
    return int(value) / int(first) if timed and value.isdecimal() and first.isdecimal() else None


def _ordered(values: list[str]) -> list[str]:
    return sorted(values, key=int) if all(value.isdecimal() for value in values) else values


def _sweep_panel(part: pd.DataFrame, words: str, order: list[str], setting: str, colour: Any, frame: Frame) -> Any:  # noqa: ANN401
    shift = alt.XOffset("target:N")
    x = alt.X("value:N", sort=order, title=setting, axis=alt.Axis(labelAngle=0))
    if frame.crowded:
        x = x.scale(paddingInner=0.3, paddingOuter=0.1)
    # from the points: an interval of few blocks may be so wide that nothing else would be seen
    seen = pd.concat([part["ratio"], part["ideal"].dropna()])
    domain = [float(seen.min()) / 1.4, float(seen.max()) * 1.4]
    scale = alt.Scale(type="log", nice=False, domain=domain)
    height = {"title": "first value / this one (log scale)", "scale": scale}
    y = alt.Y("ratio:Q", **height)
    base = alt.Chart(part)
    one = alt.Chart(pd.DataFrame({"ratio": [1.0]})).mark_rule(color=AXIS).encode(y="ratio:Q")
    bars = base.mark_rule(strokeWidth=2, clip=True).encode(
        x=x, xOffset=shift, y=alt.Y("low:Q", **height), y2="high:Q", color=colour
    )
    points = base.mark_point(size=60, filled=True, opacity=1).encode(x=x, xOffset=shift, y=y, color=colour)
    layers = [one, bars, points]
    if part["ideal"].notna().any():
        ideal = base.mark_line(strokeDash=[4, 3], color=INK, strokeWidth=1)
        layers.insert(0, ideal.encode(x=x, y=alt.Y("max(ideal):Q", **height)))
    return alt.layer(*layers).properties(width=frame.panel, height=_HEIGHT, title=title(words))


def growth_chart(found: Sequence[Growth], frame: Frame) -> Any:  # noqa: ANN401
    """Return a panel for each cost: its medians and fitted lines over the number of operations."""
    points, lines = [], []
    for line in found:
        name = {"metric": line.metric, "target": line.target}
        points += [{**name, "operations": size, "ms": value / 1e6} for size, value in line.points.items()]
        sizes = np.linspace(min(line.points), max(line.points), 40)
        fitted = (line.fixed.value + line.per_operation.value * sizes) / 1e6
        lines += [{**name, "operations": size, "ms": ms} for size, ms in zip(sizes, fitted, strict=True)]
    table, fits = pd.DataFrame(points), pd.DataFrame(lines)
    colour = target_colour(table, frame)
    panels = []
    for words, part in table.groupby("metric", sort=False):
        x = alt.X("operations:Q", title="operations in the graph")
        y = alt.Y("ms:Q", title="milliseconds (log scale)", scale=alt.Scale(type="log", nice=False))
        marks = alt.Chart(part).mark_point(size=60, filled=True, opacity=1).encode(x=x, y=y, color=colour)
        fit = fits[(fits["metric"] == words) & (fits["ms"] > 0)]
        drawn = alt.Chart(fit).mark_line(strokeWidth=1.5).encode(x=x, y=y, color=colour)
        panels.append(alt.layer(drawn, marks).properties(width=frame.panel, height=_HEIGHT, title=title(str(words))))
    return frame.joined(panels)
