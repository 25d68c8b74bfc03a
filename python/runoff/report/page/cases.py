"""How the tables name a case: its target, and what else tells it apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from runoff.report.page.model import Cell, Column, plain
from runoff.report.page.svg import variable
from runoff.report.palette import target_colours

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runoff.report.overview import Block, Row


class Naming:
    """The first columns of every table that has a row for each case."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._several = len(blocks) > 1
        self._cells = {row.case: self._of(block, row) for block in blocks for row in block.rows}

    @property
    def columns(self) -> list[Column]:
        """Their heads."""
        return [Column("Target"), *([Column("Model and setting")] if self._several else []), Column("Profile")]

    def cells(self, case: str) -> list[Cell]:
        """Return the cells of a case, by its id."""
        return self._cells[case]

    def _of(self, block: Block, row: Row) -> list[Cell]:
        model, _, setting = block.title.partition(", ")
        what = [Cell(model, setting, block.title)] if self._several else []
        also = f"{block.title}, {row.profile}" if self._several else row.profile
        return [msgspec.structs.replace(_target(row), also=also), *what, plain(row.profile)]


def _target(row: Row) -> Cell:
    note = "A/A: the noise floor" if row.control_of else "" if row.computes else "runs no model"
    failed = f"{row.status}; " if row.status == "error" else ""
    return Cell(row.target, failed + note, row.target, "warn" if failed else "", swatch(row.target))


def swatch(target: str) -> str:
    """Return the variable of the style sheet with the colour of `target`."""
    return variable(target_colours([target])[target])
