"""The table of all cases that ran, and the table of percentiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from runoff.analysis.summary import QUANTILES
from runoff.report import device
from runoff.report.families import name_of
from runoff.report.tables import Cell, Column, Line, Table, figure_cell, nothing, plain, verdict_cell, without_empty
from runoff.report.text import figure_of
from runoff.report.verdicts import ranked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runoff.analysis.analyse import Analysis
    from runoff.report.overview import Block, Row
    from runoff.report.tables import Naming

_MAIN = "inference.warm"


def comparison(blocks: Sequence[Block], naming: Naming) -> Table:
    """Return a row for each case that ran, with its verdicts relative to every baseline."""
    baselines = list(dict.fromkeys(name for block in blocks for name in block.baselines))
    domains = list(dict.fromkeys(name for block in blocks for name in block.domains))
    against = [Column(f"vs {name}", number=True) for name in baselines]
    columns = [
        *naming.columns,
        Column("Process time", number=True),
        *against,
        Column("Warm inference", number=True),
        *against,
        Column("Requests under load", number=True),
        *against,
    ]
    columns += [Column(f"Energy, {name}", number=True) for name in domains]
    columns += [Column("Peak memory", number=True), Column("Stability")]
    lines = [
        Line(
            [*naming.cells(row.case), *_figures(row, baselines, domains)],
            dim=bool(row.control_of) or not row.computes,
            facets={
                "model": block.model,
                "target": row.target,
                "profile": row.profile,
                "setting": block.title,
                "case": row.case,
            }
            | ({"family": name_of(row.target)} if block.crowded else {}),
        )
        for block in blocks
        for row in ranked(block)
    ]
    return without_empty(Table("compare", "All cases that ran", columns, lines))


def _figures(row: Row, baselines: Sequence[str], domains: Sequence[str]) -> Iterator[Cell]:
    for figure, verdicts in ((row.wall, row.wall_vs), (row.warm, row.warm_vs), (row.rate, row.rate_vs)):
        yield figure_cell(figure)
        yield from (verdict_cell(verdicts.get(name)) for name in baselines)
    for name in domains:
        yield figure_cell(row.energy[name].inference) if name in row.energy else nothing()
    yield figure_cell(row.peak)
    yield plain(row.stability or row.status, tone="" if row.stability == "stable" else "warn")


def percentiles(analysis: Analysis, naming: Naming) -> Table:
    """Return first, second and warm inferences of each case, with percentiles and separately timed parts."""
    lines = analysis.summary[analysis.summary["probe"] == "latency"].drop_duplicates(["case", "metric"])
    by_metric: dict[tuple[str, str], dict[Any, Any]] = {
        (line["case"], line["metric"]): line for line in lines.to_dict("records")
    }
    cases = list(dict.fromkeys(case for case, metric in by_metric if metric == _MAIN))
    apart = {_MAIN, *device.PARTS}
    parts = [m for m in dict.fromkeys(lines["metric"]) if str(m).endswith(".warm") and m not in apart]
    names = {"inference.first": "First", "inference.second": "Second", _MAIN: "Warm, median"}
    names |= {f"{_MAIN}.{name}": name for name in QUANTILES if name != "p50"}
    names |= {str(metric): str(metric).removesuffix(".warm").replace("_", " ") + ", warm" for metric in parts}
    columns = [*naming.columns, *(Column(name, number=True) for name in names.values()), Column("Samples", number=True)]
    rows = [
        Line(
            [
                *naming.cells(case),
                *(_quantile(by_metric.get((case, metric))) for metric in names),
                _count(by_metric.get((case, f"{_MAIN}.p50"))),
            ]
        )
        for case in cases
    ]
    return without_empty(Table("percentiles", "Inference times of each case", columns, rows))


def _quantile(line: dict[Any, Any] | None) -> Cell:
    if line is None:
        return nothing()
    figure = figure_of(line)
    if figure.value is None:
        return nothing("too few samples" if line["status"] == "not-measured" else line["status"])
    cell = figure_cell(figure)
    if figure.low is None and line["reason"]:
        return msgspec.structs.replace(cell, more=[line["reason"]], fold="no bounds")
    return cell


def _count(line: dict[Any, Any] | None) -> Cell:
    return Cell(f"{int(line['n']):,}", "", int(line["n"])) if line else nothing()
