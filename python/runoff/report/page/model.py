"""What the page's templates are given: tables, cells and figures, as plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from runoff.analysis.wording import detail, headline, tone
from runoff.report.text import Figure, finite, interval, number

if TYPE_CHECKING:
    from markupsafe import Markup

    from runoff.analysis.verdict import Verdict


class Cell(Struct, frozen=True):
    """A cell of a table."""

    text: str
    note: str = ""
    """In smaller type below it: an interval, a reason."""
    key: float | str | None = None
    """What the column is sorted by; None sorts last."""
    tone: str = ""
    """``good``, ``bad``, ``warn`` or ``dim``."""
    swatch: str = ""
    """A colour that the figures use for it, as a variable of the style sheet."""
    more: list[str] = []
    """What is folded away below it."""
    fold: str = ""
    """What the fold is called."""
    also: str = ""
    """In smaller type below it if the next columns may be out of sight."""


class Column(Struct, frozen=True):
    """The head of a column."""

    name: str
    number: bool = False


class Line(Struct, frozen=True):
    """A row; its first cell is its head."""

    cells: list[Cell]
    dim: bool = False
    facets: dict[str, str] = {}
    """What it may be filtered by, and is called by: model, target, profile, setting and the id of its case."""


class Table(Struct, frozen=True):
    """A table with a row for each case, point or fact."""

    name: str
    """An id, unique on the page."""
    caption: str
    columns: list[Column]
    lines: list[Line]
    sortable: bool = True
    """Whether its cells know what they are sorted by; texts with numbers in them do not."""


class Picture(Struct, frozen=True):
    """A figure of the page."""

    name: str
    title: str
    where: str
    notes: list[str]
    wide: Markup
    narrow: Markup


class Answer(Struct, frozen=True):
    """One of the two or three numbers that matter."""

    question: str
    """What it is asked for: ``One short process``."""
    targets: list[str]
    """The first, with those that are not distinguishable from it."""
    swatch: str
    figure: str
    between: str
    profile: str
    where: str
    stands: list[str]
    """How it compares with each baseline, a sentence each."""
    costs: str
    """What else the same case costs."""
    unfair: str


def plain(text: str, note: str = "", tone: str = "") -> Cell:
    """Return a cell of text that is sorted by it."""
    return Cell(text, note, text or None, tone)


def figure_cell(figure: Figure) -> Cell:
    """Return a cell with an estimate, its interval below it; a dash if there is none."""
    if figure.value is None:
        return nothing()
    return Cell(number(figure), interval(figure), figure.value)


def nothing(why: str = "") -> Cell:
    """Return the cell of what was not measured."""
    return Cell("\N{EN DASH}", why, None, "dim")


def verdict_cell(verdict: Verdict | None) -> Cell:
    """Return a cell with a verdict, its interval below it; a dash if there is none."""
    if verdict is None:
        return nothing()
    key = 1.0 if verdict.kind == "baseline" else finite(verdict.ratio)
    return Cell(headline(verdict), detail(verdict), key, tone(verdict))


def without_empty(table: Table) -> Table:
    """Return `table` without the columns in which no line has a value or a word."""
    kept = [
        place for place in range(len(table.columns)) if any(line.cells[place].key is not None for line in table.lines)
    ]
    lines = [msgspec.structs.replace(line, cells=[line.cells[place] for place in kept]) for line in table.lines]
    return msgspec.structs.replace(table, columns=[table.columns[place] for place in kept], lines=lines)
