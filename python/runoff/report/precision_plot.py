"""The figure of the precisions: a warm inference in each, with its loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt
import pandas as pd

from runoff.analysis.wording import headline
from runoff.report.frame import BAR, logarithmic, title
from runoff.report.palette import INK, PRECISIONS
from runoff.report.text import number

if TYPE_CHECKING:
    from runoff.analysis.analyse import Analysis
    from runoff.analysis.precision import Precision
    from runoff.report.frame import Frame
    from runoff.report.overview import Block, Row


def precision(analysis: Analysis, block: Block, frame: Frame) -> Any:  # noqa: ANN401 - Altair's charts share no type
    """Return the time of a warm inference in each precision, a panel for each target; None without two precisions."""
    rows = {row.case: row for row in block.rows}
    points = pd.DataFrame(_point(one, rows[one.case]) for one in analysis.precisions if _is_plotted(one, rows))
    if points.empty or len(set(points["precision"])) == 1:
        return None
    order = [name for name in PRECISIONS if name in set(points["precision"])]
    colour = alt.Color("precision:N", scale=alt.Scale(domain=order, range=[PRECISIONS[name] for name in order]))
    least, most = float(points["ms"].min()) / 1.3, float(points["ms"].max()) * 1.3
    # room for the words
    domain = [least, most * max((most / least) ** (1.0 if frame.side_by_side else 2.0), 8.0)]
    x = logarithmic(alt.X, "ms:Q", domain, "warm inference, milliseconds", frame)

    def panel(part: pd.DataFrame, words: str) -> Any:  # noqa: ANN401
        axis = alt.Axis(labelLimit=frame.names, labelPadding=6, domain=False, ticks=False)
        base = alt.Chart(part).encode(y=alt.Y("precision:N", sort=order, title=None, axis=axis))
        rules = base.mark_rule(strokeWidth=2.5, clip=True).encode(x="low:Q", x2="high:Q", color=colour.legend(None))
        dots = base.mark_point(filled=True, size=70, opacity=1).encode(x=x, color=colour.legend(None))
        text = base.mark_text(align="left", dx=8, dy=-9, fontSize=11, color=INK).encode(x="ms:Q", text="text:N")
        layers = alt.layer(rules, dots, text)
        return layers.properties(width=frame.panel + 40, height=alt.Step(BAR + 8), title=title(words))

    return frame.joined([panel(part, str(words)) for words, part in points.groupby("panel", sort=False)])


def _is_plotted(one: Precision, rows: dict[str, Row]) -> bool:
    return one.case in rows and rows[one.case].warm.value is not None


def _point(one: Precision, row: Row) -> dict[str, Any]:
    value = row.warm.value or 0.0
    words = [headline(one.warm) if one.warm.kind else number(row.warm)]
    words += [f"loss {one.loss.max_rel_diff:.3g}" + (" (above limit)" if one.above else "")] if one.loss else []
    profile = row.profile.partition(",")[0]
    return {
        "panel": f"{one.target}, profile {profile}",
        "precision": one.precision,
        "ms": value / 1e6,
        "low": (row.warm.low or value) / 1e6,
        "high": (row.warm.high or value) / 1e6,
        "text": ", ".join(words),
    }
