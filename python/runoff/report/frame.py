"""Shared parts of all charts: their sizes, axes, colours and titles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from runoff.report.families import family_of
from runoff.report.palette import target_colours

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from runoff.report.overview import Block

BAR = 26
"""Height of a bar with its gap, in pixels."""
_GAP = 22
"""Between panels."""
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
"""Of lines of different targets."""


class Frame(Struct, frozen=True, kw_only=True):
    """The sizes of a figure, in pixels."""

    panel: int
    """Width of a panel, without the names to its left."""
    names: int
    """Longest name of a target."""
    side_by_side: bool
    """Whether two panels are placed side by side."""
    columns: int
    """Entries in a line of the legend."""
    colours: dict[str, str] = {}
    """Of the run's targets, in the order of legends; without any, those of a chart's own targets."""
    crowded: bool = False
    """Whether the run has many targets: bars go by their values, and dashes distinguish lines of a family."""

    def joined(self, panels: list[Any]) -> Any:  # noqa: ANN401 - Altair's charts share no type
        """Return `panels` as one chart, side by side if the frame is wide enough."""
        if len(panels) == 1:
            return panels[0]
        return alt.concat(*panels, columns=2, spacing=_GAP) if self.side_by_side else alt.vconcat(*panels, spacing=_GAP)

    def rows(self, rows: list[list[Any]]) -> Any:  # noqa: ANN401
        """Return rows of panels as one chart, in columns if all rows are pairs."""
        if all(len(row) == 2 for row in rows):  # noqa: PLR2004
            return self.joined([panel for row in rows for panel in row])
        return alt.vconcat(*map(self.joined, rows), spacing=_GAP)

    def crowd(self, colours: dict[str, str]) -> Frame:
        """Return the frame for a run of many targets with these colours: their legend has more lines."""
        return replace(self, colours=colours, crowded=True, columns=(self.columns + 1) // 2)


WIDE = Frame(panel=370, names=150, side_by_side=True, columns=12)
"""For a page, a screen or a slide."""
NARROW = Frame(panel=232, names=100, side_by_side=False, columns=3)
"""For a phone held upright."""


def of_block(table: pd.DataFrame, block: Block) -> pd.DataFrame:
    """Return the rows of the block's cases, in the order of the block, with the block's names of the profiles."""
    order = {row.case: place for place, row in enumerate(block.rows)}
    selected = table[table["case"].isin(order)]
    selected = selected.assign(profile=selected["case"].map({row.case: row.profile for row in block.rows}))
    return selected.sort_values("case", key=lambda cases: cases.map(order), kind="stable")


def per_profile(table: pd.DataFrame, frame: Frame, panel: Callable[[pd.DataFrame, str], Any]) -> Any:  # noqa: ANN401
    """Return a panel for each profile, in the order of the table."""
    return frame.joined([panel(part, f"profile {profile}") for profile, part in table.groupby("profile", sort=False)])


def title(text: str) -> Any:  # noqa: ANN401
    """Return the title of a panel."""
    return alt.TitleParams(text, fontSize=12, offset=6)


def names(targets: list[str], frame: Frame, **more: Any) -> Any:  # noqa: ANN401
    """Return a y axis with the names of `targets`, in this order."""
    axis = alt.Axis(labelLimit=frame.names, labelPadding=6, domain=False, ticks=False)
    return alt.Y("target:N", sort=targets, title=None, axis=axis, **more)


def target_colour(table: pd.DataFrame, frame: Frame) -> Any:  # noqa: ANN401
    """Return the colours of the targets of `table`, with a legend above the panels."""
    colours = _colours(table, frame)
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    return alt.Color("target:N", scale=scale, legend=legend(frame))


def family_dash(table: pd.DataFrame, frame: Frame) -> dict[str, Any]:
    """Return the encoding that dashes lines, other for each target of a family; none if the frame is not crowded."""
    if not frame.crowded:
        return {}
    families = [family_of(target) for target in _colours(table, frame)]
    dashes = [DASHES[families[:place].count(family) % len(DASHES)] for place, family in enumerate(families)]
    scale = alt.Scale(domain=list(_colours(table, frame)), range=dashes)
    return {"strokeDash": alt.StrokeDash("target:N", scale=scale, legend=legend(frame, symbolType="stroke"))}


def in_order_of(table: pd.DataFrame, field: str, frame: Frame, *, ascending: bool = True) -> pd.DataFrame:
    """Return the rows by the values of `field` if the frame is crowded, else in the order of the plan."""
    return table.sort_values(field, ascending=ascending, kind="stable") if frame.crowded else table


def _colours(table: pd.DataFrame, frame: Frame) -> dict[str, str]:
    """Return the colours of the targets of `table`, by target."""
    drawn = list(dict.fromkeys(table["target"]))
    if not frame.colours:
        return target_colours(drawn)
    return {target: colour for target, colour in frame.colours.items() if target in drawn}


def legend(frame: Frame, **more: Any) -> Any:  # noqa: ANN401
    """Return a legend above the panels."""
    return alt.Legend(orient="top", title=None, columns=frame.columns, columnPadding=14, **more)


def sparse_axis(frame: Frame) -> Any:  # noqa: ANN401
    """Return an axis with few labels, so numbers in the thousands fit."""
    return alt.Axis(tickCount=7 if frame.side_by_side else 4, labelOverlap="greedy", domain=False, ticks=False)


def logarithmic(kind: type[Any], field: str, domain: list[float], words: str, frame: Frame) -> Any:  # noqa: ANN401
    """Return the logarithmic `alt.X` or `alt.Y` of a field over `domain`."""
    scale = alt.Scale(type="log", domain=domain, nice=False)
    return kind(field, scale=scale, axis=_log_axis(domain, frame), title=f"{words} (log scale)")


def _log_axis(domain: list[float], frame: Frame) -> Any:  # noqa: ANN401
    """Return an axis with labels that neither overlap nor cover only half of the scale."""
    span = domain[1] / domain[0]
    steps = (1, 2, 5) if span > 8 else (1, 1.5, 2, 3, 4, 5, 7) if span > 2.5 else tuple(np.arange(1, 10, 0.5))  # noqa: PLR2004
    if span < 1.5:  # noqa: PLR2004
        steps = tuple(np.arange(1, 10, 0.1 if span > 1.1 else 0.02))  # noqa: PLR2004
    powers = range(int(np.floor(np.log10(domain[0]))), int(np.ceil(np.log10(domain[1]))) + 1)
    values = [round(step * 10.0**power, 6) for power in powers for step in steps]
    shown = [value for value in values if domain[0] <= value <= domain[1]]
    overlap = True if frame.side_by_side else "greedy"
    return alt.Axis(values=shown, format="~r", labelOverlap=overlap, labelFlush=False)
