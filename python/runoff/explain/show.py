"""An explanation in words, as a table, as JSON and as a plot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from runoff.explain.nodes import groups_of
from runoff.explain.show_memory import grids, memory_document, memory_sentences
from runoff.explain.units import TIME
from runoff.report.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from runoff.explain.explanation import Explained
    from runoff.explain.nodes import Row
    from runoff.explain.parts import Part
    from runoff.explain.units import Unit

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
    yield from _of_parts(explained)
    if explained.memory:
        yield from memory_sentences(explained.memory)


def _of_parts(explained: Explained) -> Iterator[str]:
    first, second, by_kind, unit = explained.first.text, explained.second.text, explained.by_kind, explained.unit
    whole = by_kind["whole"][0]
    if not whole.differs:
        found = f"{unit.range(whole.difference)} {unit.name} of {unit.amount(whole.first)}"
        yield f"{second} and {first}: no difference shown ({found})"
        return
    less = whole.difference.value < 0
    words, other = (unit.less, unit.more) if less else (unit.more, unit.less)
    yield f"{second} {words.format(unit.size(whole.difference), first)}, of {unit.amount(whole.first)}"
    measured = [*by_kind["segment"], *by_kind["phase"]]
    claimed = sorted((part for part in measured if part.differs), key=lambda part: -abs(part.difference.value))
    for part in claimed[:_MOST_NAMED]:
        verb = "of it" if (part.difference.value < 0) == less else f"lost: {second} {_bare(other)}"
        details = kernels_of(explained, part) or operators_of(part)
        yield ": ".join(filter(None, (f"{unit.size(part.difference)} {verb} in {name_of(part)}", details)))
    if not claimed and measured:
        yield "no part of it differs by more than noise"
    for rest in by_kind["rest"]:
        if rest.differs:
            yield f"{unit.size(rest.difference)} is in no segment: it arises between them (fusion, layout, cache)"


def _bare(words: str) -> str:
    """Return the words of a comparison without its numbers: ``is slower``."""
    return " ".join(words.replace("{} ", "", 1).split()[:-2])


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
    columns = ("part", "operators", explained.first.text, explained.second.text, f"difference in {explained.unit.name}")
    table = Table(*columns, box=SIMPLE_HEAD)
    for part in explained.parts:
        style = "" if part.differs or part.kind in ("original", "whole", "cuts") else "dim"
        table.add_row(*part_cells(part, explained.unit), style=style)
    console.print(table)
    if explained.rows:
        console.print(_nodes_table(explained))
    for grid in grids(explained.memory) if explained.memory else ():
        first, *others = grid.columns
        table = Table(Column(first, overflow="fold"), *others, box=SIMPLE_HEAD, title=grid.title, title_justify="left")
        for cells in grid.rows:
            table.add_row(*cells)
        console.print(table)
    lines = [*sentences(explained), *([profiles_note(explained)] if explained.rows else [])]
    for line in (*lines, *(f"no times of nodes: {reason}" for reason in explained.missing)):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def part_cells(part: Part, unit: Unit) -> tuple[str, ...]:
    """Return the line of a part in the table."""
    sides = unit.amount(part.first), unit.amount(part.second)
    return (name_of(part), operators_of(part), *sides, unit.range(part.difference))


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
    return TIME.amount(ns)


def document(explained: Explained) -> dict[str, Any]:
    """Return the explanation for JSON; times are in nanoseconds, memory in bytes, differences second - first."""
    return {
        "model": explained.model,
        "first": explained.first.text,
        "second": explained.second.text,
        "sentences": list(sentences(explained)),
        "parts": [_part(part, explained.unit.field) for part in explained.parts],
        "cuts": explained.cuts.cuts if explained.cuts else (),
        "nodes": [segment.nodes for segment in explained.cuts.segments] if explained.cuts else [],
        "nodes_compared": [_row(explained, row) for row in explained.rows],
        "nodes_missing": explained.missing,
        "peaks": explained.peaks,
        **(memory_document(explained.memory) if explained.memory else {}),
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


def _part(part: Part, unit: str) -> dict[str, Any]:
    low, high = part.difference.bounds
    return {
        "part": name_of(part),
        "kind": part.kind,
        "segments": part.segments,
        "operators": part.operators,
        f"first_{unit}": part.first,
        f"second_{unit}": part.second,
        f"difference_{unit}": part.difference.value,
        f"low_{unit}": low,
        f"high_{unit}": high,
        "differs": part.differs,
    }


def draw(explained: Explained) -> bytes:
    """Return the plot as SVG: a bar for each part, from where the one before it ended, up to the whole."""
    import altair as alt
    import pandas as pd
    import vl_convert

    rows, at = [], 0.0
    for part in (*explained.by_kind["segment"], *explained.by_kind["phase"], *explained.by_kind["rest"]):
        rows.append(_bar(explained, part, at, at + part.difference.value))
        at += part.difference.value
    whole = explained.by_kind["whole"][0]
    rows.append(_bar(explained, whole, 0.0, whole.difference.value))
    data = pd.DataFrame(rows)
    base = alt.Chart(data).encode(y=alt.Y("part:N", sort=list(data["part"]), title=None, axis=alt.Axis(labelLimit=340)))
    unit = explained.unit
    more, less = (_bare(words) for words in (unit.more, unit.less))
    title = f"{unit.name} more than {explained.first.text} (below 0: {explained.second.text} {less})"
    colours = alt.Scale(domain=[more, less, "no difference"], range=[SLOWER, FASTER, SAME])
    chart = (
        base.mark_bar(height=_ROW * 0.6).encode(
            x=alt.X("from:Q", title=title), x2="to:Q", color=alt.Color("is:N", scale=colours, title=None)
        )
        + base.mark_rule(color="#333").encode(x="low:Q", x2="high:Q")
    ).properties(width=_WIDTH, height=_ROW * len(rows), title=next(sentences(explained)))
    return vl_convert.vegalite_to_svg(chart.to_json()).encode()


def _bar(explained: Explained, part: Part, start: float, end: float) -> dict[str, Any]:
    low, high = part.difference.bounds
    operators, unit = operators_of(part), explained.unit
    words = _bare(unit.more if part.difference.value > 0 else unit.less)
    return {
        "part": f"{name_of(part)}: {operators}" if operators else name_of(part),
        "from": start / 1e6,
        "to": end / 1e6,
        "low": (start + low) / 1e6,
        "high": (start + high) / 1e6,
        "is": words if part.differs else "no difference",
    }
