"""The figures of the page, each with a text alternative."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup
from msgspec import Struct

from runoff.report.page.svg import inline
from runoff.report.text import Figure, number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from runoff.analysis.analyse import Analysis
    from runoff.report.overview import Block, Row
    from runoff.report.plots import Drawn, Plot


class Picture(Struct, frozen=True):
    """A figure of the page."""

    plot: Plot
    wide: Markup
    narrow: Markup


def pictures(analysis: Analysis, drawn: Sequence[Drawn]) -> dict[str, list[Picture]]:
    """Return the figures by kind."""
    by_kind: dict[str, list[Picture]] = {}
    for figure in drawn:
        plot, says = figure.plot, describe(analysis, figure.plot)
        wide, narrow = (
            # drawn by runoff; ElementTree has escaped its text
            Markup(inline(svg, f"{plot.name}-{size}", f"{plot.title}: {plot.where}", says))  # noqa: S704
            for size, svg in (("w", figure.svg), ("n", figure.narrow))
        )
        by_kind.setdefault(plot.kind, []).append(Picture(plot, wide, narrow))
    return by_kind


def describe(analysis: Analysis, plot: Plot) -> str:
    """Return the text alternative of a figure: its numbers, profile by profile."""
    block = plot.block
    if plot.kind == "confusion":
        return f"{'; '.join(plot.notes)}. The table of accuracy has the shares."
    if block is None:
        return f"{'; '.join(plot.notes)}. The table of all cases has the numbers."
    if plot.kind in ("pareto", "size", "load"):
        return "; ".join(plot.notes) + "."
    if plot.kind == "ratio":
        return _by_profile(block, lambda row: [f"{name} {verdict}" for name, verdict in row.wall_vs.items()])
    wholes = analysis.life.groupby("case")["duration_ns"].sum()
    readers: dict[str, Callable[[Row], Figure]] = {
        "life": lambda row: Figure(float(wholes[row.case]) if row.case in wholes.index else None, unit="ns"),
        "warm": lambda row: row.warm,
        "memory": lambda row: row.peak,
    }
    if plot.kind in readers:
        read = readers[plot.kind]
        return _by_profile(block, lambda row: [number(read(row))] if read(row).value is not None else [])
    return _by_profile(block, lambda row: [f"{name} {number(drawn.inference)}" for name, drawn in row.energy.items()])


def _by_profile(block: Block, read: Callable[[Row], Iterable[str]]) -> str:
    sentences = []
    for profile in block.profiles:
        rows = ((row.target, "; ".join(read(row))) for row in block.present if row.profile == profile)
        values = ", ".join(f"{target} {words}" for target, words in rows if words)
        if values:
            sentences.append(f"Profile {profile}: {values}.")
    return " ".join(sentences)
