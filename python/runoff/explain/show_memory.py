"""What only explanations of memory have, in words, as tables and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import to_builtins

from runoff.explain.units import MEMORY, TIME

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runoff.explain.memory import Details, Memory, Saving

_MOST = 4
"""Holders that a sentence names."""
_SMALLEST = 0.01
"""Of the peak: the smallest holder that a sentence names."""
_SHOWN = 50_000
"""Bytes: what is smaller has no place in a table."""


class Grid(NamedTuple):
    """A table."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def memory_sentences(memory: Memory) -> Iterator[str]:
    """Yield what holds the memory of each side, what settings save, and what is not known."""
    for details in memory.details:
        if details.held:
            yield _holding(details)
    claimed = [one for one in memory.savings if one.differs]
    for saving in claimed:
        verb = "needs {} less" if saving.peak.value < 0 else "needs {} more"
        yield f"{saving.text} {verb.format(MEMORY.size(saving.peak))}{_cost(saving)}"
    rest = [one.text for one in memory.savings if not one.differs]
    if rest:
        yield f"no difference of memory shown: {', '.join(rest)}"
    yield from dict.fromkeys((*memory.notes, *(line for details in memory.details for line in details.missing)))


def _holding(details: Details) -> str:
    """Return the largest holders of the memory of a side."""
    rows = [one for one in details.held if not one.of_it and one.size >= _SMALLEST * details.peak]
    named = [f"{MEMORY.amount(one.size)} {one.name}" for one in sorted(rows, key=lambda one: -one.size)[:_MOST]]
    file = f" for a model of {MEMORY.amount(details.file_size)}" if details.file_size else ""
    where = f", reached in {details.peak_in}" if details.peak_in else ""
    return f"{details.side} peaks at {MEMORY.amount(details.peak)}{file}{where}: {', '.join(named)}"


def _cost(saving: Saving) -> str:
    """Return what a setting costs in time."""
    warm = saving.warm
    if warm is None:
        return ""
    if warm.bounds[0] <= 0 <= warm.bounds[1]:
        return "; no difference of a warm inference shown"
    return f"; a warm inference takes {TIME.size(warm)} {'more' if warm.value > 0 else 'less'}"


def grids(memory: Memory) -> list[Grid]:
    """Return the tables: what holds the memory of each side, and what settings change."""
    made, known = [], [details for details in memory.details if details.held]
    if known:
        cells = [
            (f"of it: {rows[0].name}" if rows[0].of_it else rows[0].name, *(_cell(row.size) for row in rows))
            for rows in zip(*(details.held for details in known), strict=True)
            if any(abs(row.size) >= _SHOWN for row in rows)
        ]
        note = "One process of each side, which lists its mappings; its peak is the sum. It is not one of those above."
        columns = ("holder", *(details.side for details in known))
        made.append(Grid("What holds the memory at the peak", note, columns, cells))
    if memory.savings:
        note = "Each setting alone, next to the side as it is, in the same run; below 0: it saves."
        settings = [
            (one.text, MEMORY.range(one.peak), TIME.range(one.warm) if one.warm else "") for one in memory.savings
        ]
        made.append(Grid("What settings change", note, ("side", "peak in MB", "warm inference in ms"), settings))
    return made


def _cell(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if abs(size) >= _SHOWN else ""


def memory_document(memory: Memory) -> dict[str, Any]:
    """Return the explanation of memory for JSON, in bytes and nanoseconds."""
    return {
        "held": [
            {
                "side": one.side,
                "peak_bytes": one.peak,
                "peak_in": one.peak_in,
                "model_bytes": one.file_size,
                "holders": [{"name": row.name, "bytes": row.size, "of_it": row.of_it} for row in one.held],
            }
            for one in memory.details
        ],
        "savings": [
            {
                "of": one.of,
                "side": one.text,
                "peak_bytes": one.peak.value,
                "low_bytes": one.peak.bounds[0],
                "high_bytes": one.peak.bounds[1],
                "differs": one.differs,
                "warm_ns": one.warm.value if one.warm else None,
                "warm_low_ns": one.warm.bounds[0] if one.warm else None,
                "warm_high_ns": one.warm.bounds[1] if one.warm else None,
            }
            for one in memory.savings
        ],
        "missing": to_builtins((*memory.notes, *(line for details in memory.details for line in details.missing))),
    }
