"""``explain.html``: one file with the sentences, the bars, the graph of the nodes in colour, and all numbers."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from runoff.explain.show import (
    FASTER,
    SAME,
    SLOWER,
    density_of,
    part_cells,
    peak_note,
    profiles_note,
    sentences,
    share_of_peak,
)
from runoff.explain.show_memory import grids

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runoff.explain.explanation import Explained
    from runoff.explain.nodes import Row

_STEP, _TOP, _X, _BARS, _LONGEST = 24, 24, 140, 470, 420
"""Pixels: height of a row and of the heading, places of the nodes and of their bars, length of the longest bar."""
_FARTHEST = 60
"""Pixels that an arc reaches to the left."""
_FAINTEST = 0.02
"""Of the largest difference; what is smaller has no colour."""


def page(explained: Explained, plot: str, machine: str) -> bytes:
    """Return the page; `plot` is the plot of the parts as SVG, `machine` a line about it."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    values = {
        "title": f"{explained.model}: {explained.first.text}, {explained.second.text}",
        "machine": machine,
        "first": explained.first.text,
        "second": explained.second.text,
        "sentences": list(sentences(explained)),
        "plot": Markup(plot),  # noqa: S704 (made by Vega, which escapes)
        "unit": explained.unit.name,
        "parts": [part_cells(part, explained.unit) for part in explained.parts],
        "grids": grids(explained.memory) if explained.memory else (),
        "nodes": _nodes(explained),
        "bands": list(_bands(explained.rows)),
        "arcs": list(_arcs(explained.rows)),
        "profiles_note": profiles_note(explained) if explained.rows else "",
        "peak_note": peak_note(explained) if explained.rows else "",
        "width": _BARS + _LONGEST + 190,
        "height": _TOP + _STEP * len(explained.rows),
        "bars": _BARS,
        "x": _X,
        "step": _STEP,
    }
    return templates.get_template("page.html.j2").render(values).encode()


def _y(place: int) -> int:
    return _TOP + _STEP * place + _STEP // 2


def _bands(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield the area of each segment."""
    place = 0
    for segment, own in groupby(rows, key=lambda row: row.segment):
        count = len(list(own))
        yield {"y": _TOP + _STEP * place, "height": _STEP * count, "name": f"segment {segment}"}
        place += count


def _arcs(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the path of each tensor that skips rows."""
    made = {name: place for place, row in enumerate(rows) for work in row.work for name in work.outputs}
    links = {
        (made[name], place)
        for place, row in enumerate(rows)
        for work in row.work
        for name in work.inputs
        if made.get(name, place) < place
    }
    for start, end in sorted(links):
        if any(row.work for row in rows[start + 1 : end]):
            left = _X - min(_FARTHEST, 14 + 6 * (end - start))
            yield f"M{_X - 6},{_y(start)} C{left},{_y(start)} {left},{_y(end)} {_X - 6},{_y(end)}"


def _nodes(explained: Explained) -> list[dict[str, Any]]:
    """Return what the graph and the table show of each row."""
    rows = explained.rows
    longest = max((ns for row in rows for ns in row.times_ns), default=0.0) or 1.0
    largest = max((abs(row.difference_ns) for row in rows), default=0.0) or 1.0
    totals = [sum(row.times_ns[side] for row in rows) or 1.0 for side in (0, 1)]
    return [_node(explained, row, place, longest, largest, totals) for place, row in enumerate(rows)]


def _node(
    explained: Explained, row: Row, place: int, longest: float, largest: float, totals: Sequence[float]
) -> dict[str, Any]:
    times, difference = row.times_ns, row.difference_ns
    strength = abs(difference) / largest
    colour = SAME if strength < _FAINTEST else SLOWER if difference > 0 else FASTER
    others = len(row.work) - 1
    work = max(row.work, key=lambda work: work.flops or 0, default=None)
    ms = [f"{ns / 1e6:.3f}" for ns in times]
    kernels = [", ".join(dict.fromkeys(kernel.kernel for kernel in side)) for side in row.kernels]
    shares = "/".join(f"{100 * ns / total:.1f}%" for ns, total in zip(times, totals, strict=True))
    return {
        "y": _y(place),
        "segment": row.segment,
        "name": f"{row.operator} + {others}" if others > 0 else row.operator,
        "long": f"{row.operator}: {work.name}{f' and {others} more' * bool(others)}" if work else row.operator,
        "shape": "x".join(map(str, work.shape)) if work else "",
        "title": "\n".join(work.name for work in row.work),
        "fill": f"color-mix(in srgb, {colour} {round(100 * strength**0.5)}%, #fff)",
        "colour": colour,
        "widths": [round(_LONGEST * ns / longest, 1) for ns in times],
        "times": " / ".join(ms),
        "ms": ms,
        "kernels": kernels,
        "difference": f"{difference / 1e6:+.3f}",
        "way": "" if colour == SAME else "slower" if difference > 0 else "faster",
        "amounts": [
            shares,
            f"{row.flops / 1e6:.2f}" if row.flops is not None else "",
            f"{row.size / 1e6:.2f}" if row.size else "",
            density_of(row),
            *(share_of_peak(explained, row, side) for side in (0, 1)),
        ],
    }
