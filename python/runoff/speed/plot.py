"""The plot of a run: how far each ratio is from its bar, on a log scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt
import pandas as pd
import vl_convert

from runoff.records.files import write_atomically
from runoff.records.machine import headline
from runoff.report.page.svg import small
from runoff.speed.report import value

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.speed.run import Run

_WIDTH, _STEP = 520, 34
_COLOURS = {"met": "#009E73", "missed": "#D55E00"}
_TICKS = [0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.5, 2, 3, 5, 10]


def write_plot(run: Run, folder: Path) -> None:
    """Write the plot into `folder`, where a ratio was measured."""
    if all(outcome.value is None for outcome in run.outcomes):
        return
    drawn = small(vl_convert.vegalite_to_svg(chart(run).to_json()))
    write_atomically(folder / "speed.svg", drawn.encode())


def chart(run: Run) -> Any:  # noqa: ANN401 - Altair's charts share no type
    """Return a point with its interval for each row that was measured; the bars are all at 1."""
    table = _table(run)
    low, high = min(table["low"].min(), 1.0) / 1.3, max(table["high"].max(), 1.0) * 1.3
    domain = [float(low), float(high)]
    x = alt.X("margin:Q", title="times better than the bar (log scale)", axis=_axis(domain))
    x = x.scale(type="log", domain=domain, nice=False)
    y = alt.Y("what:N", sort=list(table["what"]), title=None, axis=alt.Axis(labelLimit=520))
    y = y.scale(paddingOuter=0.4)
    colour = alt.Color("verdict:N", title=None, scale=alt.Scale(domain=list(_COLOURS), range=list(_COLOURS.values())))
    base = alt.Chart(table).encode(y=y, color=colour)
    bar = alt.Chart(table).mark_rule(strokeDash=[4, 3], color="#444").encode(x=alt.datum(1))
    rules = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q"), x2="high:Q")
    ends = [base.mark_tick(thickness=2, size=12).encode(x=f"{end}:Q") for end in ("low", "high")]
    points = base.mark_point(filled=True, size=45, opacity=1).encode(x=x)
    halo = base.mark_text(dy=-12, fontSize=11, stroke="white", strokeWidth=4)
    texts = [
        mark.encode(x=x, text="text:N", color=alt.value("#333")) for mark in (halo, base.mark_text(dy=-12, fontSize=11))
    ]
    title = alt.TitleParams("Each ratio against its bar", subtitle=_subtitle(run))
    layers = alt.layer(bar, rules, *ends, points, *texts)
    return _styled(layers.properties(width=_WIDTH, height=alt.Step(_STEP), title=title))


def _table(run: Run) -> pd.DataFrame:
    rows = []
    for outcome in run.outcomes:
        if outcome.value is None:
            continue
        row = outcome.row
        ends = [row.margin(end) for end in (outcome.low, outcome.high) if end is not None]
        margin = row.margin(outcome.value)
        rows.append(
            {
                "what": row.what,
                "margin": margin,
                "low": min([margin, *ends]),
                "high": max([margin, *ends]),
                "verdict": "met" if row.meets(outcome.value) else "missed",
                "text": f"{value(outcome)} ({row.bar_words})",
            }
        )
    return pd.DataFrame(rows)


def _subtitle(run: Run) -> list[str]:
    return [headline(run.machine), "median and 95 % interval; right of the dashed line the bar is met"]


def _axis(domain: list[float]) -> Any:  # noqa: ANN401
    return alt.Axis(
        values=[tick for tick in _TICKS if domain[0] <= tick <= domain[1]], format="~g", labelOverlap="greedy"
    )


def _styled(made: Any) -> Any:  # noqa: ANN401
    return (
        made.configure(font="sans-serif", background="white")
        .configure_title(anchor="start", fontSize=16, subtitleFontSize=11, subtitleColor="#555", offset=12)
        .configure_axis(labelFontSize=12, titleFontSize=12, titleFontWeight="normal", gridColor="#e6e6e6")
        .configure_legend(labelFontSize=12)
        .configure_view(stroke="#cccccc")
    )
