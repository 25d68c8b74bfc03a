"""The table of a run: for the terminal, as Markdown, and as JSON."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from runoff.analysis.wording import decimals
from runoff.records.files import write_atomically
from runoff.records.machine import headline
from runoff.report.text import Figure, finite, full, plural
from runoff.speed.ratios import medians

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runoff.speed.ratios import Outcome
    from runoff.speed.run import Run

_STYLES = {"met": "green", "missed": "red", "not": "yellow"}


def write(run: Run, folder: Path) -> None:
    """Write ``speed.json``, ``speed.md`` and, where a ratio was measured, the plot into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = any(outcome.value is not None for outcome in run.outcomes)
    files = {"speed.json": _without_paths(msgspec.json.encode(run).decode()), "speed.md": markdown(run, plot=drawn)}
    for name, text in files.items():
        write_atomically(folder / name, text.encode())


def markdown(run: Run, *, plot: bool) -> str:
    """Return the run as Markdown: the table, the plot, what it was measured on, and the medians behind the ratios."""
    lines = ["# The Rust core against the floor and against Python", "", *_head(run), "", *_rows(run), ""]
    if plot:
        lines += ["![Each ratio against its bar](speed.svg)", ""]
    lines += [_NOTES, "", "## Medians", "", *_medians(run), "", "## Versions", "", *_versions(run), ""]
    return _without_paths("\n".join(lines))


_NOTES = """\
*met* and *missed* are the estimate's; where the 95 % interval holds the bar, the verdict says *within the interval*.
A ratio is a mean of paired ratios, of their middle two thirds, with Student's interval. A block holds each candidate
once, in random order; where processes live on through many blocks, each set of them counts once. Every program has
given the right answer before its times count. Whole processes are timed by hyperfine, start to exit; torch takes part
in every fourth block. Peak memory is what the process itself reads at its end. All of it is measured in one run: every
round holds a share of every row."""


def _head(run: Run) -> Iterator[str]:
    yield f"`{run.command}`, {run.started}, {run.seconds / 60:.1f} minutes"
    yield f"on {headline(run.machine)}, load {run.machine['load_1min']} at the start."
    if run.rounds < run.planned:
        yield f"**Not complete**: {run.rounds} of {run.planned} rounds."
    met = sum(outcome.verdict.startswith("met") for outcome in run.outcomes)
    yield f"{met} of {plural(len(run.outcomes), 'row')} met."
    yield "RegNet_x_400mf, one thread, image to label, unless the row says something else."


def _rows(run: Run) -> Iterator[str]:
    yield "| what | ratio (95 % interval) | bar | | blocks | command |"
    yield "| --- | ---: | ---: | --- | ---: | --- |"
    for outcome in run.outcomes:
        row, verdict = outcome.row, f"**{outcome.verdict}**" if outcome.value is not None else outcome.verdict
        cells = (row.what, whole(outcome), row.bar_words, verdict, blocks(outcome), f"`{row.command}`")
        yield f"| {' | '.join(cells)} |"
    for outcome in run.outcomes:
        if outcome.reason:
            yield from ("", f"Not measured: {outcome.row.name}: {outcome.reason}")


def whole(outcome: Outcome) -> str:
    """Return the ratio with its interval, with the digits that it supports; empty for none."""
    between = interval(outcome)
    return f"{value(outcome)} ({between})" if between else value(outcome)


def value(outcome: Outcome) -> str:
    """Return the ratio alone; empty for none."""
    return "" if outcome.value is None else f"{outcome.value:.{_places(outcome)}f}"


def interval(outcome: Outcome) -> str:
    """Return its interval alone, such as ``1.02 to 1.04``; empty for none."""
    if outcome.low is None or outcome.high is None:
        return ""
    places = _places(outcome)
    return f"{outcome.low:.{places}f} to {outcome.high:.{places}f}"


def _places(outcome: Outcome) -> int:
    """Return the decimals that the interval supports, but never fewer than the bar has."""
    low, high = outcome.low or 0.0, outcome.high or 0.0
    return max(outcome.row.places, decimals(outcome.value or 0.0, low, high))


def blocks(outcome: Outcome) -> str:
    """Return how much a ratio rests on, in words."""
    if not outcome.units:
        return ""
    if outcome.units == outcome.blocks:
        return str(outcome.blocks)
    return f"{outcome.blocks} in {plural(outcome.units, 'set' if outcome.row.group == 'warm' else 'process')}"


def _medians(run: Run) -> Iterator[str]:
    yield "| measured together | candidate | median (95 % interval) | units |"
    yield "| --- | --- | ---: | ---: |"
    for name, group in run.groups.items():
        for candidate, estimate in medians(group).items():
            figure = Figure(estimate.value, finite(estimate.low), finite(estimate.high), group.unit)
            yield f"| {name} | {candidate} | {full(figure)} | {estimate.n} |"


def _versions(run: Run) -> Iterator[str]:
    for name, version in sorted({pair for versions in run.versions.values() for pair in versions.items()}):
        yield f"- {name}: {version}"


def table(run: Run) -> Table:
    """Return the table for a terminal."""
    shown = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for heading in ("row", "what", "ratio", "bar", "verdict"):
        shown.add_column(heading, no_wrap=heading in ("row", "ratio", "bar"))
    for outcome in run.outcomes:
        row = outcome.row
        ratio = Text(value(outcome)).append(f"\n{interval(outcome)}".replace(" to ", "\N{EN DASH}"), style="dim")
        verdict = Text(outcome.verdict, style=_STYLES[outcome.verdict.split(",")[0].split()[0]])
        verdict.append("\n" + _without_paths(str(outcome.reason or blocks(outcome))), style="dim")
        sign = "\N{GREATER-THAN OR EQUAL TO}" if row.at_least else "\N{LESS-THAN OR EQUAL TO}"
        shown.add_row(row.name, row.what, ratio, f"{sign} {row.bar:.{row.places}f}", verdict)
    return shown


def _without_paths(text: str) -> str:
    """Leave the folders of this machine out of messages: only the last part of an absolute path stays."""
    return re.sub(r"(?<![\w.:/])/(?:[\w.+-]+/)+", "", text)
