"""What ``claims`` and ``refute`` do."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from runoff import paths
from runoff.analysis.wording import headline, ratio_words
from runoff.bench import bench_text
from runoff.claims import pages
from runoff.claims import refute as others
from runoff.claims.published import check_all, chosen, comparisons, newest, read_measured, suite
from runoff.cli.output import print_json, write_result
from runoff.paths import shown
from runoff.records.errors import ExitCode, RunoffError
from runoff.records.files import read_run
from runoff.records.machine import headline as machine_headline
from runoff.records.untrusted import clean
from runoff.report.terminal import titled_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from runoff.analysis.claims import Answer, Outcome
    from runoff.claims.published import Row
    from runoff.claims.refute import Stated

_STYLES = {"holds": "green", "does not hold": "red", "cannot be told": "dim"}
_PLURALS: dict[Outcome, str] = {"holds": "hold", "does not hold": "do not hold", "cannot be told": "cannot be told"}


def claims(
    runs: Sequence[Path],
    measure: str | None,
    budget: str | None,
    results: Path | None,
    out: Path | None,
    *,
    as_json: bool,
) -> ExitCode:
    """Check the published claims and print their outcomes; return the exit code of the measurement, if any."""
    console, folder, code = Console(stderr=as_json), results or paths.results(), ExitCode.OK
    wanted = chosen(measure or "all")
    if budget and not measure:
        raise RunoffError("--time is for a measurement", "add --measure ID, or remove --time")
    if measure:
        made, code = bench_text(suite(wanted), "the suite of the claims", folder, console, time=budget)
        _say(f"run: {shown(made)}", console)
        runs = [*runs, made]
    measured = [read_measured(run) for run in runs or newest(folder)]
    rows = check_all(wanted, measured, latest=not runs)
    if out:
        _say(f"pages: {shown(pages.write(out, comparisons(), measured, rows))}", console)
    if as_json:
        print_json(rows)
        return code
    _table(("", "outcome", "here", "claim"), ((row.id, *_outcome(row.answer), _claim(row)) for row in rows), console)
    _say(_counts(row.answer for row in rows), console)
    if not measured:
        _say("no run of this machine; to measure: runoff claims --measure E1", console)
    return code


def refute(
    folder: Path,
    budget: str | None,
    results: Path | None,
    models: Sequence[Path],
    run: Path | None,
    *,
    allow_commands: bool,
    as_json: bool,
) -> ExitCode:
    """Measure the suite of the run in `folder`, print the outcome of each of its verdicts, and return the exit code."""
    console, code = Console(stderr=as_json), ExitCode.OK
    if run and (budget or models or results):
        raise RunoffError("--run cannot be combined with --time, --model or --results", "it measures nothing")
    theirs = others.read_theirs(folder)
    if run is None:
        others.check_trust(theirs, allow_commands=allow_commands)
        own = others.with_models(theirs, models)
        run, code = others.measure(theirs, own, budget, results or paths.results(), console)
    ours = read_run(run)
    found = others.check(theirs, ours)
    write_result(run, "refute", found)
    if as_json:
        print_json(found)
    else:
        _say(f"their machine: {clean(machine_headline(theirs.info.machine))}", console)
        _say(f"this machine: {machine_headline(ours.info.machine)}", console)
        _table(("outcome", "here", "claimed", "case"), map(_stated, found), console)
        _say(_counts(one.answer for one in found), console)
        _say(f"run: {shown(run)}", console)
    outcomes = {one.answer.outcome for one in found}
    if "does not hold" in outcomes:
        return ExitCode.CASE_FAILED
    return ExitCode.NOTHING_RUNS_HERE if code == ExitCode.OK and outcomes == {"cannot be told"} else code


def _claim(row: Row) -> Text:
    notes = [f"published: {row.published}", *([f"run: {row.run}"] if row.run else []), row.answer.reason]
    return Text(row.says).append(f"\n{'; '.join(filter(None, notes))}", style="dim")


def _stated(one: Stated) -> tuple[Text, ...]:
    claimed = Text(headline(one.theirs)).append(f"\n{ratio_words(one.theirs)}", style="dim")
    about = f"\n{one.metric}, compared with {one.baseline}"
    reason = f"; {one.answer.reason}" if one.answer.reason else ""
    return *_outcome(one.answer), claimed, Text(one.case).append(f"{about}{reason}", style="dim")


def _counts(answers: Iterable[Answer]) -> str:
    counts = Counter(answer.outcome for answer in answers)
    return ", ".join(f"{counts[outcome]} {words}" for outcome, words in _PLURALS.items())


def _outcome(answer: Answer) -> tuple[Text, Text]:
    return Text(answer.outcome, style=_STYLES[answer.outcome]), Text(ratio_words(answer.measured))


def _table(head: Sequence[str], rows: Iterable[Iterable[str | Text]], console: Console) -> None:
    table = titled_table("")
    for name in head:
        table.add_column(name, no_wrap=name in ("outcome", "here"), overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _say(line: str, console: Console) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
