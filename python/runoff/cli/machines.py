"""The command ``machines``, and ``bench --on``: one suite on many machines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runoff.cli.options import FOLDER, examples, json_option
from runoff.paths import shown
from runoff.records.errors import RunoffError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from runoff.history.machines import Machines
    from runoff.records.errors import ExitCode

PAGE = "machines"
"""Name of the page's files."""


def measure(
    run: Path | None,
    suite: Path | None,
    text: str,
    on: str | None,
    where: tuple[str, ...],
    each: int | None,
    results: Path,
    precision: str | None,
    budget: str | None,
    *,
    as_json: bool,
) -> ExitCode:
    """Measure a suite on many machines, or resume that; show the combined ratios; return the exit code.

    `suite` is a suite's file; without one, `text` is the suite that measures a model.
    """
    from rich.console import Console

    from runoff.cluster.bench import bench_on, complete_reports, parse_where, resume_on

    console = Console(stderr=as_json)
    if run:
        folder, code = run, resume_on(run, console)
    elif not on:
        raise RunoffError(
            "--where and --each choose machines of a cluster: --on is missing", "add --on ray://HOST:PORT"
        )
    else:
        start = suite.parent if suite else Path.cwd()
        text = suite.read_text(encoding="utf-8") if suite else text
        arguments = {"--max-error": precision, "--time": budget}
        folder, code = bench_on(parse_where(on, where, each), text, start, results, console, arguments)
    complete_reports(folder, console)
    machines((folder,), out=folder, suite="", as_json=as_json)
    return code


def machines(folders: Sequence[Path], *, out: Path | None, suite: str, as_json: bool) -> None:
    """Show the ratios over all machines of the runs in `folders`, and write the page into the folder `out`.

    Raises
    ------
    RunoffError
        If there is no run, or runs of several suites.
    """
    from rich.console import Console

    from runoff.cli.compare import make_folder
    from runoff.cli.output import print_json
    from runoff.history.machines_page import as_dict, markdown, page, show
    from runoff.records.files import write_atomically

    found = _across(folders, suite)
    if out:
        make_folder(out)
        write_atomically(out / f"{PAGE}.md", markdown(found).encode())
        write_atomically(out / f"{PAGE}.html", page(found))
    if as_json:
        print_json(as_dict(found))
        return
    console: Console = Console()
    show(found, console)
    if out:
        for name in (f"{PAGE}.html", f"{PAGE}.md"):
            console.print(f"machines: {shown(out / name)}", highlight=False, markup=False, soft_wrap=True)


def _across(folders: Sequence[Path], suite: str) -> Machines:
    """Return the comparisons over the machines of the runs in `folders`, with machines that have no run."""
    from runoff.history.machines import across
    from runoff.history.runs import DEPTHS, find
    from runoff.records.machine_states import read_states

    runs, skipped = find(folders)
    names = dict.fromkeys(run.suite for run in runs)
    chosen = [run for run in runs if suite in ("", run.suite)]
    if runs and not chosen:
        raise RunoffError(f"--suite {suite}: no run of that suite", did_you_mean(suite, names))
    if len(names) > 1 and not suite:
        raise RunoffError(f"runs of {len(names)} suites: {', '.join(names)}", "choose one with --suite")
    known = {run.folder for run in chosen}
    others = {run.folder.parent for run in runs if run.folder not in known}
    states = {
        path: state
        for folder in folders
        for path, state in read_states(folder, DEPTHS).items()
        if path in known or path.parent not in others
    }
    notes = [f"skipped: {shown(Path(folder))}: {reason}" for folder, reason in skipped.items()]
    if not chosen and not states:
        hint = "; ".join(notes) or "measure: runoff bench --on ray://HOST:PORT"
        raise RunoffError(f"no run in {', '.join(map(shown, folders))}", hint)
    return across(chosen, states, notes)


@click.command(
    "machines",
    epilog=examples(
        "runoff machines results/quick-20261201-101500",
        "runoff machines a/results b/results --suite quick --out pages",
    ),
)
@click.argument("folders", metavar="FOLDER...", nargs=-1, required=True, type=FOLDER)
@click.option("--suite", default="", metavar="NAME", help="Only runs of this suite.")
@click.option("--out", type=FOLDER, help="Write the page into this folder.")
@json_option()
def command(folders: tuple[Path, ...], *, suite: str, out: Path | None, as_json: bool) -> None:
    """Combine the ratios of each case over all machines.

    FOLDER is a run, a run on many machines (bench --on), or a folder of runs. Each run counts as one machine.
    """
    machines(folders, out=out, suite=suite, as_json=as_json)
