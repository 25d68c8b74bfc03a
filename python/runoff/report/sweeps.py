"""Sweeps in a report: the values of each swept setting, and the cost of an operation, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff.report.tables import Cell, Column, Line, Table, figure_cell, nothing, plain, verdict_cell
from runoff.report.text import estimated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runoff.analysis.growth import Growth
    from runoff.analysis.sweeps import Sweep

SWEEP_NOTE = (
    "Each row changes one setting of its target and leaves the others. A ratio is the first value's number divided by "
    "this one's, paired by block: above 1 it takes less. Over the batch, a warm inference is divided by the batch."
)
GROWTH_NOTE = (
    "A line through the synthetic networks, fitted in each block: a fixed part, and the cost of one more operation, "
    "with Student's 95% interval over blocks."
)


def sweep_table(found: Sequence[Sweep]) -> Table:
    """Return a row for each value of each swept setting: its numbers, and how they compare with the first value's."""
    words = list(dict.fromkeys(sweep.words for sweep in found))
    columns = [Column(name) for name in ("Setting", "Value", "Target", "Model", "Other settings")]
    columns += [column for name in words for column in (Column(name, number=True), Column("vs first", number=True))]
    rows: dict[tuple[str, ...], dict[str, list[Cell]]] = {}
    for sweep in found:
        for one in sweep.steps:
            place = (sweep.setting, one.value, sweep.target, f"{sweep.model}, {sweep.workload}", sweep.others)
            cells = [figure_cell(estimated(one.estimate, sweep.unit)), verdict_cell(one.verdict)]
            rows.setdefault(place, {})[sweep.words] = cells
    lines = [
        Line([*map(plain, place), *(cell for word in words for cell in cells.get(word, [nothing(), nothing()]))])
        for place, cells in rows.items()
    ]
    return Table("sweep-table", "Swept settings, one at a time", columns, lines)


def growth_table(found: Sequence[Growth]) -> Table:
    """Return a row for each fitted line: its fixed part and the cost of an operation."""
    columns = [Column(name) for name in ("Target", "Cost", "Setting")]
    columns += [Column(name, number=True) for name in ("Fixed", "Per operation", "Blocks")]
    lines = [
        Line(
            [
                *(plain(text) for text in (line.target, line.metric, f"{line.workload}, {line.setting}")),
                figure_cell(estimated(line.fixed, "ns")),
                figure_cell(estimated(line.per_operation, "ns")),
                Cell(str(line.fixed.n), "", line.fixed.n),
            ]
        )
        for line in found
    ]
    return Table("growth-table", "Cost by the number of operations", columns, lines)
