"""Published comparisons as pages: their table next to ours, and the outcome of each claim."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from runoff.analysis.comparisons import estimate
from runoff.analysis.precision import FULL
from runoff.analysis.wording import ratio_words
from runoff.compare.metrics import parse_metric
from runoff.records.files import write_atomically
from runoff.records.machine import headline
from runoff.report.tables import table
from runoff.report.text import estimated, full

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from runoff.analysis.claims import MeasuredRun
    from runoff.claims.published import Column, Comparison, Row
    from runoff.records.schema import Case

HEAD = ("claim", "", "published", "here", "outcome", "run")
INDEX, PAGES = "published.md", "published"
_METHOD = """\
A claim holds if the 95% interval of the measured ratio lies within its bounds, does not hold if the interval lies
outside, and cannot be told otherwise. Written by `runoff claims --out`."""


def cells(row: Row) -> tuple[str, ...]:
    """Return the cells of a row below `HEAD`."""
    answer = row.answer
    told = answer.outcome != "cannot be told"
    here = ratio_words(answer.measured) or (answer.reason if told else "")
    why = f": {answer.reason}" if answer.reason and not told else ""
    return row.id, row.says, row.published, here, f"{answer.outcome}{why}", row.run


def write(folder: Path, comparisons: Iterable[Comparison], runs: Sequence[MeasuredRun], rows: Sequence[Row]) -> Path:
    """Write a page for each comparison into `folder`, and one with all claims, whose path is returned."""
    (folder / PAGES).mkdir(parents=True, exist_ok=True)
    links = []
    for comparison in comparisons:
        text = "\n\n".join(_page(comparison, runs, [row for row in rows if row.id[0] == comparison.id]))
        write_atomically(folder / PAGES / f"{comparison.id}.md", f"{text}\n".encode())
        links.append(f"- [{comparison.id}: {comparison.title}]({PAGES}/{comparison.id}.md)")
    parts = ("# Published comparisons and this machine's figures", _METHOD, "\n".join(links), _claims(rows))
    write_atomically(folder / INDEX, ("\n\n".join(parts) + "\n").encode())
    return folder / INDEX


def _claims(rows: Iterable[Row]) -> str:
    return table(HEAD, map(cells, rows))


def _page(comparison: Comparison, runs: Sequence[MeasuredRun], rows: Sequence[Row]) -> Iterator[str]:
    head = ("", *(column.name for column in comparison.columns))
    yield f"# {comparison.id}: {comparison.title}"
    yield "## Published"
    yield f"{comparison.source}."
    yield table(head, comparison.rows)
    for run in runs:
        ours = list(_ours(comparison, run))
        if ours:
            yield f"## Run `{run.info.run_id}`"
            yield f"{headline(run.info.machine)}."
            yield table(head, ours)
    yield f"## Claims\n\n{_METHOD}"
    yield _claims(rows)


def _ours(comparison: Comparison, run: MeasuredRun) -> Iterator[tuple[str, ...]]:
    """Yield name and figures of each case that is like the published ones and has a figure."""
    for case in run.info.cases:
        if not _alike(comparison, case):
            continue
        figures = [_figure(column, case, run) for column in comparison.columns]
        if any(figures):
            words = [word for word in case.variant if word not in ("default", f"example-{case.example}")]
            named = [case.model] if len(comparison.models) > 1 else []
            yield ", ".join((*named, case.target, *words)), *figures


def _alike(comparison: Comparison, case: Case) -> bool:
    wanted = (comparison.workload, comparison.example, "default", FULL, None, ())
    settings = case.settings
    own = (case.workload, case.example, settings.profile, settings.precision, case.control_of, case.segment)
    return own == wanted and case.model in comparison.models and case.target in comparison.targets


def _figure(column: Column, case: Case, run: MeasuredRun) -> str:
    """Return the figure of a case with its interval; empty if it has none."""
    metric = parse_metric(column.metric)
    member = next(member for member in run.data.members if member.case == case.id)
    samples = None if metric.probe in member.failures else run.data.cell(member, metric)
    if samples is None:
        return ""
    items = case.settings.batch if column.per_item else 1
    whole = estimated(estimate(samples, metric), samples.unit)
    each = {name: value / items for name in ("value", "low", "high") if (value := getattr(whole, name)) is not None}
    return full(replace(whole, **each))
