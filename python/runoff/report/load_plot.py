"""The figure of a load: latency over the rate of requests."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
import pandas as pd

from runoff.report.frame import logarithmic, of_block, per_profile, target_colour, title
from runoff.report.load import options
from runoff.report.palette import MUTED

if TYPE_CHECKING:
    from runoff.analysis.analyse import Analysis
    from runoff.records.schema import LoadTest
    from runoff.report.frame import Frame
    from runoff.report.overview import Block

_HEIGHT = 200


def load_curves(analysis: Analysis, block: Block, frame: Frame) -> Any:  # noqa: ANN401 - Altair's charts share no type
    """Return the latency over the rate: a point for each process and rate, a line through their medians."""
    made, cases = options(analysis.run), {case.id: case for case in analysis.run.info.cases}
    table = pd.DataFrame(
        {
            "case": record.case,
            "target": cases[record.case].target,
            "rate": test.rate,
            "ms": _quantile_ms(test, made.percentile),
        }
        for record in analysis.run.records
        if record.load and record.status == "ok" and cases[record.case].control_of is None
        for test in record.load.tests
        if test.rate
    )
    table = of_block(table, block) if len(table) else table
    shown = _finite(table) if len(table) else table
    if shown.empty:
        return None
    around = [(float(shown[name].min()) / 1.1, float(shown[name].max()) * 1.1) for name in ("rate", "ms")]
    x = logarithmic(alt.X, "rate:Q", list(around[0]), "requests per second", frame)
    high = max(around[1][1], made.bound_ms * 1.1)
    y = logarithmic(alt.Y, "ms:Q", [around[1][0], high], f"p{made.percentile * 100:g} of latency, ms", frame)
    colour = target_colour(table, frame)

    def panel(part: pd.DataFrame, words: str) -> Any:  # noqa: ANN401
        points = alt.Chart(_finite(part)).mark_point(size=22, opacity=0.5).encode(x=x, y=y, color=colour)
        medians = part.groupby(["target", "rate"], sort=False)["ms"].median().reset_index()
        line = alt.Chart(_finite(medians)).mark_line(strokeWidth=2).encode(x=x, y=y, color=colour)
        bound = alt.Chart(pd.DataFrame({"ms": [made.bound_ms]})).mark_rule(color=MUTED, strokeDash=[4, 3]).encode(y=y)
        return (points + line + bound).properties(width=frame.panel + 40, height=_HEIGHT, title=title(words))

    return per_profile(table, frame, panel)


def _quantile_ms(test: LoadTest, q: float) -> float:
    """Return a quantile of the latency; failed requests are later than all others."""
    return float(np.quantile([*test.latency_us, *[inf] * test.failed], q, method="higher")) / 1e3


def _finite(table: pd.DataFrame) -> pd.DataFrame:
    finite: pd.DataFrame = table[np.isfinite(table["ms"])]
    return finite
