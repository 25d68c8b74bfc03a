"""An explanation in words, as a table, as JSON and as a plot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from runoff.report.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from runoff.explain.explanation import Explained
    from runoff.explain.parts import Part
    from runoff.statistics import Shift

_NAMES = {
    "original": "the file as it is",
    "whole": "whole",
    "cuts": "cuts (subtracted)",
    "rest": "between segments",
}
_MOST_OPERATORS = 3
_MOST_NAMED = 3
_WIDTH, _ROW = 520, 26
_SLOWER, _FASTER, _SAME = "#D55E00", "#0072B2", "#999999"


def sentences(explained: Explained) -> Iterator[str]:
    """Yield what was found, the most important first."""
    first, second, by_kind = explained.first.text, explained.second.text, explained.by_kind
    whole = by_kind["whole"][0]
    if not whole.differs:
        yield f"{second} and {first}: no difference shown ({_range(whole.difference)} ms of {_ms(whole.first_ns)})"
        return
    faster = whole.difference.value < 0
    more = "faster" if faster else "slower"
    yield f"{second} is {_size(whole.difference)} {more} than {first}, of {_ms(whole.first_ns)}"
    measured = [*by_kind["segment"], *by_kind["phase"]]
    claimed = sorted((part for part in measured if part.differs), key=lambda part: -abs(part.difference.value))
    for part in claimed[:_MOST_NAMED]:
        same = (part.difference.value < 0) == faster
        verb = "of it" if same else f"lost: {second} is {'slower' if faster else 'faster'}"
        yield ": ".join(filter(None, (f"{_size(part.difference)} {verb} in {name_of(part)}", operators_of(part))))
    if not claimed:
        yield "no part of it differs by more than noise"
    for rest in by_kind["rest"]:
        if rest.differs:
            yield f"{_size(rest.difference)} is in no segment: it arises between them (fusion, layout, cache)"


def name_of(part: Part) -> str:
    """Return the name of a part."""
    if part.kind != "segment":
        return part.phase or _NAMES[part.kind]
    first, last = part.segments[0], part.segments[-1]
    return f"segment {first}" if first == last else f"segments {first} to {last}"


def operators_of(part: Part) -> str:
    """Return the most frequent operators of a part: ``14 Conv, 12 Clip``."""
    named = [f"{count} {kind}" for kind, count in list(part.operators.items())[:_MOST_OPERATORS]]
    rest = sum(list(part.operators.values())[_MOST_OPERATORS:])
    return ", ".join([*named, *([f"{plural(rest, 'other')}"] if rest else [])])


def show(explained: Explained, console: Console) -> None:
    """Print the explanation."""
    table = Table("part", "operators", explained.first.text, explained.second.text, "difference in ms", box=SIMPLE_HEAD)
    for part in explained.parts:
        style = "" if part.differs or part.kind in ("original", "whole", "cuts") else "dim"
        times = (_ms(part.first_ns), _ms(part.second_ns))
        table.add_row(name_of(part), operators_of(part), *times, _range(part.difference), style=style)
    console.print(table)
    for line in sentences(explained):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _ms(ns: float | None) -> str:
    return "" if ns is None else f"{ns / 1e6:.3g} ms"


def _size(difference: Shift) -> str:
    """Return the size of a difference, whatever its sign: ``1.1 ms (0.9 to 1.3)``."""
    low, high = sorted(abs(bound) / 1e6 for bound in difference.bounds)
    return f"{abs(difference.value) / 1e6:.3g} ms ({low:.3g} to {high:.3g})"


def _range(difference: Shift) -> str:
    low, high = (bound / 1e6 for bound in difference.bounds)
    return f"{difference.value / 1e6:+.3f} ({low:+.3f} to {high:+.3f})"


def document(explained: Explained) -> dict[str, Any]:
    """Return the explanation for JSON; times are in nanoseconds, differences second - first."""
    return {
        "model": explained.model,
        "first": explained.first.text,
        "second": explained.second.text,
        "sentences": list(sentences(explained)),
        "parts": [_part(part) for part in explained.parts],
        "cuts": explained.cuts.cuts if explained.cuts else (),
        "nodes": [segment.nodes for segment in explained.cuts.segments] if explained.cuts else [],
        "run": str(explained.folder),
    }


def _part(part: Part) -> dict[str, Any]:
    low, high = part.difference.bounds
    return {
        "part": name_of(part),
        "kind": part.kind,
        "segments": part.segments,
        "operators": part.operators,
        "first_ns": part.first_ns,
        "second_ns": part.second_ns,
        "difference_ns": part.difference.value,
        "low_ns": low,
        "high_ns": high,
        "differs": part.differs,
    }


def draw(explained: Explained) -> dict[str, bytes]:
    """Return the plot by file suffix: a bar for each part, from where the one before it ended, up to the whole."""
    import altair as alt
    import pandas as pd
    import vl_convert

    rows, at = [], 0.0
    for part in (*explained.by_kind["segment"], *explained.by_kind["phase"], *explained.by_kind["rest"]):
        rows.append(_bar(part, at, at + part.difference.value))
        at += part.difference.value
    rows.append(_bar(explained.by_kind["whole"][0], 0.0, explained.by_kind["whole"][0].difference.value))
    data = pd.DataFrame(rows)
    base = alt.Chart(data).encode(y=alt.Y("part:N", sort=list(data["part"]), title=None, axis=alt.Axis(labelLimit=340)))
    title = f"ms more than {explained.first.text} (below 0: {explained.second.text} is faster)"
    colours = alt.Scale(domain=["slower", "faster", "no difference"], range=[_SLOWER, _FASTER, _SAME])
    chart = (
        base.mark_bar(height=_ROW * 0.6).encode(
            x=alt.X("from:Q", title=title), x2="to:Q", color=alt.Color("is:N", scale=colours, title=None)
        )
        + base.mark_rule(color="#333").encode(x="low:Q", x2="high:Q")
    ).properties(width=_WIDTH, height=_ROW * len(rows), title=next(sentences(explained)))
    return {"svg": vl_convert.vegalite_to_svg(chart.to_json()).encode()}


def _bar(part: Part, start: float, end: float) -> dict[str, Any]:
    low, high = part.difference.bounds
    operators = operators_of(part)
    return {
        "part": f"{name_of(part)}: {operators}" if operators else name_of(part),
        "from": start / 1e6,
        "to": end / 1e6,
        "low": (start + low) / 1e6,
        "high": (start + high) / 1e6,
        "is": "no difference" if not part.differs else "slower" if part.difference.value > 0 else "faster",
    }
