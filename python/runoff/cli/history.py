"""The command ``history``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from runoff import paths
from runoff.cli.compare import make_folder
from runoff.cli.output import print_json
from runoff.compare.metrics import MAIN, parse_metric
from runoff.history import query
from runoff.history.changes import with_changes
from runoff.history.runs import find, why_unreadable
from runoff.history.series import cases_of, series, unmeasured, why_missing
from runoff.history.show import History, as_dict, markdown, print_history, print_lines
from runoff.paths import shown
from runoff.records.errors import RunoffError, did_you_mean
from runoff.records.files import to_resume, write_atomically
from runoff.report.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runoff.analysis.metric_samples import Metric
    from runoff.history.runs import FoundRun
    from runoff.history.series import By, Line, Series

DEFAULT = ("latency.median", "process.wall")
"""Metrics that are shown by default."""
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
    different_machines: bool,
    out: Path | None,
    sql: str | None,
    as_json: bool,
) -> None:
    """Show each metric of each case from run to run, or the result of a query on the view ``history``."""
    from rich.console import Console

    if sql is not None:
        if case or metrics or suite or out or different_machines or by != "date":
            raise RunoffError("--sql can only be combined with FOLDER and --json")
        lines = query.select(_runs(folders, "")[0], sql)
        if as_json:
            print_json(lines)
        else:
            print_lines(lines, Console())
        return
    requested = _parsed(list(dict.fromkeys(metrics)))
    runs, skipped = _runs(folders, suite)
    result = _history(runs, case, requested, by, different_machines=different_machines)
    result.skipped.update(skipped)
    plots = _write(result, out) if out else {}
    if as_json:
        print_json(as_dict(result))
    else:
        print_history(result, Console())
    if out:
        click.echo(f"history: {shown(out / f'{PAGE}.md')} and {plural(len(plots), 'plot')}", err=as_json)


def _runs(folders: Sequence[Path], suite: str) -> tuple[list[FoundRun], dict[str, str]]:
    """Return the finished runs in `folders`, and the reasons for skipping others, which are also printed on stderr.

    Raises
    ------
    RunoffError
        If there is none.
    """
    if not folders:
        click.echo(f"runs in {shown(paths.results())}", err=True)
    runs, unreadable = find(folders or [paths.results()])
    reasons = {run.folder: _why_skipped(run) for run in runs}
    skipped = {shown(Path(folder)): reason for folder, reason in unreadable.items()}
    skipped |= {shown(folder): reason for folder, reason in reasons.items() if reason}
    for name, reason in skipped.items():
        click.echo(f"skipped: {name}: {reason}", err=True)
    finished = list({run.info.run_id: run for run in runs if not reasons[run.folder]}.values())  # copies count once
    if not finished:
        where = ", ".join(shown(folder) for folder in folders or [paths.results()])
        raise RunoffError(f"no finished run in {where}", _MEASURE)
    chosen = [run for run in finished if suite in ("", run.suite)]
    if not chosen:
        suites = {run.suite for run in finished}
        raise RunoffError(f"--suite {suite}: no run of that suite", did_you_mean(suite, suites))
    return chosen, skipped


def _why_skipped(run: FoundRun) -> str:
    if run.measuring:
        return "in progress"
    return (
        why_unreadable(run)
        if run.info.finished
        else f"not finished (runoff bench --resume {shown(to_resume(run.folder))})"
    )


def _history(
    runs: Sequence[FoundRun], case: str, requested: Sequence[Metric], by: By, *, different_machines: bool
) -> History:
    lines, by_metric = _find_series(runs, case, requested or _parsed(DEFAULT), by)
    if not requested and not any(by_metric.values()):
        fallback = _find_series(runs, case, _parsed(MAIN), by)
        available = {metric for (_, metric), one in fallback[1].items() if one}
        if available:
            lines, by_metric = fallback[0], {key: one for key, one in fallback[1].items() if key[1] in available}
    measured = [one for one in by_metric.values() if one is not None]
    if not measured:
        raise _no_values(runs, lines, by_metric)
    missing = {(name, str(m)): why_missing(lines, name, m) for (name, m), one in by_metric.items() if one is None}
    changed, notes = with_changes(
        measured, {run.info.run_id: run.folder for run in runs}, different_machines=different_machines
    )
    return History(by, changed, missing, notes)


def _find_series(
    runs: Sequence[FoundRun], case: str, metrics: Sequence[Metric], by: By
) -> tuple[list[Line], dict[tuple[str, Metric], Series | None]]:
    """Return the lines of the history and, by case and metric, the series; None if there is no value."""
    lines = query.lines(runs, [f"{metric.probe}.{metric.summary_name}" for metric in metrics])
    cases = cases_of(lines, case)
    return lines, {(name, metric): series(lines, name, metric, by) for name in cases for metric in metrics}


def _no_values(runs: Sequence[FoundRun], lines: Sequence[Line], found: Iterable[tuple[str, Metric]]) -> RunoffError:
    """Return the error for a history in which no requested metric has a value."""
    requested = list(dict.fromkeys(metric for _, metric in found))
    message = f"no run has {', '.join(map(str, requested))} of these cases"
    reasons = [why_missing(lines, name, metric) for name, metric in found]
    known = query.metrics(runs)
    for reason, (_, metric) in zip(reasons, found, strict=True):
        if reason != unmeasured(metric):
            return RunoffError(message, reason)
    names = [f"{probe}.{name}" for probe, name in known if probe == requested[0].probe]
    probes = ", ".join(dict.fromkeys(probe for probe, _ in known))
    wanted = f"{requested[0].probe}.{requested[0].summary_name}"
    return RunoffError(message, did_you_mean(wanted, names) if names else f"probes that have values: {probes}")


def _parsed(names: Sequence[str]) -> list[Metric]:
    return [parse_metric(name) for name in names]


def _write(history: History, out: Path) -> dict[str, str]:
    """Write the page, its JSON and a plot for each case into the folder `out`; return the plots' names by case."""
    from runoff.history.trend import draw  # late: its libraries take seconds to import

    make_folder(out)
    click.echo(f"drawing {plural(len(history.cases), 'plot')} (about 1 s each)", err=True)
    plots = {}
    for case in history.cases:
        plots[case] = f"{case}.svg"
        write_atomically(out / plots[case], draw(case, history.of(case), history.machines).encode())
    write_atomically(out / f"{PAGE}.md", markdown(history, plots).encode())
    write_atomically(out / f"{PAGE}.json", msgspec.json.encode(as_dict(history)) + b"\n")
    return plots
