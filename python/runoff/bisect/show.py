"""The result of a bisection in words, as a table, as JSON and as a plot."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from runoff.analysis.wording import words
from runoff.bisect.search import words_of
from runoff.report.text import plural

if TYPE_CHECKING:
    from rich.console import Console

    from runoff.bisect.bisection import Bisected
    from runoff.statistics import Ratio

_WIDTH, _HEIGHT = 640, 260
_LINE, _CHANGE = "#0072B2", "#D55E00"


def sentence(bisected: Bisected) -> str:
    """Return the result in one sentence."""
    found, span = bisected.found, f"{bisected.found.before} to {bisected.found.after}"
    if found.outcome == "all failed":
        return f"both {found.before} and {found.after} failed: {found.failures[found.after]}"
    if found.outcome == "no change":
        return f"{span}: no change"
    if found.outcome == "unclear":
        return f"{span}: {words(bisected.change)}; the release that changed it is not distinguishable from noise"
    if broken := next((name for name in (found.before, found.after) if name in found.failures), ""):
        return f"{span}: {broken} fails: {found.failures[broken]}"
    skipped = bisected.releases.index(found.after) - bisected.releases.index(found.before) - 1
    between = f"; {plural(skipped, 'release')} between them could not be measured" if skipped else ""
    return f"{span}: {words(bisected.change)}{between}"


def show(bisected: Bisected, console: Console) -> None:
    """Print the result."""
    found = bisected.found
    table = Table("release", f"compared with {next(iter(bisected.trend), '')}", "", box=SIMPLE_HEAD)
    for release, ratio in bisected.trend.items():
        mark = {found.before: "last before", found.after: "first after"}.get(release, "")
        table.add_row(release, _change(ratio), mark if found.outcome == "found" else "")
    if bisected.trend:
        console.print(table)
    for release, reason in found.failures.items():
        console.print(f"{release}: {reason}", highlight=False, markup=False, soft_wrap=True)
    console.print(sentence(bisected), highlight=False, markup=False, soft_wrap=True)


def _change(ratio: Ratio) -> str:
    """Return how much more or less a release takes than the first: ``+12.1% (+11.2 to +13.0)``."""
    if not isfinite(ratio.low):
        return f"{_more(ratio.value)}%"
    return f"{_more(ratio.value)}% ({_more(ratio.high)} to {_more(ratio.low)})" if ratio.value != 1 else "-"


def _more(ratio: float) -> str:
    return f"{100 * (1 / ratio - 1):+.1f}"


def document(bisected: Bisected) -> dict[str, Any]:
    """Return the result for JSON; ratios are first release / release, so above 1 is less time."""
    found = bisected.found
    return {
        "model": bisected.model,
        "target": bisected.target,
        "metric": bisected.metric,
        "sentence": sentence(bisected),
        "outcome": found.outcome,
        "before": found.before,
        "after": found.after,
        "change": bisected.change,
        "steps": [_step(step) for step in found.steps],
        "failures": found.failures,
        "trend": {name: {"ratio": one.value, "low": one.low, "high": one.high} for name, one in bisected.trend.items()},
        "releases": bisected.releases,
        "run": str(bisected.folder),
    }


def _step(step: Any) -> dict[str, Any]:  # noqa: ANN401 (a Step)
    answer = step.reason or words_of(step.side, step.old, step.new)
    return {"release": step.release, "between": [step.old, step.new], "answer": answer, "blocks": step.blocks}


def draw(bisected: Bisected) -> bytes:
    """Return the plot of all releases that were measured, as SVG; empty if there are fewer than two."""
    if len(bisected.trend) < 2:  # noqa: PLR2004 (one is no trend)
        return b""
    import altair as alt
    import pandas as pd
    import vl_convert

    found = bisected.found
    rows = pd.DataFrame(
        {
            "release": name,
            "change": 100 * (1 / ratio.value - 1),
            "low": 100 * (1 / ratio.high - 1),
            "high": 100 * (1 / ratio.low - 1),
            "after": found.outcome == "found" and name == found.after,
        }
        for name, ratio in bisected.trend.items()
    )
    base = alt.Chart(rows).encode(x=alt.X("release:N", sort=list(rows["release"]), title=None))
    colour = alt.condition("datum.after", alt.value(_CHANGE), alt.value(_LINE))
    title = f"{bisected.metric}, % compared with {rows['release'][0]}"
    y = alt.Y("change:Q", title=title, scale=alt.Scale(zero=False))
    chart = (
        base.mark_line(color=_LINE, strokeWidth=1).encode(y=y)
        + base.mark_rule(strokeWidth=2).encode(y="low:Q", y2="high:Q", color=colour)
        + base.mark_point(filled=True, size=50, opacity=1).encode(y=y, color=colour)
    )
    heading = alt.Title(sentence(bisected), subtitle=f"{bisected.model}, {bisected.target}; bars: 95% intervals")
    chart = chart.properties(width=_WIDTH, height=_HEIGHT, title=heading)
    return vl_convert.vegalite_to_svg(chart.to_json()).encode()
