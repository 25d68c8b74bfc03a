"""What the command ``history`` does, and what ``list runs`` knows of past runs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from runoff import paths
from runoff.cli.compare import make_folder, print_json
from runoff.compare.metrics import MAIN, parse_metric
from runoff.history import query
from runoff.history.changes import with_changes
from runoff.history.run_index import find
from runoff.history.series import cases_of, series, unmeasured, why_missing
from runoff.history.show import History, as_dict, markdown, print_history, print_lines
from runoff.paths import shown
from runoff.records.errors import RunoffError, did_you_mean
from runoff.records.files import write_atomically
from runoff.report.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runoff.compare.metrics import Metric
    from runoff.history.run_index import CachedRun
    from runoff.history.series import By, Line, Series

DEFAULT = ("latency.median", "process.wall")
"""Metrics that are shown unless others are asked for."""
PAGE = "history"
"""Name of the files in ``--out``."""
_MEASURE = "measure: runoff bench"


def history(
    folders: Sequence[Path],
    *,
    case: str,
    metrics: Sequence[str],
    by: By,
    suite: str,
    unlike_machines: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Show how each metric of each case went from run to run."""
    asked = _parsed(list(dict.fromkeys(metrics)))
    with tempfile.TemporaryDirectory() as scratch:
        runs, skipped = _runs(folders, Path(scratch), suite)
        made = _history(runs, case, asked, by, unlike_machines=unlike_machines)
    made.skipped.update(skipped)
    plots = _write(made, out) if out else {}
    if as_json:
        print_json(as_dict(made))
    else:
        from rich.console import Console

        print_history(made, Console())
    if out:
        click.echo(f"history: {shown(out / f'{PAGE}.md')} and {plural(len(plots), 'plot')}", err=as_json)


def sql(folders: Sequence[Path], text: str, *, as_json: bool) -> None:
    """Print what a query on the view ``history`` answers."""
    with tempfile.TemporaryDirectory() as scratch:
        runs, _ = _runs(folders, Path(scratch), "")
        lines = query.select([run.file for run in runs], text)
    if as_json:
        print_json(lines)
        return
    from rich.console import Console

    print_lines(lines, Console())


def _runs(folders: Sequence[Path], scratch: Path, suite: str) -> tuple[list[CachedRun], dict[str, str]]:
    """Return the finished runs in `folders`, and why others were left out, which is said on stderr, too.

    Raises
    ------
    RunoffError
        When there is none.
    """
    if not folders:
        click.echo(f"runs in {shown(paths.results())}", err=True)
    found = find(folders or [paths.results()], scratch)
    left_out = {shown(Path(folder)): reason for folder, reason in found.skipped.items()} | {
        shown(run.folder): f"it is not finished (runoff bench --resume {shown(run.folder)})"
        for run in found.runs
        if not run.card.finished
    }
    for folder, reason in left_out.items():
        click.echo(f"left out: {folder}: {reason}", err=True)
    finished = list({run.card.run: run for run in found.runs if run.card.finished}.values())  # copies count once
    if not finished:
        raise RunoffError(f"{_named(folders)} holds no finished run", _MEASURE)
    chosen = [run for run in finished if suite in ("", run.card.suite)]
    if not chosen:
        suites = {run.card.suite for run in finished}
        raise RunoffError(f"--suite {suite}: no run is of that suite", did_you_mean(suite, suites))
    return chosen, left_out


def _named(folders: Sequence[Path]) -> str:
    return ", ".join(shown(folder) for folder in folders or [paths.results()])


def _history(
    runs: Sequence[CachedRun], case: str, asked: Sequence[Metric], by: By, *, unlike_machines: bool
) -> History:
    files = [run.file for run in runs]
    lines, found = _found(files, case, asked or _parsed(DEFAULT), by)
    if not asked and not any(found.values()):
        others = _found(files, case, _parsed(MAIN), by)
        there = {metric for (_, metric), one in others[1].items() if one}
        if there:
            lines, found = others[0], {key: one for key, one in others[1].items() if key[1] in there}
    made = [one for one in found.values() if one is not None]
    if not made:
        raise _nothing(files, lines, found)
    lacking = {(name, str(m)): why_missing(lines, name, m) for (name, m), one in found.items() if one is None}
    told, notes = with_changes(made, {run.card.run: run.folder for run in runs}, unlike_machines=unlike_machines)
    return History(by, told, lacking, notes)


def _found(
    files: Sequence[Path], case: str, metrics: Sequence[Metric], by: By
) -> tuple[list[Line], dict[tuple[str, Metric], Series | None]]:
    """Return the lines of the history, and by case and metric its series; None where there is no value."""
    lines = query.lines(files, [f"{metric.probe}.{metric.summary_name}" for metric in metrics])
    cases = cases_of(lines, case)
    return lines, {(name, metric): series(lines, name, metric, by) for name in cases for metric in metrics}


def _nothing(files: Sequence[Path], lines: Sequence[Line], found: Iterable[tuple[str, Metric]]) -> RunoffError:
    """Return the error that no metric which was asked for has a value."""
    asked = list(dict.fromkeys(metric for _, metric in found))
    message = f"no run has {', '.join(map(str, asked))} of these cases"
    reasons = [why_missing(lines, name, metric) for name, metric in found]
    known = query.metrics(files)
    for reason, (_, metric) in zip(reasons, found, strict=True):
        if reason != unmeasured(metric):
            return RunoffError(message, reason)
    names = [f"{probe}.{name}" for probe, name in known if probe == asked[0].probe]
    probes = ", ".join(dict.fromkeys(probe for probe, _ in known))
    wanted = f"{asked[0].probe}.{asked[0].summary_name}"
    return RunoffError(message, did_you_mean(wanted, names) if names else f"probes that have values: {probes}")


def _parsed(names: Sequence[str]) -> list[Metric]:
    return [parse_metric(name) for name in names]


def _write(made: History, out: Path) -> dict[str, str]:
    """Write the page, its JSON and a plot for each case into the folder `out`; return the plots' names by case."""
    from runoff.history.trend import draw  # its libraries take seconds to import

    make_folder(out)
    click.echo(f"drawing {plural(len(made.cases), 'plot')} (about 1 s each)", err=True)
    plots = {}
    for case in made.cases:
        for end, data in draw(case, made.of(case), made.machines).items():
            write_atomically(out / f"{case}.{end}", data)
        plots[case] = f"{case}.png"
    write_atomically(out / f"{PAGE}.md", markdown(made, plots).encode())
    write_atomically(out / f"{PAGE}.json", msgspec.json.encode(as_dict(made)) + b"\n")
    return plots
