"""The trend of a case: each metric over the runs, and next to it the ratio to the baseline of each run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import altair as alt
import pandas as pd
import vl_convert

from runoff.report.page.svg import small
from runoff.report.plots import styled
from runoff.report.text import Figure, scale

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runoff.history.series import Series

_HEIGHT, _STEP, _LEAST, _MOST = 170, 64, 260, 900
"""Pixels: height of a plot, width per run, and the smallest and largest width of a plot."""
_LABEL = 190
"""Longest name of a version, in pixels."""
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito's scheme; from the eighth machine on they repeat with a different shape."""
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross")
_RULE = "#888888"


def draw(case: str, all_series: Sequence[Series], machines: Mapping[str, str]) -> str:
    """Return the plot of a case as an SVG."""
    return small(vl_convert.vegalite_to_svg(styled(trend(case, all_series, machines)).to_json()))


def trend(case: str, all_series: Sequence[Series], machines: Mapping[str, str]) -> Any:  # noqa: ANN401 (charts share no type)
    """Return the Altair chart of a case: a row for each of its series; `machines` has a letter for each, by its key."""
    rows, named = [], None
    for one in all_series:
        new = [(point.run, point.new) for point in one.points]
        panels = _panels(one, machines, named=new != named)
        rows.append(alt.hconcat(*panels, spacing=36).resolve_scale(color="shared", shape="shared"))
        named = new
    notes = ["values with 95% intervals, in order of time; dashed: a version changed since the previous run"]
    if any(point.relative_to for one in all_series for point in one.points):
        notes.append("right: the baseline's value divided by the case's; a slowdown of an entire run cancels out")
    title = alt.TitleParams(case, subtitle=notes)
    return alt.vconcat(*rows).resolve_scale(color="shared", shape="shared").properties(title=title)


def _panels(one: Series, machines: Mapping[str, str], *, named: bool) -> list[Any]:
    """Return the plot of the values and, if any run has them, of the ratios."""
    divisor, unit, _ = scale(next(point.figure for point in reversed(one.points) if point.measured))
    base = next((point.relative_to for point in reversed(one.points) if point.relative_to), "")
    values = [_scaled(point.figure, divisor) for point in one.points]
    panels = [_panel(one, machines, values, f"{one.metric} ({unit})" if unit else one.metric, named=named)]
    if base:
        ratios = [point.relative if point.relative_to == base else Figure() for point in one.points]
        panel = _panel(one, machines, ratios, f"times better than {base}", named=named)
        panels.append(alt.layer(alt.Chart().mark_rule(color=_RULE).encode(y=alt.YDatum(1.0)), panel))
    return panels


def _scaled(figure: Figure, divisor: float) -> Figure:
    value, low, high = (None if x is None else x / divisor for x in (figure.value, figure.low, figure.high))
    return Figure(value, low, high)


def _panel(one: Series, machines: Mapping[str, str], figures: Sequence[Figure], title: str, *, named: bool) -> Any:  # noqa: ANN401
    """Return a plot of `figures`, one for each point, over the runs."""
    firsts = {point.machine_key: point.run for point in reversed(one.points)}
    table = pd.DataFrame(
        {
            "run": point.run,
            "machine": machines[point.machine_key],
            "new": "\n".join(point.new),
            "changed": bool(point.new) and point.run != firsts[point.machine_key],
            "value": figure.value,
            "low": figure.low,
            "high": figure.high,
        }
        for point, figure in zip(one.points, figures, strict=True)
    )
    letters = sorted(set(machines.values()))
    legend = alt.Legend(title="machine", symbolOpacity=1) if len(letters) > 1 else None
    colour = alt.Color("machine:N", scale=_scale(letters, _COLOURS), legend=legend)
    shape = alt.Shape("machine:N", scale=_scale(letters, _SHAPES), legend=legend)
    y = alt.Y("value:Q", title=title, scale=alt.Scale(zero=False), axis=alt.Axis(minExtent=44))
    base = alt.Chart(table).encode(x=_runs(one))
    return alt.layer(
        *_rules(base, named=named),
        base.mark_line(strokeWidth=1, opacity=0.5).encode(y=y, color=colour),
        base.mark_rule(strokeWidth=2).encode(y="low:Q", y2="high:Q", color=colour),
        base.mark_point(filled=True, size=60, opacity=1).encode(y=y, color=colour, shape=shape),
        width=min(max(_LEAST, _STEP * len(one.points)), _MOST),
        height=_HEIGHT,
    )


def _runs(one: Series) -> alt.X:
    """Return the horizontal axis: the runs, each with its day and time."""
    times = {point.run: [f"{point.started:%Y-%m-%d}", f"{point.started:%H:%M}"] for point in one.points}
    axis = alt.Axis(labelAngle=0, labelExpr=f"({json.dumps(times)})[datum.value]", labelFontSize=10, labelOverlap=True)
    return alt.X("run:N", sort=list(times), scale=alt.Scale(domain=list(times)), title=None, axis=axis)


def _rules(base: Any, *, named: bool) -> Iterator[Any]:  # noqa: ANN401
    """Yield dashed rules where a version changed, with the names of first and new versions above the plot."""
    yield base.transform_filter("datum.changed").mark_rule(strokeDash=[4, 3], color=_RULE)
    if named:
        new = base.transform_filter("datum.new != ''")
        style = {"fontSize": 9, "lineBreak": "\n", "lineHeight": 11, "color": "#555", "limit": _LABEL}
        yield new.mark_text(angle=270, align="left", baseline="middle", **style).encode(y=alt.value(-5), text="new:N")


def _scale(letters: Sequence[str], values: Sequence[str]) -> alt.Scale:
    return alt.Scale(domain=list(letters), range=[values[place % len(values)] for place in range(len(letters))])
