"""An explanation in words, as a table, as JSON and as a plot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from runoff.explain.nodes import groups_of
from runoff.report.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from runoff.explain.explanation import Explained
    from runoff.explain.nodes import Row
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
_MOST_ROWS = 10
_WIDTH, _ROW = 520, 26
SLOWER, FASTER, SAME = "#D55E00", "#0072B2", "#999999"


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
        details = kernels_of(explained, part) or operators_of(part)
        yield ": ".join(filter(None, (f"{_size(part.difference)} {verb} in {name_of(part)}", details)))
    if not claimed:
        yield "no part of it differs by more than noise"
    for rest in by_kind["rest"]:
        if rest.differs:
            yield f"{_size(rest.difference)} is in no segment: it arises between them (fusion, layout, cache)"


def kernels_of(explained: Explained, part: Part) -> str:
    """Return the operator that makes most of a part's difference in the profiles: ``14 depthwise Conv: ...``."""
    groups = groups_of(row for row in explained.rows if row.segment in part.segments)
    group = next((one for one in groups if one.difference_ns * part.difference.value > 0), None)
    if group is None:
        return ""
    names = explained.first.text, explained.second.text
    sides = zip(names, group.times_ns, group.kernels, strict=True)
    words = (f"{name} {_ms(ns)} in {kernel}" if kernel else f"{name} none" for name, ns, kernel in sides)
    return f"{group.count} {group.operator}: {', '.join(words)} (profiles)"


def profiles_note(explained: Explained) -> str:
    """Return what the times of nodes are."""
    names = explained.first.text, explained.second.text
    totals = (sum(row.times_ns[side] for row in explained.rows) for side in (0, 1))
    added = ", ".join(f"{name} {_ms(ns)}" for name, ns in zip(names, totals, strict=True))
    return f"Times of nodes are those of the runtimes' own profilers (in all: {added}), not the measured difference."


def peak_note(explained: Explained) -> str:
    """Return what shares of the peak are."""
    peaks = (f"{one.flops_per_s / 1e9:.0f} GFLOP/s and {one.bytes_per_s / 1e9:.1f} GB/s" for one in explained.peaks)
    measured = " and ".join(dict.fromkeys(peaks))
    return (
        f"Of the peak: the shortest time of a node on this machine as a share of its own, by the "
        f"measured peak of {measured} (a large float32 MatMul in ONNX Runtime; copies in memory). "
        "What stays in a cache, or takes fewer operations than counted, can be above 100%."
    )


def density_of(row: Row) -> str:
    """Return the operations for each byte; empty if not known."""
    return f"{row.flops / row.size:.1f}" if row.flops and row.size else ""


def share_of_peak(explained: Explained, row: Row, side: int) -> str:
    """Return what share of the machine's peak a side reaches in a row; empty if not known."""
    share = row.of_peak(side, explained.peaks[side])
    return f"{100 * share:.0f}%" if share else ""


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
        table.add_row(*part_cells(part), style=style)
    console.print(table)
    if explained.rows:
        console.print(_nodes_table(explained))
    lines = [*sentences(explained), *([profiles_note(explained)] if explained.rows else [])]
    for line in (*lines, *(f"no times of nodes: {reason}" for reason in explained.missing)):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def part_cells(part: Part) -> tuple[str, ...]:
    """Return the line of a part in the table."""
    return (name_of(part), operators_of(part), _ms(part.first_ns), _ms(part.second_ns), _range(part.difference))


def _nodes_table(explained: Explained) -> Table:
    """Return the rows of nodes that differ most."""
    names = explained.first.text, explained.second.text
    title = f"the {_MOST_ROWS} largest of {len(explained.rows)} differences of nodes, by the runtimes' own profilers"
    columns = ("segment", "node", names[0], names[1], "difference in ms", "FLOP/byte", "of the peak")
    table = Table(*columns, box=SIMPLE_HEAD, title=title, title_justify="left")
    for row in sorted(explained.rows, key=lambda row: -abs(row.difference_ns))[:_MOST_ROWS]:
        node = f"{row.work[0].name} ({row.operator})" if row.work else row.operator
        sides = (
            f"{_ms(ns)} {', '.join(dict.fromkeys(kernel.kernel for kernel in kernels))}"
            for ns, kernels in zip(row.times_ns, row.kernels, strict=True)
        )
        shares = ", ".join(filter(None, (share_of_peak(explained, row, side) for side in (0, 1))))
        table.add_row(
            str(row.segment),
            node,
            *sides,
            f"{row.difference_ns / 1e6:+.3f}",
            density_of(row),
            shares,
        )
    return table


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
        "nodes_compared": [_row(explained, row) for row in explained.rows],
        "nodes_missing": explained.missing,
        "peaks": explained.peaks,
        "run": str(explained.folder),
    }


def _row(explained: Explained, row: Row) -> dict[str, Any]:
    return {
        "segment": row.segment,
        "operator": row.operator,
        "nodes": [work.name for work in row.work],
        "first": row.kernels[0],
        "second": row.kernels[1],
        "profiled_ns": row.times_ns,
        "flops": row.flops,
        "bytes": row.size,
        "of_peak": [row.of_peak(side, peak) for side, peak in enumerate(explained.peaks)],
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


def draw(explained: Explained) -> bytes:
    """Return the plot as SVG: a bar for each part, from where the one before it ended, up to the whole."""
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
    colours = alt.Scale(domain=["slower", "faster", "no difference"], range=[SLOWER, FASTER, SAME])
    chart = (
        base.mark_bar(height=_ROW * 0.6).encode(
            x=alt.X("from:Q", title=title), x2="to:Q", color=alt.Color("is:N", scale=colours, title=None)
        )
        + base.mark_rule(color="#333").encode(x="low:Q", x2="high:Q")
    ).properties(width=_WIDTH, height=_ROW * len(rows), title=next(sentences(explained)))
    return vl_convert.vegalite_to_svg(chart.to_json()).encode()


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
