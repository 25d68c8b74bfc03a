"""The charts themselves: a panel for each profile, in the order of the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
import pandas as pd

from runoff.report.palette import PHASES, target_colours
from runoff.report.text import Figure, number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runoff.report.overview import Block, Row

WIDTH = 460
BAR = 26
OUTLIER = 3.0
"""A target this many times slower than the next one is left out of a second panel."""
_ROOM = 1.16
"""Room for the label right of the longest bar."""
_DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])


def life(table: pd.DataFrame, block: Block) -> Any:  # noqa: ANN401 - Altair's charts share no type
    """Return stacked bars of the phases, and again without a target that dwarfs the others; None for no data.

    Parameters
    ----------
    table
        The life table of `runoff.analysis.life`.
    block
        The cases to show.
    """
    table = _of(table, block)
    if table.empty:
        return None
    table = table.assign(ms=table["duration_ns"] / 1e6)
    table["to"] = table.groupby("case")["ms"].cumsum()
    table["from"] = table["to"] - table["ms"]
    phases = [phase for phase in PHASES if phase in set(table["phase"])]
    phases += [phase for phase in dict.fromkeys(table["phase"]) if phase not in PHASES]
    scale = alt.Scale(domain=phases, range=[PHASES.get(phase, "#EE8866") for phase in phases])
    return _per_profile(table, lambda rows, title: _life_panels(rows, scale, title))


def _life_panels(table: pd.DataFrame, scale: Any, title: str) -> Any:  # noqa: ANN401
    """Return the bars of one profile, and beside them those that are left without the outliers."""
    whole = table.groupby("target")["to"].max().sort_values()
    steps = whole.to_numpy()[1:] / whole.to_numpy()[:-1]
    cut = next((at + 1 for at, step in enumerate(steps) if step > OUTLIER and at + 1 >= len(whole) / 2), None)
    full = _life_panel(table, scale, title)
    if cut is None:
        return full
    rest = table[table["target"].isin(whole.index[:cut])]
    without = ", ".join(map(str, whole.index[cut:]))
    return alt.hconcat(full, _life_panel(rest, scale, f"{title}, without {without}"), spacing=30)


def _life_panel(table: pd.DataFrame, scale: Any, title: str) -> Any:  # noqa: ANN401
    y = alt.Y("target:N", sort=list(dict.fromkeys(table["target"])), title=None)
    room = alt.Scale(domain=[0, float(table["to"].max()) * _ROOM], nice=False)
    phase = alt.Color("phase:N", scale=scale, title="phase", sort=list(scale.domain))
    bars = (
        alt.Chart(table)
        .mark_bar(stroke="white", strokeWidth=0.6, height=BAR * 0.72)
        .encode(y=y, x=alt.X("from:Q", title="milliseconds", scale=room, axis=_sparse_axis()), x2="to:Q", color=phase)
    )
    totals = table.groupby("target", sort=False)["to"].max().reset_index()
    totals["text"] = [number(Figure(value * 1e6, unit="ns")) for value in totals["to"]]
    labels = alt.Chart(totals).mark_text(align="left", dx=4, fontSize=12).encode(y=y, x="to:Q", text="text:N")
    return (bars + labels).properties(width=WIDTH, height=alt.Step(BAR), title=_title(title))


def ratios(summary: pd.DataFrame, block: Block) -> Any:  # noqa: ANN401
    """Return the ratios of the whole process with their intervals, by baseline; None for no data."""
    lines = _of(summary, block)
    lines = lines[(lines["probe"] == "process") & (lines["metric"] == "wall") & lines["ratio_low"].notna()]
    if lines.empty:
        return None
    lines = lines.sort_values("baseline", key=lambda names: names.map(block.baselines.index), kind="stable")
    lines = lines.assign(text=lines["verdict"].str.split(" (", regex=False).str[0])
    colours = _colours(lines)

    def columns(rows: pd.DataFrame, title: str) -> Any:  # noqa: ANN401
        made = [
            _ratio_panel(
                rows[rows["baseline"] == baseline],
                _around_one(peers),
                colours,
                f"{title}, against {baseline}",
            )
            for baseline, peers in lines.groupby("baseline", sort=False)
            if baseline in set(rows["baseline"])
        ]
        return alt.hconcat(*made, spacing=30)

    return _per_profile(lines, columns)


def _around_one(lines: pd.DataFrame) -> list[float]:
    """Return a domain with 1 in it and room for the labels."""
    low, high = min(float(lines["ratio_low"].min()), 1.0), max(float(lines["ratio_high"].max()), 1.0)
    room = max((high / low) ** 0.22, 1.1)
    return [low / room, high * room]


def _ratio_panel(lines: pd.DataFrame, domain: list[float], colour: Any, title: str) -> Any:  # noqa: ANN401
    y = alt.Y("target:N", sort=list(lines["target"]), title=None, scale=alt.Scale(paddingOuter=0.4))
    x = alt.X("ratio:Q", scale=alt.Scale(type="log", domain=domain, nice=False), axis=_log_axis(domain))
    x = x.title("times faster than the baseline (log scale)")
    base = alt.Chart(lines).encode(y=y, color=colour.legend(None))
    rules = base.mark_rule(strokeWidth=2).encode(x=alt.X("ratio_low:Q"), x2="ratio_high:Q")
    ends = [base.mark_tick(thickness=2, size=12).encode(x=f"{end}:Q") for end in ("ratio_low", "ratio_high")]
    points = base.mark_point(filled=True, size=36, opacity=1).encode(x=x)
    text = base.mark_text(dy=-13, fontSize=11).encode(x=x, text="text:N", color=alt.value("#333"))
    one = alt.Chart(lines).mark_rule(strokeDash=[4, 3], color="#444").encode(x=alt.datum(1))
    panel = alt.layer(one, rules, *ends, points, text)
    return panel.properties(width=WIDTH * 0.8, height=alt.Step(BAR * 1.4), title=_title(title))


def warm(samples: pd.DataFrame, block: Block) -> Any:  # noqa: ANN401
    """Return cumulative distributions of the warm inferences, from the smallest to the largest; None for no data."""
    rows = _of(samples, block)
    rows = rows[(rows["probe"] == "latency") & (rows["metric"] == "inference") & (rows["phase"] == "warm")]
    if rows.empty:
        return None
    shares = np.linspace(0, 1, 101)
    curves = pd.concat(
        pd.DataFrame(
            {
                "target": target,
                "profile": profile,
                "share": shares,
                "ms": np.quantile(part["value"], shares) / 1e6,
            }
        )
        for (profile, target), part in rows.groupby(["profile", "target"], sort=False)
    )
    domain = [float(curves["ms"].min()) / 1.05, float(curves["ms"].max()) * 1.05]
    x = alt.X("ms:Q", scale=alt.Scale(type="log", domain=domain, nice=False), axis=_log_axis(domain))
    colour = _colours(curves)

    def panel(part: pd.DataFrame, title: str) -> Any:  # noqa: ANN401
        lines = alt.Chart(part).mark_line(strokeWidth=2)
        y = alt.Y("share:Q", title="share of inferences", axis=alt.Axis(format="%"))
        lines = lines.encode(x=x.title("milliseconds (log scale)"), y=y, order="share:Q", color=colour)
        return lines.properties(width=WIDTH * 1.2, height=170, title=_title(title))

    return _per_profile(curves, panel)


def memory(block: Block) -> Any:  # noqa: ANN401
    """Return bars of the peak memory with their intervals; None for no data."""
    return _bars(block, lambda row: row.peak, 1e6, "megabytes")


def energy(block: Block, domain: str) -> Any:  # noqa: ANN401
    """Return bars of what an inference draws in `domain`, with their intervals; None for no data."""
    figures = {row.case: row.energy[domain].inference for row in block.rows if domain in row.energy}
    return _bars(block, lambda row: figures.get(row.case, Figure()), 1.0, f"joules an inference, {domain}")


def _bars(block: Block, figure_of: Callable[[Row], Figure], divisor: float, axis: str) -> Any:  # noqa: ANN401
    """Return a bar with its interval for each row that has the figure; None where none has."""
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
    frame = pd.DataFrame(rows)
    room = alt.Scale(domain=[0, float(frame["high"].max()) * _ROOM], nice=False)
    colour = _colours(frame).legend(None)

    def panel(part: pd.DataFrame, title: str) -> Any:  # noqa: ANN401
        base = alt.Chart(part).encode(y=alt.Y("target:N", sort=list(part["target"]), title=None))
        bars = base.mark_bar(height=BAR * 0.72).encode(
            x=alt.X("value:Q", title=axis, scale=room, axis=_sparse_axis()), color=colour
        )
        rules = base.mark_rule(strokeWidth=2, color="black").encode(x="low:Q", x2="high:Q")
        text = base.mark_text(align="left", dx=6, fontSize=12).encode(x="high:Q", text="text:N")
        return (bars + rules + text).properties(width=WIDTH, height=alt.Step(BAR), title=_title(title))

    return _per_profile(frame, panel)


def sweep(blocks: Sequence[Block]) -> Any:  # noqa: ANN401
    """Return the time per item over the batch; None when there are fewer than two batches.

    `blocks` differ in their batch alone.
    """
    points = pd.DataFrame(
        {
            "target": row.target,
            "profile": row.profile,
            "batch": block.batch,
            "ms": row.warm.value / 1e6 / block.batch,
        }
        for block in blocks
        for row in block.rows
        if row.warm.value is not None
    )
    if points.empty or len(set(points["batch"])) == 1:
        return None
    colour = _colours(points).legend(symbolType="stroke")
    top = float(points["ms"].max()) * 1.05
    targets = list(dict.fromkeys(points["target"]))
    dashes = alt.Scale(domain=targets, range=[_DASHES[place % len(_DASHES)] for place in range(len(targets))])
    batches = sorted(int(batch) for batch in points["batch"].unique())
    x = alt.X("batch:Q", title="batch (log scale)", axis=alt.Axis(values=batches, format="d"))
    x = x.scale(type="log", base=2, domain=[batches[0] / 1.15, batches[-1] * 1.15], nice=False)

    def panel(part: pd.DataFrame, title: str) -> Any:  # noqa: ANN401
        lines = alt.Chart(part).mark_line(point=alt.OverlayMarkDef(size=50), strokeWidth=2)
        y = alt.Y("ms:Q", title="milliseconds an item", scale=alt.Scale(domain=[0, top], nice=False))
        dash = alt.StrokeDash("target:N", scale=dashes, title="target", legend=alt.Legend(symbolType="stroke"))
        lines = lines.encode(x=x, y=y, color=colour, strokeDash=dash)
        return lines.properties(width=WIDTH, height=220, title=_title(title))

    return _per_profile(points, panel)


def _of(table: pd.DataFrame, block: Block) -> pd.DataFrame:
    """Return the rows of the block's cases, in the order of the block, with its words for their profiles."""
    order = {row.case: place for place, row in enumerate(block.rows)}
    mine = table[table["case"].isin(order)]
    mine = mine.assign(profile=mine["case"].map({row.case: row.profile for row in block.rows}))
    return mine.sort_values("case", key=lambda cases: cases.map(order), kind="stable")


def _per_profile(table: pd.DataFrame, panel: Callable[[pd.DataFrame, str], Any]) -> Any:  # noqa: ANN401
    rows = [panel(part, f"profile {profile}") for profile, part in table.groupby("profile", sort=False)]
    return alt.vconcat(*rows, spacing=22)


def _title(text: str) -> Any:  # noqa: ANN401
    return alt.TitleParams(text, fontSize=12, offset=6)


def _colours(table: pd.DataFrame) -> Any:  # noqa: ANN401
    colours = target_colours(list(dict.fromkeys(table["target"])))
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    return alt.Color("target:N", scale=scale, title="target")


def _sparse_axis() -> Any:  # noqa: ANN401
    """Return an axis whose labels have room for thousands."""
    return alt.Axis(tickCount=8, labelOverlap="greedy")


def _log_axis(domain: list[float]) -> Any:  # noqa: ANN401
    """Return an axis whose labels neither run into each other nor leave out half of the scale."""
    span = domain[1] / domain[0]
    steps = (1, 2, 5) if span > 8 else (1, 1.5, 2, 3, 4, 5, 7) if span > 2.5 else tuple(np.arange(1, 10, 0.5))  # noqa: PLR2004
    if span < 1.5:  # noqa: PLR2004
        steps = tuple(np.arange(1, 10, 0.1 if span > 1.1 else 0.02))  # noqa: PLR2004
    powers = range(int(np.floor(np.log10(domain[0]))), int(np.ceil(np.log10(domain[1]))) + 1)
    values = [round(step * 10.0**power, 6) for power in powers for step in steps]
    return alt.Axis(values=[value for value in values if domain[0] <= value <= domain[1]], format="~g")
