"""The columns by which the page's tables name a case: its target, and whatever else distinguishes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from runoff.report.page.svg import variable
from runoff.report.palette import target_colours
from runoff.report.tables import Cell, Column, Naming, plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runoff.report.overview import Block, Row

    Colours = Mapping[str, str]
    """Of the run's targets, by target; without any, each target has the colour that it has alone."""


def naming(blocks: Sequence[Block], colours: Colours | None = None) -> Naming:
    """Return the first columns of every table that has a row for each case."""
    several = len(blocks) > 1
    columns = [Column("Target"), *([Column("Model and setting")] if several else []), Column("Profile")]
    cells = {
        row.case: _cells(block, row, swatch(row.target, colours), several=several)
        for block in blocks
        for row in block.rows
    }
    return Naming(columns, cells.__getitem__)


def _cells(block: Block, row: Row, colour: str, *, several: bool) -> list[Cell]:
    model, _, setting = block.title.partition(", ")
    what = [Cell(model, setting, block.title)] if several else []
    also = f"{block.title}, {row.profile}" if several else row.profile
    return [replace(_target(row), also=also, swatch=colour), *what, plain(row.profile)]


def _target(row: Row) -> Cell:
    note = "A/A: the noise floor" if row.control_of else row.software if row.computes else "runs no model"
    warning = "; ".join(filter(None, (row.status if row.status == "error" else "", row.deviation)))
    return Cell(row.target, "; ".join(filter(None, (warning, note))), row.target, "warn" if warning else "")


def swatch(target: str, colours: Colours | None = None) -> str:
    """Return the style sheet's variable with the colour of `target`."""
    return variable((colours or target_colours([target]))[target])
