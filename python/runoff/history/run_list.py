"""``runoff list runs``: past runs with their state and their best target."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pandas as pd
from rich.text import Text

from runoff import paths
from runoff.analysis.analyse import Analysis, analyse
from runoff.analysis.samples import COLUMNS as SAMPLES
from runoff.analysis.summary import COLUMNS as SUMMARY
from runoff.analysis.wording import headline as verdict_words
from runoff.history.runs import find, why_unreadable
from runoff.history.show import letter
from runoff.paths import shown
from runoff.records.files import read_run, to_resume
from runoff.records.machine import headline
from runoff.records.schema import Run
from runoff.report.overview import blocks
from runoff.report.text import number
from runoff.report.verdicts import answers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from runoff.history.runs import FoundRun
    from runoff.report.overview import Block

HEADS = ("run", "suite", "started", "machine", "ok", "failed", "missing", "best", "state")
FINISHED, IN_PROGRESS = "finished", "in progress"
_COUNTS = ("ok", "failed", "missing")
_WIDTH = len("missing")
_NUMBERS = ("estimate", "low", "high", "ratio", "ratio_low", "ratio_high", "p_adjusted", "floor")


def past_runs(results: Path | None) -> list[dict[str, Any]]:
    """Return the facts on each run in `results`, the newest first, with the keys `HEADS`.

    `results` defaults to the results folder, whose path is printed on stderr. Folders that cannot be read as runs come
    last; their state is the reason.

    Raises
    ------
    RunoffError
        If there is no folder `results`.
    """
    folders = [results or paths.results()]
    if results is None:
        click.echo(f"runs in {shown(*folders)}", err=True)
        folders = [folder for folder in folders if folder.is_dir()]
    runs, skipped = find(folders)
    unreadable = [
        dict.fromkeys(HEADS) | {"run": Path(folder).name, "state": reason} for folder, reason in skipped.items()
    ]
    return [_row(run) for run in reversed(runs)] + unreadable


def _row(run: FoundRun) -> dict[str, Any]:
    run_blocks = blocks(_analysed(run))
    states = [row.status for block in run_blocks for row in block.rows]
    ok, failed = states.count("ok"), states.count("error")
    head = (run.info.run_id, run.suite, run.info.started, headline(run.info.machine))
    return dict(zip(HEADS, (*head, ok, failed, len(states) - ok - failed, best(run_blocks), _state(run)), strict=True))


def _state(run: FoundRun) -> str:
    if run.measuring:
        return IN_PROGRESS
    return FINISHED if run.info.finished else f"interrupted; runoff bench --resume {shown(to_resume(run.folder))}"


def _analysed(run: FoundRun) -> Analysis:
    """Return the analysis of a run: what its summary contains if it is finished, else computed from raw results."""
    if not run.info.finished or why_unreadable(run):
        return analyse(read_run(run.folder))
    summary = pd.read_csv(run.summary, keep_default_na=False, na_values={name: [""] for name in _NUMBERS})
    summary = summary.reindex(columns=SUMMARY)  # older summaries have fewer columns
    texts = [name for name in SUMMARY if name not in (*_NUMBERS, "n")]
    summary[texts] = summary[texts].fillna("")
    samples = pd.DataFrame(columns=SAMPLES)
    return Analysis(Run(run.folder, run.info, ()), samples, summary, pd.DataFrame(), [], stability={}, labelled=[])


def best(run_blocks: Sequence[Block]) -> str:
    """Return the fastest target of the first block with times, compared with the last baseline, as text."""
    for block in run_blocks:
        leader = next(iter(answers(block)), None)
        if leader is None:
            continue
        model = f"{block.model}: " if len(run_blocks) > 1 else ""
        if leader.unfair:
            return f"{model}not a fair comparison: {', '.join(leader.unfair)}"
        text = f"{model}{leader.winner.target} ({leader.profile}): {leader.what} {number(leader.figure)}"
        for name, verdict in list(leader.versus.items())[-1:]:
            text += f", {verdict_words(verdict)} {'from' if verdict.tied else 'than'} {name}"
        return text
    return ""


def print_runs(rows: Sequence[dict[str, Any]], console: Console) -> None:
    """Print the machines, a line for each run with its best target below it, and hints for unfinished runs."""
    names = dict.fromkeys(row["machine"] for row in reversed(rows) if row["machine"])
    machines = {name: letter(place) for place, name in enumerate(names)}
    several = len(machines) > 1
    for name, label in machines.items():
        console.print(Text(f"machine {label}: {name}" if several else name), soft_wrap=True)
    known = [row for row in rows if row["suite"] is not None]
    width = max((len(row["run"]) for row in known), default=0)
    if known:
        head = "  ".join(
            (
                f"{'run':<{width}}",
                *(f"{name:>{_WIDTH}}" for name in _COUNTS),
                *(["machine"] if several else []),
                "state",
            )
        )
        console.print(Text(f"\n{head}", style="bold"), soft_wrap=True)
    for row in known:
        counts = (f"{row[name]:>{_WIDTH}}" for name in _COUNTS)
        machine = [f"{machines[row['machine']]:<{len('machine')}}"] if several else []
        line = "  ".join((f"{row['run']:<{width}}", *counts, *machine, row["state"].partition("; ")[0]))
        console.print(Text(line), soft_wrap=True)
        indented = textwrap.wrap(row["best"], console.width - 4, initial_indent="  ", subsequent_indent="    ")
        console.print(Text("\n".join(indented), style="dim"), end="\n" if indented else "", soft_wrap=True)
    for row in rows:
        if row["state"] not in (FINISHED, IN_PROGRESS):
            console.print(Text(f"{row['run']}: {row['state']}", style="yellow"), soft_wrap=True)
