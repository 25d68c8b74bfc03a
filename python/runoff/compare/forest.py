"""The forest plot of a comparison: a ratio with its interval for each line, and the noise floor as a band."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

import altair as alt
import pandas as pd
import vl_convert

from runoff.analysis.wording import words

if TYPE_CHECKING:
    from runoff.compare.pairing import RunComparison

_WIDTH, _ROW = 460, 34
_DIFFERS, _SAME, _BAND = "#0072B2", "#777777", "#DDDDDD"


def draw(comparison: RunComparison) -> bytes:
    """Return the plot as SVG; empty if no line has an interval."""
    chart = forest(comparison)
    return b"" if chart is None else vl_convert.vegalite_to_svg(chart.to_json()).encode()


def forest(comparison: RunComparison) -> Any:  # noqa: ANN401 - Altair's charts share no type
    """Return the Altair chart; None if no line has an interval."""
    lines = [line for line in comparison.lines if not line.reason and isfinite(line.ratio.low)]
    if not lines:
        return None
    several = len({line.label for line in lines}) > 1
    rows = pd.DataFrame(
        {
            "what": f"{line.label}, {line.metric}" if several else line.metric,
            "ratio": line.ratio.value,
            "low": line.ratio.low,
            "high": line.ratio.high,
            "from": 1 / (1 + (line.floor or 0)),
            "to": 1 + (line.floor or 0),
            "verdict": words(line.verdict),
            "differs": line.verdict.differs,
        }
        for line in lines
    )
    y = alt.Y("what:N", sort=list(rows["what"]), title=None, axis=alt.Axis(labelLimit=420))
    scale = alt.Scale(type="log", domain=_domain(rows), nice=False)
    axis = alt.Axis(format="~r", tickCount=7)
    x = alt.X("ratio:Q", scale=scale, axis=axis, title=f"times better than {comparison.first} (log scale)")
    base = alt.Chart(rows).encode(y=y)
    colour = alt.condition("datum.differs", alt.value(_DIFFERS), alt.value(_SAME))
    layers = (
        base.mark_bar(color=_BAND, height=_ROW * 0.8).encode(x=alt.X("from:Q", scale=scale), x2="to:Q")
        + alt.Chart(pd.DataFrame({"one": [1.0]})).mark_rule(strokeDash=[4, 3], color="#333").encode(x="one:Q")
        + base.mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q", color=colour)
        + base.mark_point(filled=True, size=46, opacity=1).encode(x=x, color=colour)
        + base.mark_text(dy=-12, fontSize=11, color="#333").encode(x=x, text="verdict:N")
    )
    note = "ratio and 95% interval; right of 1 is better; grey band: noise floor, if known"
    title = alt.TitleParams(f"{comparison.second} against {comparison.first}", subtitle=[*comparison.unfair, note])
    return (
        layers.properties(width=_WIDTH, height=alt.Step(_ROW), title=title)
        .configure(font="sans-serif", background="white")
        .configure_title(anchor="start", fontSize=15, subtitleFontSize=11, subtitleColor="#555", offset=12)
        .configure_axis(labelFontSize=12, titleFontSize=12, titleFontWeight="normal", gridColor="#e6e6e6")
    )


def _domain(rows: pd.DataFrame) -> list[float]:
    """Return a range that includes 1, with room for the labels."""
    low, high = float(rows[["low", "from"]].min().min()), float(rows[["high", "to"]].max().max())
    room = max((high / low) ** 0.3, 1.01)
    return [low / room, high * room]
