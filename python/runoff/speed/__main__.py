"""``python -m runoff.speed``: measure the table of ratios and print it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runoff.cli.program_exit import run_program
from runoff.speed.rows import MODEL, ROWS, find_rows

if TYPE_CHECKING:
    from rich.console import Console

    from runoff.speed.run import Run

_ROUNDS, _QUICK_ROUNDS = 18, 3
_NAMES = click.Choice([row.name for row in ROWS])
_ROW_HELP = f"Measure this row; may be repeated: {', '.join(_NAMES.choices)}.  [default: all]"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--row", "names", multiple=True, type=_NAMES, metavar="NAME", help=_ROW_HELP)
@click.option("--quick", is_flag=True, help=f"{_QUICK_ROUNDS} rounds, not {_ROUNDS}: wider intervals.")
@click.option("--results", type=click.Path(path_type=Path, file_okay=False), help="Where table and plot are written.")
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def speed(names: tuple[str, ...], results: Path | None, *, quick: bool, as_json: bool) -> None:
    """Measure ratios with bars, interleaved in one run.

    All rows at full length take about 15 minutes and are written to results/speed; with --row or --quick the table is
    only printed, unless --results names a folder.
    """
    from rich.console import Console

    from runoff import paths

    console = Console(stderr=as_json)
    folder = results or (None if names or quick else paths.results() / "speed")
    options = [*(f"--row {name}" for name in names), *(["--quick"] if quick else [])]
    command = " ".join(["nox -s speed", *(["--", *options] if options else [])])
    _run(command, names, _QUICK_ROUNDS if quick else _ROUNDS, folder, console, as_json=as_json)


def _run(
    command: str, names: tuple[str, ...], rounds: int, folder: Path | None, console: Console, *, as_json: bool
) -> None:
    from runoff.models.prepare import ensure_models
    from runoff.processes import workspace
    from runoff.speed.meters import make_meters
    from runoff.speed.programs import Bench
    from runoff.speed.report import write
    from runoff.speed.run import measure, new_run

    def keep(run: Run) -> None:
        if folder:
            write(run, folder)

    rows = find_rows(names)
    with workspace() as (spawner, scratch):
        model = ensure_models([MODEL], spawner, console.print)[MODEL]
        meters = make_meters(rows, Bench(model, spawner, scratch))
        run = new_run(command, rounds, meters)
        try:
            measure(run, rows, meters, console, keep)
        finally:
            _show(run, folder, console, as_json=as_json)


def _show(run: Run, folder: Path | None, console: Console, *, as_json: bool) -> None:
    """Print the table, and draw the plot."""
    import msgspec

    from runoff.paths import shown
    from runoff.speed.report import table

    if as_json:
        click.echo(msgspec.json.encode(run.outcomes))
    else:
        console.print(table(run))
    if folder:
        from runoff.speed.plot import write_plot  # its libraries take seconds to import

        write_plot(run, folder)
        console.print(f"written: {shown(folder / 'speed.md')}", highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    run_program(speed, "python -m runoff.speed")
