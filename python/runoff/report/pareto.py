"""Time against memory, cold against warm, size against time: Pareto fronts, of cases that no other beats in both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt
import pandas as pd
from msgspec import Struct

from runoff.report.frame import legend, logarithmic, target_colour, title
from runoff.report.palette import AXIS, INK, SURFACE
from runoff.report.verdicts import PROCESS, WARM

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from runoff.report.frame import Frame
    from runoff.report.overview import Block, Row

_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross")
_HEIGHT = 250
_NAMED = 3
"""Most cases of a front that are named; more are counted."""


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points that no other point beats: lower in one coordinate, at most equal in the other.

    Both coordinates are better when smaller. The result goes from left to right.
    """
    kept: list[int] = []
    lowest = float("inf")
    for index in sorted(range(len(points)), key=lambda index: points[index]):
        if points[index][1] < lowest:
            kept.append(index)
            lowest = points[index][1]
    return kept


def pareto(block: Block, frame: Frame) -> Any:  # noqa: ANN401 - Altair's charts share no type
    """Return memory over process time and over a warm inference, and the one over the other; None below two cases."""
    return _drawn(_sides(block), frame)


def size_chart(block: Block, sizes: Mapping[str, float], frame: Frame) -> Any:  # noqa: ANN401
    """Return the megabytes on disk over process time and over a warm inference; `sizes` is in bytes, by case."""
    size = Axis("on disk, megabytes", lambda row: sizes[row.case] / 1e6 if row.case in sizes else None)
    return _drawn(_sides(block, ((_TIME, size), (_WARM, size))), frame)


def _drawn(sides: Sequence[Side], frame: Frame) -> Any:  # noqa: ANN401
    if not sides:
        return None
    every = pd.concat(table for _, table in sides)
    profiles = list(dict.fromkeys(every["profile"]))
    shape = alt.Scale(domain=profiles, range=[_SHAPES[place % len(_SHAPES)] for place in range(len(profiles))])
    return frame.joined([_panel(table, axes, every, shape, frame) for axes, table in sides])


def front_words(block: Block) -> list[str]:
    """Return the cases on each front, such as ``on the front, process time: ort-rust (cold)``."""
    parts = []
    for (across, up), table in _sides(block):
        what = across.name if up is _MEMORY else f"{up.name} and {across.name}"
        best = table[table["front"]].sort_values("x")
        cases = [f"{target} ({profile})" for target, profile in zip(best["target"], best["profile"], strict=True)]
        more = [f"{len(cases) - _NAMED} more"] if len(cases) > _NAMED else []
        parts.append(f"{what}: {', '.join([*cases[:_NAMED], *more])}")
    return [f"on the front, {part}" for part in parts]


class Axis(Struct, frozen=True):
    """A number of a case, in the unit of its title."""

    title: str
    read: Callable[[Row], float | None]

    @property
    def name(self) -> str:
        """The title without its unit."""
        return self.title.partition(",")[0]


_TIME = Axis(f"{PROCESS}, milliseconds", lambda row: None if row.wall.value is None else row.wall.value / 1e6)
_WARM = Axis(f"{WARM}, milliseconds", lambda row: None if row.warm.value is None else row.warm.value / 1e6)
_MEMORY = Axis("peak memory, megabytes", lambda row: None if row.peak.value is None else row.peak.value / 1e6)
_PAIRS = ((_TIME, _MEMORY), (_WARM, _MEMORY), (_WARM, _TIME))
Side = tuple[tuple[Axis, Axis], pd.DataFrame]
"""The axes of a panel, x first, and its points."""


def _sides(block: Block, pairs: Sequence[tuple[Axis, Axis]] = _PAIRS) -> list[Side]:
    """Return the panels of the fronts; those with fewer than two points are omitted."""
    return [(pair, table) for pair in pairs if len(table := _points(block, *pair)) > 1]


def _points(block: Block, across: Axis, up: Axis) -> pd.DataFrame:
    """Return a row for each case that computes and has both numbers; `front` is whether no other beats it."""
    rows = [row for row in block.rows if row.computes and row.control_of is None]
    table = pd.DataFrame(
        {"target": row.target, "profile": row.profile, "x": x, "y": y}
        for row in rows
        if (x := across.read(row)) is not None and (y := up.read(row)) is not None
    )
    if not table.empty:
        on_front = front(list(zip(table["x"], table["y"], strict=True)))
        table["front"] = [place in on_front for place in range(len(table))]
    return table


def _panel(table: pd.DataFrame, axes: tuple[Axis, Axis], every: pd.DataFrame, shape: Any, frame: Frame) -> Any:  # noqa: ANN401
    width = frame.panel + 40
    across, up = axes
    x = logarithmic(alt.X, "x:Q", _domain(table["x"]), across.title, frame)
    y = logarithmic(alt.Y, "y:Q", _domain(table["y"]), up.title, frame)
    colour = target_colour(every, frame)
    mark = alt.Shape("profile:N", scale=shape, legend=legend(frame, symbolStrokeColor=INK, symbolFillColor=SURFACE))
    best = table[table["front"]].sort_values("x")
    line = alt.Chart(best).mark_line(interpolate="step-after", strokeDash=[4, 3], color=AXIS).encode(x=x, y=y)
    base = alt.Chart(table)
    rest = base.transform_filter("!datum.front").mark_point(size=75, strokeWidth=2, opacity=1)
    kept = base.transform_filter("datum.front").mark_point(size=110, filled=True, opacity=1)
    layers = [line, *(points.encode(x=x, y=y, color=colour, shape=mark) for points in (rest, kept))]
    if frame.crowded:
        # a legend of many colours is not enough to read a front
        names = alt.Chart(best.drop_duplicates("target")).mark_text(align="left", dx=9, dy=-7, fontSize=11, color=INK)
        layers.append(names.encode(x=x, y=y, text="target:N"))
    chart = alt.layer(*layers)
    return chart.properties(width=width, height=_HEIGHT, title=title(f"{up.name} over {across.name}"))


def _domain(values: pd.Series[float]) -> list[float]:
    return [float(values.min()) / 1.15, float(values.max()) * 1.15]
