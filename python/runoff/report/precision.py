"""The section on precisions: size, speed, memory and loss next to fp32, and where the time goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff.analysis.precision import FULL
from runoff.analysis.wording import against, detail, headline, percent
from runoff.records.nodes import CLASSES
from runoff.report.tables import Cell, Column, Line, Table, figure_cell, nothing, plain, verdict_cell
from runoff.report.text import Figure, number, plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runoff.analysis.analyse import Analysis
    from runoff.analysis.precision import ClassTime, Precision
    from runoff.report.overview import Block, Row
    from runoff.report.tables import Naming

NOTE = (
    "Each precision of a target is compared with fp32 on the same target. Loss is the largest difference from the "
    "model in fp32, relative to the largest output, over all examples; it is a property of the variant, not an error "
    "of the target. A loss above its limit is marked. Limits and sources: docs/precision.md."
)
NODES_NOTE = (
    "The time in each class of nodes, from the runtime's own profile of inferences in a pass of their own. Kernels "
    "only: an inference takes a little longer."
)
_FOR = {
    "fp16": ("avx512_fp16", "amx_fp16", "asimdhp"),
    "bf16": ("avx512_bf16", "amx_bf16", "bf16"),
    "int8": ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"),
}
"""Instructions for each precision, of x86-64 and Arm, by Linux's names."""
_LEAST_SHARE = 0.05
"""A class with less of the time is not named."""
_MOST_OPERATORS = 3
_MOSTLY = 0.5
_MUCH = 0.2


def sentences(analysis: Analysis) -> Iterator[str]:
    """Yield, for each case in another precision than fp32, its speed, a loss above its limit, and the explanation."""
    full = {(one.group, one.target): one for one in analysis.precisions if one.precision == FULL}
    for one in analysis.precisions:
        if one.precision != FULL:
            words = _explained(one, full.get((one.group, one.target)), analysis.run.info.machine.get("instructions"))
            if words:
                yield f"{one.group}: {words}"


def _loss(one: Precision) -> str:
    return f"{one.loss.max_rel_diff:.3g} of the largest output" if one.loss else ""


def _explained(one: Precision, full: Precision | None, instructions: list[str] | None) -> str:
    """Return why a precision is as fast as it is, as far as the profile and the CPU tell."""
    parts = []
    if one.warm.differs:
        speed = f"{headline(one.warm)} than {FULL} on {one.target} ({detail(one.warm)})"
        parts.append(f"{one.precision} is {speed}{'' if one.paired else ', not paired'}")
    elif one.warm.kind:
        parts.append(f"{one.precision} on {one.target}: {against(one.warm, FULL)}")
    if one.above:
        parts.append(f"{one.precision} loses {_loss(one)}, more than its limit of {one.limit:g}")
    if one.classes:
        parts += [*_cpu(one, instructions), "of the kernels' time, " + ", ".join(_shares(one.classes))]
        parts += _cause(one, full)
    return "; ".join(parts)


def _cpu(one: Precision, instructions: list[str] | None) -> Iterator[str]:
    family = one.precision.partition("-")[0]
    if instructions is not None and family in _FOR:
        found = [name for name in _FOR[family] if name in instructions]
        yield f"this CPU has {' and '.join(found) or 'no instruction'} for {family}"


def _shares(classes: Sequence[ClassTime]) -> Iterator[str]:
    for one in classes:
        if one.share >= _LEAST_SHARE:
            yield f"{percent(one.share)} is in {plural(one.nodes, 'node')} {CLASSES[one.name]} ({_operators(one)})"


def _operators(one: ClassTime) -> str:
    named = [f"{count} {operator}" for operator, count in one.operators.items()]
    more = ", ..." if len(named) > _MOST_OPERATORS else ""
    return ", ".join(named[:_MOST_OPERATORS]) + more


def _cause(one: Precision, full: Precision | None) -> Iterator[str]:
    """Yield what costs most if the precision is not faster than fp32, by comparing both profiles."""
    by_name = {kind.name: kind for kind in one.classes}
    reduced, left = by_name.get("int8") or by_name.get("fp16") or by_name.get("bf16"), by_name.get("fp32")
    converted = sum(kind.share for kind in one.classes if kind.name in ("quantise", "cast"))
    whole = sum(kind.ns for kind in full.classes) if full else 0.0
    if one.warm.kind == "better":
        return
    if reduced and whole and reduced.ns > whole:
        yield (
            f"the nodes {CLASSES[reduced.name]} alone take {_time(reduced.ns)}, all nodes of fp32 {_time(whole)}: "
            "their kernels are slower"
        )
    elif left and left.share > _MOSTLY:
        yield f"most of the time is in nodes that stayed in float32 ({_operators(left)})"
    elif converted > _MUCH:
        yield f"{percent(converted)} of the time is conversion"


def _time(ns: float) -> str:
    return number(Figure(ns, unit="ns"))


def table(analysis: Analysis, naming: Naming, all_blocks: Sequence[Block]) -> Table:
    """Return a row for each case in one of several precisions."""
    rows = {row.case: row for block in all_blocks for row in block.rows}
    numbers = ("Model file", "Warm inference", "vs fp32", "Peak memory", "Loss", "Cosine", "Top-1 agrees")
    columns = [*naming.columns, Column("Precision"), *(Column(name, number=True) for name in numbers)]
    lines = [Line([*naming.cells(one.case), *_cells(one, rows[one.case])]) for one in analysis.precisions]
    return Table("precision-table", "Precisions of each target, compared with fp32", columns, lines)


def _cells(one: Precision, row: Row) -> Iterator[Cell]:
    yield plain(one.precision)
    yield figure_cell(Figure(float(one.bytes), unit="bytes")) if one.bytes else nothing()
    yield figure_cell(row.warm)
    yield _verdict(one)
    yield figure_cell(row.peak)
    if one.loss is None or one.limit is None:
        yield from (nothing("as it is" if one.precision == FULL else "not known"), nothing(), nothing())
        return
    loss, agree = one.loss, one.loss.top1_agrees
    mark = f"{'above its limit' if one.above else 'limit'} {one.limit:g}"
    yield Cell(f"{loss.max_rel_diff:.3g}", mark, loss.max_rel_diff, "bad" if one.above else "")
    yield Cell(f"{loss.cosine:.5f}", "", loss.cosine)
    yield nothing() if agree is None else Cell(percent(agree), "", agree)


def _verdict(one: Precision) -> Cell:
    cell = verdict_cell(one.warm if one.warm.kind else None)
    unpaired = bool(one.warm.kind) and not one.paired
    return Cell(cell.text, f"{cell.note}, not paired".strip(", ") if unpaired else cell.note, cell.key, cell.tone)


def nodes_table(analysis: Analysis, naming: Naming) -> Table:
    """Return a row for each class of nodes of the cases that were profiled."""
    columns = [*naming.columns, Column("Precision"), Column("Nodes ...")]
    columns += [*(Column(name, number=True) for name in ("Nodes", "Time", "Share")), Column("Operators")]
    lines = [
        Line(
            [
                *naming.cells(one.case),
                plain(one.precision),
                plain(CLASSES[kind.name]),
                Cell(f"{kind.nodes}", "", kind.nodes),
                figure_cell(Figure(kind.ns, unit="ns")),
                Cell(percent(kind.share), "", kind.share),
                plain(_operators(kind)),
            ]
        )
        for one in analysis.precisions
        for kind in one.classes
    ]
    return Table("nodes-table", "Time in each class of nodes, for an inference", columns, lines)
