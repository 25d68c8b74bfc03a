"""``python tools/selftest_trials/trials.py``: the smallest detectable difference on a machine with one busy core."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runoff.cli.program_exit import run_program

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = ("latency", "process")
"""Names of `measuring.TRIALS`, which is slow to import."""


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--measure", "names", type=click.Choice(NAMES), multiple=True, help="Trial to measure; can be repeated.")
@click.option("--read", is_flag=True, help="Rebuild the summary from the runs in --out.")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder of the runs.")
def trials(names: Sequence[str], out: Path, *, read: bool) -> None:
    """Measure injected slowdowns repeatedly, and count how often they are found.

    Runs that exist in --out are not measured again: an interrupted trial resumes.
    """
    from rich.console import Console

    console = Console()
    if not (names or read):
        raise click.UsageError(f"nothing to do: use --measure {NAMES[0]} or --read")
    for name in names:
        from measuring import measure_trial

        measure_trial(name, out, console)
    if read:
        from readings import write_summary

        write_summary(out, console)


if __name__ == "__main__":
    run_program(trials, "python tools/selftest_trials/trials.py")
