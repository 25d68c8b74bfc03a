"""What ``runoff list runs`` says of past runs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from runoff import paths
from runoff.history.run_index import find
from runoff.history.show import letter
from runoff.paths import shown
from runoff.report.terminal import titled_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from runoff.history.run_index import CachedRun

HEADS = ("run", "suite", "started", "machine", "ok", "failed", "missing", "best", "state")
FINISHED = "finished"


def past_runs(results: Path | None) -> list[dict[str, Any]]:
    """Return what is known of each run in `results`, the newest first, with the keys `HEADS`.

    Without `results` it is the usual folder, which is said on stderr. A folder that cannot be read as a run stands
    last, and its state says why.

    Raises
    ------
    RunoffError
        When there is no folder `results`.
    """
    folders = [results or paths.results()]
    if results is None:
        click.echo(f"runs in {shown(*folders)}", err=True)
        folders = [folder for folder in folders if folder.is_dir()]
    with tempfile.TemporaryDirectory() as scratch:
        found = find(folders, Path(scratch))
    spoilt = [
        dict.fromkeys(HEADS) | {"run": Path(folder).name, "state": reason} for folder, reason in found.skipped.items()
    ]
    return [_told(run) for run in reversed(found.runs)] + spoilt


def _told(run: CachedRun) -> dict[str, Any]:
    card = run.card
    state = FINISHED if card.finished else f"interrupted; runoff bench --resume {shown(run.folder)}"
    return {
        "run": card.run,
        "suite": card.suite,
        "started": card.started,
        "machine": card.machine,
        "ok": card.ok,
        "failed": card.failed,
        "missing": card.missing,
        "best": card.best,
        "state": state,
    }


def print_runs(rows: Sequence[dict[str, Any]], console: Console) -> None:
    """Print the runs as a table, with the machines above it and what is to be done about some of them below."""
    names = dict.fromkeys(row["machine"] for row in reversed(rows) if row["machine"])
    machines = {name: letter(place) for place, name in enumerate(names)}
    several = len(machines) > 1
    for name, its in machines.items():
        console.print(Text(f"machine {its}: {name}" if several else name), soft_wrap=True)
    table = titled_table("")
    for name in ("run", "suite", *(["machine"] if several else []), "ok", "failed", "missing", "best target", "state"):
        numbers = name in ("ok", "failed", "missing")
        table.add_column(name, justify="right" if numbers else "left", no_wrap=name == "run")
    for row in (row for row in rows if row["suite"] is not None):
        beside = [machines[row["machine"]]] if several else []
        counts = (str(row[name]) for name in ("ok", "failed", "missing"))
        state, _, _ = row["state"].partition("; ")
        table.add_row(*map(Text, (row["run"], row["suite"], *beside, *counts, row["best"], state)))
    if table.row_count:
        console.print(table)
    for row in rows:
        if row["state"] != FINISHED:
            console.print(Text(f"{row['run']}: {row['state']}", style="yellow"), soft_wrap=True)
