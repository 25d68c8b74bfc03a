"""Tables as values, for the page and for Markdown, and Markdown lists."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from runoff.analysis.wording import detail, headline, tone
from runoff.report.text import Figure, finite, interval, number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from runoff.analysis.verdict import Verdict

_NOTHING = "\N{EN DASH}"
_TAG = re.compile("<(?=[A-Za-z/!?])")
_UNFOLDED = 3
"""Most folded lines of a cell that are listed in Markdown; the rest are counted."""


class Cell(Struct, frozen=True):
    """A cell of a table."""

    text: str
    note: str = ""
    """Shown below it in smaller type: an interval or a reason."""
    key: float | str | None = None
    """Sort key in its column; None sorts last."""
    tone: str = ""
    """``good``, ``bad``, ``warn`` or ``dim``."""
    swatch: str = ""
    """Its colour in the figures, as a variable of the style sheet."""
    more: list[str] = []
    """Lines folded away below it."""
    fold: str = ""
    """Title of the fold."""
    also: str = ""
    """Shown below it in smaller type if the next columns may be out of sight."""
    exact: str = ""
    """Text in Markdown instead, which programs may parse."""


class Column(Struct, frozen=True):
    """The header of a column."""

    name: str
    number: bool = False
    exact: str = ""
    """Text in Markdown instead."""


class Line(Struct, frozen=True):
    """A row; its first cell is its header."""

    cells: list[Cell]
    dim: bool = False
    facets: dict[str, str] = {}
    """Values that the page filters and labels it by: model, target, profile, setting and the id of its case."""


class Table(Struct, frozen=True):
    """A table with a row for each case, point or fact."""

    name: str
    """An id, unique on the page."""
    caption: str
    columns: list[Column]
    lines: list[Line]
    sortable: bool = True
    """Whether its cells have sort keys; texts with numbers in them have none."""


class Naming(Struct, frozen=True):
    """The first columns of a table with a row for each case, which name the case."""

    columns: list[Column]
    cells: Callable[[str], list[Cell]]
    """By the id of a case."""


def plain(text: str, note: str = "", tone: str = "") -> Cell:
    """Return a cell of text, sorted by the text."""
    return Cell(text, note, text or None, tone)


def figure_cell(figure: Figure) -> Cell:
    """Return a cell with an estimate, its interval below it; a dash if there is none."""
    if figure.value is None:
        return nothing()
    return Cell(number(figure), interval(figure), figure.value)


def nothing(why: str = "") -> Cell:
    """Return the cell of a missing value."""
    return Cell(_NOTHING, why, None, "dim")


def verdict_cell(verdict: Verdict | None) -> Cell:
    """Return a cell with a verdict, its interval below it; a dash if there is none."""
    if verdict is None:
        return nothing()
    key = 1.0 if verdict.kind == "baseline" else finite(verdict.ratio)
    return Cell(headline(verdict), detail(verdict), key, tone(verdict))


def without_empty(table: Table) -> Table:
    """Return `table` without its empty columns."""
    kept = [
        place for place in range(len(table.columns)) if any(line.cells[place].key is not None for line in table.lines)
    ]
    lines = [replace(line, cells=[line.cells[place] for place in kept]) for line in table.lines]
    return replace(table, columns=[table.columns[place] for place in kept], lines=lines)


BY_ID = Naming([Column("Case")], lambda case: [plain(case)])
"""Names cases by their ids."""


def markdown(content: Table) -> str:
    """Return a table in Markdown; of what the page folds, the first lines."""
    head = (column.exact or _as_in_text(column.name) for column in content.columns)
    return table(list(head), (map(_words, line.cells) for line in content.lines))


def _as_in_text(name: str) -> str:
    """Return a name with a small first letter, unless it begins with an abbreviation."""
    return name if name[1:2].isupper() else name[:1].lower() + name[1:]


def _words(cell: Cell) -> str:
    if cell.exact or cell.text == _NOTHING:
        return cell.exact or cell.note
    note = f" ({cell.note})" if cell.note else ""
    rest = [f"{len(cell.more) - _UNFOLDED} more"] if len(cell.more) > _UNFOLDED else []
    return "; ".join([cell.text + note, *cell.more[:_UNFOLDED], *rest])


def table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table; vertical bars and line breaks in cells are escaped."""
    lines = [_line(head), _line("---" for _ in head), *(_line(row) for row in rows)]
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(_plain(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def bullets(lines: Iterable[str]) -> str:
    """Return a Markdown list; empty for no lines."""
    return "\n".join(f"- {_plain(line)}" for line in lines)


def _plain(text: str) -> str:
    """Return text without HTML tags: a runner's message may contain some."""
    return _TAG.sub(r"\\<", text)
