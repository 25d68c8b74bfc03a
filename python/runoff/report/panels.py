"""Charts of bars and ratios, a row for each target: a panel for each profile, in the order of the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt
import pandas as pd

from runoff.analysis.verdict import read_verdict
from runoff.analysis.wording import headline
from runoff.report.frame import (
    BAR,
    in_order_of,
    legend,
    logarithmic,
    names,
    of_block,
    per_profile,
    sparse_axis,
    target_colour,
    title,
)
from runoff.report.palette import AXIS, BAND, INK, OTHER_PHASE, PHASES, SURFACE
from runoff.report.text import Figure, number

if TYPE_CHECKING:
    from collections.abc import Callable

    from runoff.report.frame import Frame
    from runoff.report.overview import Block, Row

OUTLIER = 3.0
"""A target this many times slower than the next one is excluded from the second panel."""
_LABEL = 64
"""Pixels for the figure to the right of the longest bar."""
_VERDICT = 88
"""Pixels for a verdict to the right of a panel."""
_NEIGHBOUR = 62
"""Pixels by which a wide panel is narrower if two with verdicts are placed side by side."""


def life(table: pd.DataFrame, block: Block, frame: Frame) -> Any:  # noqa: ANN401 - Altair's charts share no type
    """Return stacked bars of the phases, and a second chart without targets that dwarf the others; None without data.

    `table` is the life table of `runoff.analysis.phases`.
    """
    table = of_block(table, block)
    if table.empty:
        return None
    table = table.assign(ms=table["duration_ns"] / 1e6)
    table["to"] = table.groupby("case")["ms"].cumsum()
    table["from"] = table["to"] - table["ms"]
    phases = [phase for phase in PHASES if phase in set(table["phase"])]
    phases += [phase for phase in dict.fromkeys(table["phase"]) if phase not in PHASES]
    scale = alt.Scale(domain=phases, range=[PHASES.get(phase, OTHER_PHASE) for phase in phases])
    profiles = table.groupby("profile", sort=False)
    return frame.rows([_life_panels(rows, scale, f"profile {profile}", frame) for profile, rows in profiles])


def _life_panels(table: pd.DataFrame, scale: Any, words: str, frame: Frame) -> list[Any]:  # noqa: ANN401
    """Return the bars of one profile, and the bars without the outliers if there are any."""
    longest = table.groupby("target")["to"].max().sort_values()
    steps = longest.to_numpy()[1:] / longest.to_numpy()[:-1]
    cut = next((at + 1 for at, step in enumerate(steps) if step > OUTLIER and at + 1 >= len(longest) / 2), None)
    full = _life_panel(table, scale, words, frame)
    if cut is None:
        return [full]
    rest = table[table["target"].isin(longest.index[:cut])]
    without = ", ".join(map(str, longest.index[cut:]))
    return [full, _life_panel(rest, scale, f"{words}, without {without}", frame)]


def _life_panel(table: pd.DataFrame, scale: Any, words: str, frame: Frame) -> Any:  # noqa: ANN401
    totals = in_order_of(table.groupby("target", sort=False)["to"].max().reset_index(), "to", frame)
    y = names(list(totals["target"]), frame)
    x = alt.X("from:Q", title="milliseconds", scale=_room(table["to"], frame), axis=sparse_axis(frame))
    phase = alt.Color("phase:N", scale=scale, sort=list(scale.domain), legend=legend(frame))
    bars = alt.Chart(table).mark_bar(stroke=SURFACE, strokeWidth=0.6, height=BAR * 0.72)
    totals = totals.assign(text=[number(Figure(value * 1e6, unit="ns")) for value in totals["to"]])
    labels = (
        alt.Chart(totals).mark_text(align="left", dx=5, fontSize=12, color=INK).encode(y=y, x="to:Q", text="text:N")
    )
    both = bars.encode(y=y, x=x, x2="to:Q", color=phase) + labels
    return both.properties(width=frame.panel, height=alt.Step(BAR), title=title(words))


def _room(values: pd.Series[float], frame: Frame) -> Any:  # noqa: ANN401
    """Return a scale that starts at 0, with room for a label to the right of the longest bar."""
    return alt.Scale(domain=[0, float(values.max()) * frame.panel / (frame.panel - _LABEL)], nice=False)


def ratios(summary: pd.DataFrame, block: Block, frame: Frame) -> Any:  # noqa: ANN401
    """Return the ratios of process time with their intervals, by baseline; None without data."""
    lines = of_block(summary, block)
    lines = lines[(lines["probe"] == "process") & (lines["metric"] == "wall") & lines["ratio_low"].notna()]
    if lines.empty:
        return None
    lines = lines.sort_values("baseline", key=lambda names: names.map(block.baselines.index), kind="stable")
    lines = lines.assign(text=[headline(read_verdict(line)) for line in lines.to_dict("records")])
    colour = target_colour(lines, frame).legend(None)
    domains = {baseline: _around_one(peers) for baseline, peers in lines.groupby("baseline", sort=False)}
    return frame.rows(
        [
            [
                _ratio_panel(part, domains[baseline], colour, f"profile {profile}, against {baseline}", frame)
                for baseline, part in rows.groupby("baseline", sort=False)
            ]
            for profile, rows in lines.groupby("profile", sort=False)
        ]
    )


def _around_one(lines: pd.DataFrame) -> list[float]:
    """Return a domain that includes 1."""
    low, high = min(float(lines["ratio_low"].min()), 1.0), max(float(lines["ratio_high"].max()), 1.0)
    room = max((high / low) ** 0.08, 1.05)
    return [low / room, high * room]


def _ratio_panel(lines: pd.DataFrame, domain: list[float], colour: Any, words: str, frame: Frame) -> Any:  # noqa: ANN401
    width = frame.panel - (_NEIGHBOUR if frame.side_by_side else _VERDICT)
    order = in_order_of(lines, "ratio", frame, ascending=False)["target"]
    y = names(list(order), frame, scale=alt.Scale(paddingOuter=0.2))
    x = logarithmic(
        alt.X, "ratio:Q", domain, "times faster than the baseline" if frame.side_by_side else "times faster", frame
    )
    base = alt.Chart(lines).encode(y=y, color=colour)
    rules = base.mark_rule(strokeWidth=2.5).encode(x="ratio_low:Q", x2="ratio_high:Q")
    points = base.mark_point(filled=True, size=70, opacity=1).encode(x=x)
    text = base.mark_text(align="left", fontSize=12).encode(x=alt.value(width + 8), text="text:N", color=alt.value(INK))
    one = alt.Chart(lines.head(1)).mark_rule(strokeDash=[4, 3], color=AXIS).encode(x=alt.datum(1))
    panel = alt.layer(*_floor(lines, domain), one, rules, points, text)
    return panel.properties(width=width, height=alt.Step(BAR), title=title(words))


def _floor(lines: pd.DataFrame, domain: list[float]) -> list[Any]:
    """Return the noise floor as a band around 1; empty if there is none."""
    floor = lines["floor"].max()
    if pd.isna(floor):
        return []
    ends = pd.DataFrame({"low": [max(1 / (1 + floor), domain[0])], "high": [min(1 + floor, domain[1])]})
    return [alt.Chart(ends).mark_rect(color=BAND).encode(x="low:Q", x2="high:Q")]


def memory(block: Block, frame: Frame) -> Any:  # noqa: ANN401
    """Return bars of the peak memory with their intervals; None without data."""
    return _bars(block, lambda row: row.peak, 1e6, "megabytes", frame)


def energy(block: Block, domain: str, frame: Frame) -> Any:  # noqa: ANN401
    """Return bars of the energy per inference in `domain`, with their intervals; None without data."""
    figures = {row.case: row.energy[domain].inference for row in block.rows if domain in row.energy}
    return _bars(block, lambda row: figures.get(row.case, Figure()), 1.0, f"joules per inference, {domain}", frame)


def _bars(block: Block, figure_of: Callable[[Row], Figure], divisor: float, axis: str, frame: Frame) -> Any:  # noqa: ANN401
    """Return a bar with its interval for each row that has the figure; None if no row has it."""
    rows = [
        {
            "target": row.target,
            "profile": row.profile,
            "value": figure.value / divisor,
            "low": (figure.low or figure.value) / divisor,
            "high": (figure.high or figure.value) / divisor,
            "text": number(figure),
        }
        for row in block.rows
        if (figure := figure_of(row)).value is not None
    ]
    if not rows:
        return None
    table = pd.DataFrame(rows)
    room, colour = _room(table["high"], frame), target_colour(table, frame).legend(None)

    def panel(part: pd.DataFrame, words: str) -> Any:  # noqa: ANN401
        base = alt.Chart(part).encode(y=names(list(in_order_of(part, "value", frame)["target"]), frame))
        bars = base.mark_bar(height=BAR * 0.72).encode(
            x=alt.X("value:Q", title=axis, scale=room, axis=sparse_axis(frame)), color=colour
        )
        rules = base.mark_rule(strokeWidth=2, color=INK).encode(x="low:Q", x2="high:Q")
        text = base.mark_text(align="left", dx=6, fontSize=12, color=INK).encode(x="high:Q", text="text:N")
        return (bars + rules + text).properties(width=frame.panel, height=alt.Step(BAR), title=title(words))

    return per_profile(table, frame, panel)
