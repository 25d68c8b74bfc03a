"""Tables shared by the page and Markdown, and the page's tables below the comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from runoff.analysis.validity import computes
from runoff.analysis.verdict import read_verdict
from runoff.analysis.wording import percent
from runoff.report import browser, device, energy, load, segmentation
from runoff.report.facts import facts
from runoff.report.overview import missing, outliers, ratios
from runoff.report.palette import PHASES
from runoff.report.tables import (
    Cell,
    Column,
    Line,
    Naming,
    Table,
    figure_cell,
    nothing,
    plain,
    verdict_cell,
    without_empty,
)
from runoff.report.text import Figure, figure_of, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runoff.analysis.analyse import Analysis
    from runoff.report.overview import Block

_OUTCOMES = {"differs": "bad", "unknown": "warn", "ok": "good"}
_NEAR_ONE = 0.99
"""A cosine above it is shown with all its digits."""
_NAMED = 3
"""Most cases that are named; more are counted."""
TEXTS = {
    "load-table": ("Throughput and latency under load", load),
    "segmentation-table": ("Parts of a segmentation, and its masks", segmentation),
    "device-table": ("Warm inferences on the GPU", device),
    "browser-table": ("Pages in a browser", browser),
    "energy-table": ("Energy by case, part and source", energy),
}
"""By name, tables of texts: the caption, and the module that has head and rows."""


def life(analysis: Analysis, naming: Naming) -> Table:
    """Return the phases of the median process of each case, in milliseconds."""
    wide = analysis.life.assign(ms=analysis.life["duration_ns"] / 1e6).pivot_table(
        index="case", columns="phase", values="ms", sort=False, aggfunc="sum"
    )
    known = list(PHASES)
    wide = wide[sorted(wide.columns, key=lambda name: known.index(name) if name in known else len(known))]
    columns = [*naming.columns, *_numbers(*wide.columns, "whole")]
    lines = [
        Line([*naming.cells(str(case)), *(_ms(float(value)) for value in (*values, values.sum()))])
        for case, values in wide.iterrows()
    ]
    return Table("life-table", "Phases of the median process of each case, in milliseconds", columns, lines)


def _numbers(*names: object) -> list[Column]:
    return [Column(str(name), number=True) for name in names]


def _ms(value: float) -> Cell:
    return nothing() if np.isnan(value) else Cell(f"{value:,.1f}", "", value)


def accuracy(analysis: Analysis, naming: Naming) -> Table:
    """Return the differences between each case's outputs and the reference."""
    checked = analysis.summary[(analysis.summary["probe"] == "accuracy") & (analysis.summary["n"] > 0)]
    wide = checked.pivot_table(index="case", columns="metric", values="estimate", sort=False)
    units = dict(zip(checked["metric"], checked["unit"], strict=True))
    heads = [Column(str(name).replace("_", " "), number=True, exact=str(name)) for name in wide.columns]
    rows = [
        Line(
            [
                *naming.cells(str(case)),
                *(_close(float(value), units[name]) for name, value in zip(wide.columns, values, strict=True)),
            ]
        )
        for case, values in zip(wide.index, wide.to_numpy(), strict=True)
    ]
    return Table(
        "accuracy-table", "Largest difference of each case from the reference", [*naming.columns, *heads], rows
    )


def _close(value: float, unit: str) -> Cell:
    if np.isnan(value):
        return nothing()
    exact = f"{value:.8g}" if value > _NEAR_ONE else f"{value:.2g}"
    return Cell(f"{100 * value:.4g}%" if unit == "share" else exact, "", value, exact=exact)


def ratio_table(analysis: Analysis, naming: Naming) -> Table:
    """Return a row for each ratio of the headline metrics."""
    columns = [*naming.columns, Column("Metric"), Column("Baseline")]
    columns += _numbers("Ratio", "Low", "High", "p, corrected", "Floor")
    lines = [
        Line(
            [
                *naming.cells(line["case"]),
                *(plain(f"{line['probe']} {line['metric']}"), plain(line["baseline"])),
                *(_digits(line[name]) for name in ("ratio", "ratio_low", "ratio_high")),
                _small(line["p_adjusted"]),
                _share(line["floor"]),
                verdict_cell(read_verdict(line)),
            ]
        )
        for line in ratios(analysis)
    ]
    return Table(
        "ratio-table",
        "Paired ratios: the baseline's value divided by the target's",
        [*columns, Column("Verdict")],
        lines,
    )


def _digits(value: float | None) -> Cell:
    return nothing() if value is None else Cell(f"{value:.4g}", "", value)


def _small(value: float | None) -> Cell:
    if value is None:
        return nothing()
    exact = f"{value:.2g}"
    return Cell("< 0.0001" if value < 0.0001 else exact, "", value, exact=exact)  # noqa: PLR2004


def _share(value: float | None) -> Cell:
    return nothing() if value is None else Cell(f"{value:.1%}", "", value, exact=percent(value))


def audit(analysis: Analysis) -> Table:
    """Return a row for each point and outcome, with the comparisons that share it; differences first."""
    by_point: dict[tuple[str, str], dict[str, list[str]]] = {}
    for point in analysis.audit:
        details = by_point.setdefault((point.outcome, point.point), {})
        details.setdefault(point.detail, []).append(", ".join(point.comparison))
    count, order = len({point.comparison for point in analysis.audit}), list(_OUTCOMES)
    columns = [Column("Point"), Column("Outcome"), Column("Detail"), Column("Comparisons")]
    lines = [
        Line(
            [
                plain(name),
                Cell(outcome, "", order.index(outcome), _OUTCOMES[outcome]),
                _said(details),
                _comparisons([name for where in details.values() for name in where], count),
            ]
        )
        for (outcome, name), details in sorted(by_point.items(), key=lambda entry: order.index(entry[0][0]))
    ]
    return Table("audit-table", "Points of the fairness audit", columns, lines)


def _said(details: dict[str, list[str]]) -> Cell:
    """Return the detail that most comparisons share; the others are folded, with their names."""
    first, *others = sorted(details, key=lambda detail: -len(details[detail]))
    more = [f"{_some(details[detail])}: {detail}" for detail in others]
    return Cell(first, key=first, more=more, fold=plural(len(others), "other detail"))


def _some(names: list[str]) -> str:
    """Return the names of comparisons; of many, the first and the number of the others."""
    return "; ".join(names) if len(names) <= _NAMED else f"{names[0]} and {len(names) - 1} others"


def _comparisons(where: list[str], count: int) -> Cell:
    if len(where) == count:
        return Cell(f"all {count}", key=count)
    if len(where) <= _NAMED:
        return Cell("; ".join(where), key=len(where))
    return Cell(f"{len(where)} of {count}", key=len(where), more=where, fold="which")


def stability(analysis: Analysis, naming: Naming) -> Table:
    """Return the verdict on each case's times, with the evidence."""
    lines = [
        Line(
            [
                *naming.cells(case),
                plain(", ".join(found.holds) or found.verdict, tone="good" if found.verdict == "stable" else "warn"),
                _evidence(found.evidence),
            ]
        )
        for case, found in analysis.stability.items()
    ]
    columns = [*naming.columns, Column("Stability"), Column("Evidence")]
    return Table("stability-table", "Stability of the times, with the evidence", columns, lines)


def _evidence(signs: list[str]) -> Cell:
    first, *more = signs
    return Cell(first, key=first, more=more, fold=f"{plural(len(more), 'more sign')}")


def outlier_table(analysis: Analysis, naming: Naming) -> Table:
    """Return the number of outliers among the samples of each case."""
    columns = [
        *naming.columns,
        Column("Metric"),
        *_numbers("Samples", "Mild", "Severe"),
    ]
    lines = [
        Line(
            [
                *naming.cells(found.case),
                plain(f"{found.probe} {found.metric}"),
                *(Cell(f"{count:,}", "", count) for count in (found.n, found.mild, found.severe)),
            ]
        )
        for found in outliers(analysis)
    ]
    return Table("outliers-table", "Outliers: counted, and included in every estimate", columns, lines)


def missing_table(analysis: Analysis, all_blocks: Sequence[Block]) -> Table:
    """Return the missing values of the cases that ran, a row for each reason."""
    unavailable = {row.case for block in all_blocks for row in block.unavailable}
    ran = analysis.summary[~analysis.summary["case"].isin(unavailable)]
    lines = [
        Line(
            [
                plain(entry.reason),
                plain(entry.status, tone="bad" if entry.status == "error" else ""),
                plain(", ".join(entry.cases) if len(entry.cases) <= _NAMED else plural(len(entry.cases), "case")),
                plain(", ".join(entry.metrics)),
            ]
        )
        for entry in missing(ran)
    ]
    columns = [Column("Reason"), Column("Status"), Column("Cases"), Column("Metrics")]
    return Table("missing-table", "Missing values, with the reasons", columns, lines)


def text_table(name: str, analysis: Analysis, naming: Naming) -> Table:
    """Return the table of `TEXTS` called `name`; the first text of each row is the id of a case."""
    caption, source = TEXTS[name]
    lines = [
        Line([*naming.cells(case), *(plain(cell.replace("**", "")) for cell in cells)])
        for case, *cells in source.rows(analysis)
    ]
    columns = [*naming.columns, *map(Column, source.HEAD[1:])]
    return Table(name, caption, columns, lines, sortable=False)


def footprint(analysis: Analysis, naming: Naming) -> Table:
    """Return the disk space of each case that computes, by part, and the time that its imports take."""
    footprints = analysis.run.info.footprints
    cases = [case for case in analysis.run.info.cases if case.id in footprints and case.control_of is None]
    shown = [case for case in cases if computes(analysis.run, case.target)]
    parts = list(dict.fromkeys(part for case in shown for part in footprints[case.id].parts))
    names = (*parts, "total", "compressed", "files", "packages", "imports")
    columns = [*naming.columns, *_numbers(*names), Column("Not measured")]
    lived = analysis.summary[(analysis.summary["probe"] == "life") & (analysis.summary["metric"] == "imports")]
    imports = {line["case"]: line for line in lived.to_dict("records")}
    lines = [
        Line(
            [
                *naming.cells(case.id),
                *(_megabytes(footprints[case.id].parts.get(part)) for part in parts),
                _megabytes(sum(footprints[case.id].parts.values()) or None),
                _megabytes(sum(footprints[case.id].compressed.values()) or None),
                _count(footprints[case.id].files),
                _count(footprints[case.id].packages),
                figure_cell(figure_of(imports[case.id])) if case.id in imports else nothing(),
                plain(footprints[case.id].reason),
            ]
        )
        for case in shown
    ]
    return without_empty(Table("footprint-table", "Disk space of each case", columns, lines))


def _count(number: int | None) -> Cell:
    return nothing() if number is None else Cell(f"{number:,}", "", number)


def _megabytes(size: int | None) -> Cell:
    return nothing() if size is None else figure_cell(Figure(float(size), unit="bytes"))


def machine(analysis: Analysis) -> Table:
    """Return the machine and the versions of everything."""
    lines = [Line([plain(name), plain(text)]) for name, text in facts(analysis.run.info)]
    return Table("machine-table", "Machine and versions", [Column("Fact"), Column("Value")], lines)
