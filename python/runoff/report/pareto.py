"""Time and memory: the Pareto front, of cases that no other case beats in both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt
import pandas as pd

from runoff.report.frame import legend, logarithmic, target_colour, title
from runoff.report.palette import AXIS, INK, SURFACE
from runoff.report.verdicts import PROCESS, WARM

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runoff.report.frame import Frame
    from runoff.report.overview import Block, Row
    from runoff.report.text import Figure

_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross")
_HEIGHT = 250


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
    """Return peak memory over process time and over a warm inference, with the front; None below two cases."""
    curves = _sides(block)
    if not curves:
        return None
    every = pd.concat(table for _, table in curves)
    profiles = list(dict.fromkeys(every["profile"]))
    shape = alt.Scale(domain=profiles, range=[_SHAPES[place % len(_SHAPES)] for place in range(len(profiles))])
    return frame.joined([_panel(table, what, every, shape, frame) for what, table in curves])


def front_words(block: Block) -> str:
    """Return the cases on the front, such as ``on the front, process time: ort-rust (cold); warm inference: ...``."""
    parts = []
    for what, table in _sides(block):
        best = table[table["front"]].sort_values("ms")
        cases = (f"{target} ({profile})" for target, profile in zip(best["target"], best["profile"], strict=True))
        parts.append(f"{what}: {', '.join(cases)}")
    return f"on the front, {'; '.join(parts)}"


def _sides(block: Block) -> list[tuple[str, pd.DataFrame]]:
    """Return the kinds of time to plot memory over, with their points; kinds with fewer than two are omitted."""
    sides = ((PROCESS, lambda row: row.wall), (WARM, lambda row: row.warm))
    return [(what, table) for what, read in sides if len(table := _points(block, read)) > 1]


def _points(block: Block, read: Callable[[Row], Figure]) -> pd.DataFrame:
    """Return a row for each case that computes and has both figures; `front` is whether no other beats it."""
    rows = [row for row in block.rows if row.computes and row.control_of is None]
    table = pd.DataFrame(
        {"target": row.target, "profile": row.profile, "ms": time / 1e6, "mb": peak / 1e6}
        for row in rows
        if (time := read(row).value) is not None and (peak := row.peak.value) is not None
    )
    if not table.empty:
        on_front = front(list(zip(table["ms"], table["mb"], strict=True)))
        table["front"] = [place in on_front for place in range(len(table))]
    return table


def _panel(table: pd.DataFrame, what: str, every: pd.DataFrame, shape: Any, frame: Frame) -> Any:  # noqa: ANN401
    width = frame.panel + 40
    across, up = _domain(table["ms"]), _domain(every["mb"])
    x = logarithmic(alt.X, "ms:Q", across, f"{what}, milliseconds", frame)
    y = logarithmic(alt.Y, "mb:Q", up, "peak memory, megabytes", frame)
    colour = target_colour(every, frame)
    mark = alt.Shape("profile:N", scale=shape, legend=legend(frame, symbolStrokeColor=INK, symbolFillColor=SURFACE))
    best = table[table["front"]].sort_values("ms")
    line = alt.Chart(best).mark_line(interpolate="step-after", strokeDash=[4, 3], color=AXIS).encode(x=x, y=y)
    base = alt.Chart(table)
    rest = base.transform_filter("!datum.front").mark_point(size=75, strokeWidth=2, opacity=1)
    kept = base.transform_filter("datum.front").mark_point(size=110, filled=True, opacity=1)
    chart = alt.layer(line, *(points.encode(x=x, y=y, color=colour, shape=mark) for points in (rest, kept)))
    return chart.properties(width=width, height=_HEIGHT, title=title(f"memory over {what}"))


def _domain(values: pd.Series[float]) -> list[float]:
    return [float(values.min()) / 1.15, float(values.max()) * 1.15]
