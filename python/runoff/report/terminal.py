"""The table at the end of a run."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from runoff.analysis.wording import NO_DIFFERENCE, detail, headline, tone
from runoff.report import accuracy, device, precision
from runoff.report.measured import how_lines
from runoff.report.overview import DETAIL, Block, Energy, Row, blocks, missing
from runoff.report.text import Figure, few, interval, number, plural
from runoff.report.verdicts import MEMORY, PROCESS, RATE, WARM, findings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd
    from rich.console import Console

    from runoff.analysis.analyse import Analysis
    from runoff.analysis.verdict import Verdict
    from runoff.records.schema import RunInfo
    from runoff.report.verdicts import BestTarget

_BEST = {PROCESS: "fastest process", WARM: "fastest warm call", RATE: "most requests", MEMORY: "least memory"}
"""Headings of the best targets in each respect."""
_WIDE = 8
"""Longer names are broken at their first hyphen."""
_COLUMNS = {"wall": "whole\nprocess", "warm": "warm\ncall", "rate": "requests\nunder load"}
"""Headings by the field of a row."""
COLOURS = {"good": "green", "bad": "red", "dim": "dim", "": ""}
"""Styles by the tone of a verdict."""
_NAMED = 6
"""Most targets that are named in a line of unavailable cases; the rest are counted."""
MADE_NS = 1e9
"""Models that took less to make are not mentioned: they were there."""
MOST_HARNESS = 0.10
"""Permitted overhead of runoff itself, as a share of a run's wall time."""
_ALONE = 4
"""Most comparisons with the same finding of the audit that have a line each; of more, their number is printed."""
_MOST_BASELINES = 2
"""Baselines next to the process time; more do not fit into 80 columns. The report has all."""


def show(analysis: Analysis, console: Console) -> None:
    """Print the overview of a run: audit failures, a table for each block, what is missing, the harness."""
    for line in audit_lines(analysis):
        console.print(Text(line, style="bold red"))
    all_blocks = blocks(analysis)
    for block in (block for block in all_blocks if block.present):
        console.print(leaders_table(block) if block.crowded else block_table(block))
        console.print()
    if any(block.crowded for block in all_blocks):
        count = sum(len(block.present) for block in all_blocks)
        console.print(Text(f"the best of {plural(count, 'case')}; the report has all"))
    for line in (
        *accuracy.lines(analysis),
        *device.lines(analysis),
        *precision.sentences(analysis),
    ):
        console.print(Text(line), soft_wrap=True)
    for line in how_lines(analysis.run):
        console.print(Text(line))
    for line in gap_lines(analysis, all_blocks):
        console.print(Text(line, style="yellow"), soft_wrap=True)
    console.print(Text(harness_line(analysis.run.info)))


def audit_lines(analysis: Analysis) -> list[str]:
    """Return a line for each point of the fairness audit that differs; many comparisons with one detail share it."""
    differing = [point for point in analysis.audit if point.outcome == "differs"]
    counts = Counter((point.point, point.detail, point.cases != ()) for point in differing)
    lines = []
    for point in differing:
        count = counts[point.point, point.detail, point.cases != ()]
        where = f"{count} comparisons" if count > _ALONE else ", ".join(point.comparison)
        where = f"{', '.join(point.blamed)} in {where}" if point.cases else where
        lines.append(f"not a fair comparison: {where}: {point.point}: {point.detail}")
    return list(dict.fromkeys(lines))


def gap_lines(analysis: Analysis, all_blocks: list[Block]) -> list[str]:
    """Return a line for each reason why something was not measured; omitted percentiles have none."""
    unavailable = {row.case for block in all_blocks for row in block.unavailable}
    summary = analysis.summary
    shown = summary[~summary["case"].isin(unavailable) & ~summary["metric"].str.contains(DETAIL)]
    return [*unavailable_lines(all_blocks), *missing_lines(shown)]


def unavailable_lines(all_blocks: Iterable[Block]) -> list[str]:
    """Return a line for each reason why cases cannot run on this machine, in the order of the plan."""
    grouped: dict[str, list[str]] = {}
    for row in (row for block in all_blocks for row in block.unavailable):
        grouped.setdefault(row.reason, []).append(row.target)
    return [
        f"unavailable: {few(dict.fromkeys(cases), 'target', _NAMED)} ({plural(len(cases), 'case')}): {reason}"
        for reason, cases in grouped.items()
    ]


def missing_lines(summary: pd.DataFrame) -> list[str]:
    """Return a line for each reason why something in `summary` was not measured."""
    return [
        f"{entry.status}: {', '.join(entry.metrics)} of {few(entry.cases, 'case', 2)}: {entry.reason}"
        for entry in missing(summary)
    ]


def harness_line(info: RunInfo) -> str:
    """Return the overhead of the harness itself as a sentence."""
    if info.overhead_share is None:
        return "harness: the run's wall time is not known yet"
    verdict = "under" if info.overhead_share < MOST_HARNESS else "over"
    share = f"{info.overhead_share:.1%} of the run's time was spent outside measured processes"
    elapsed = number(Figure(info.elapsed_ns, unit="ns"))
    making = number(Figure(info.making_ns, unit="ns"))
    made = f", after {making} of model export" if info.making_ns > MADE_NS else ""
    return f"harness: {share} ({verdict} the threshold of {MOST_HARNESS:.0%}); {elapsed} in total{made}"


def titled_table(title: str) -> Table:
    """Return an empty table in the narrow style of all tables."""
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        padding=0,  # the box already separates columns by a space
        pad_edge=False,
        show_edge=False,
    )


def block_table(block: Block) -> Table:
    """Return the table of one block, with a section for each profile."""
    table = titled_table(block.title)
    shown = block.baselines[-_MOST_BASELINES:]
    columns = _columns(block)
    table.add_column("target", no_wrap=True)
    for place, name in enumerate(columns):
        table.add_column(_COLUMNS[name], no_wrap=True)
        _add_versus(table, shown if not place else shown[-1:])
    table.add_column("peak\nmemory", no_wrap=True)
    for profile in dict.fromkeys(row.profile for row in block.present):
        table.add_section()
        table.add_row(Text(f"{profile}:", style="italic"))
        for row in (row for row in block.present if row.profile == profile):
            style = "dim" if row.control_of else None
            table.add_row(*_cells(row, columns, shown), style=style)
            for domain, drawn in row.energy.items():
                table.add_row(*_joules(domain, drawn, shown), style=style)
    return table


def _columns(block: Block) -> list[str]:
    """Return the fields of a row with a column: the times, which are omitted under load only, and the rate if any."""
    loaded = [row for row in block.present if row.rate.value is not None]
    timed = [row for row in block.present if row.energy or (row.wall.value or row.warm.value) is not None]
    return [*(["wall", "warm"] if timed or not loaded else []), *(["rate"] if loaded else [])]


def leaders_table(block: Block) -> Table:
    """Return the best of a block of many targets: a row for each profile, with all that cannot be distinguished."""
    best = findings(block)
    table = titled_table(block.title)
    table.add_column("profile")
    respects = list(dict.fromkeys(found.what for found in best))
    for what in respects:
        table.add_column(_BEST.get(what, f"least {what}"), ratio=1)
    for profile in block.profiles:
        by_respect = {found.what: found for found in best if found.profile == profile}
        if by_respect:
            table.add_row(profile, *(_leader(by_respect.get(what)) for what in respects))
            table.add_section()
    return table


def _leader(found: BestTarget | None) -> Text:
    """Return the best target, its figure, and the targets that cannot be distinguished from it."""
    if found is None:
        return Text("")
    text = Text(found.winner.target, style="bold").append(f"\n{number(found.figure)} ", style="not bold")
    text.append(_short(interval(found.figure)), style="not bold dim")
    text.append(f"\nas good: {', '.join(found.level)}" if found.level else "", style="not bold")
    return text.append(f"\nnot distinguishable: {', '.join(found.far)}" if found.far else "", style="not bold yellow")


def _add_versus(table: Table, baselines: list[str]) -> None:
    for name in baselines:
        heading = f"vs\n{name}" if len(name) < _WIDE else "vs " + name.replace("-", "-\n", 1)
        table.add_column(heading, min_width=len(NO_DIFFERENCE.split()[-1]), overflow="fold")


def _cells(row: Row, columns: list[str], baselines: list[str]) -> Iterator[Text]:
    yield _target(row)
    for place, name in enumerate(columns):
        yield figure_text(getattr(row, name))
        versus = getattr(row, f"{name}_vs")
        yield from (_verdict(versus.get(one)) for one in (baselines if not place else baselines[-1:]))
    yield figure_text(row.peak)


def _joules(domain: str, drawn: Energy, baselines: list[str]) -> Iterator[Text]:
    """Yield the cells of the line below a case: the energy of its process and of its inference."""
    yield Text(f"  {domain}", style="dim")
    yield figure_text(drawn.process)
    yield from (_verdict(drawn.process_vs.get(name)) for name in baselines)
    yield figure_text(drawn.inference)
    yield from (_verdict(drawn.inference_vs.get(name)) for name in baselines[-1:])


def _target(row: Row) -> Text:
    """Return the target's name, with warnings about its numbers below it."""
    name = row.target.replace(f"{row.control_of}-", f"{row.control_of}-\n") if row.control_of else row.target
    text = Text(name, style="" if row.computes else "dim")
    if row.deviation:
        text.append(f"\n{row.deviation}", style="bold red")
    if row.software:
        text.append(f"\n{row.software}", style="yellow")
    if row.status != "ok":
        text.append(f"\n{row.status}", style="yellow")
    elif row.stability not in ("stable", ""):
        text.append(f"\n{row.stability}", style="yellow")
    return text


def figure_text(figure: Figure) -> Text:
    """Return an estimate with its interval below it."""
    between = _short(interval(figure))
    return Text(number(figure)).append(f"\n{between}" if between else "", style="dim")


def _short(between: str) -> str:
    """Return a verdict or an interval, shortened to fit the table into 80 columns."""
    return between.replace(" to ", "\N{EN DASH}").replace(" %", "%")


def _verdict(verdict: Verdict | None) -> Text:
    if verdict is None:
        return Text("")
    text = Text(_short(headline(verdict)), style=COLOURS[tone(verdict)])
    if verdict.kind == "not comparable":  # no room for the reason, which is in the report
        return text
    between = _short(detail(verdict))
    return text.append(f"\n{between}" if between else "", style="dim")
