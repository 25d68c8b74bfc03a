"""``python -m runoff.selftest.trials``: how small a difference is found on a machine with one busy core."""

from __future__ import annotations

from pathlib import Path

import click

from runoff.program import run_program


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--measure", "probe", type=click.Choice(["latency", "process"]), help="Measure runs of this probe.")
@click.option("--runs", default=10, show_default=True, help="Go on until there are so many runs.")
@click.option("--time", default="3m", show_default=True, help="Sampling time of a run.")
@click.option("--read", is_flag=True, help="Make the summary anew from the runs in --out.")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Where the runs are kept.")
def trials(probe: str | None, runs: int, time: str, out: Path, *, read: bool) -> None:
    """Measure planted slow-downs again and again, and count how often they are found."""
    from rich.console import Console

    console = Console()
    if not (probe or read):
        raise click.UsageError("nothing to do: give --measure latency, --measure process or --read")
    if probe:
        from runoff.selftest.measuring import measure_trials

        measure_trials(probe, runs, time, out, console)
    if read:
        from runoff.selftest.readings import write_summary

        write_summary(out, console)


if __name__ == "__main__":
    run_program(trials, "python -m runoff.selftest.trials")
