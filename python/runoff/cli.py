"""The command line. Every command imports what it needs when it runs, so that ``--help`` answers at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runoff import __version__
from runoff.errors import RunoffError
from runoff.program import run_program

if TYPE_CHECKING:
    from collections.abc import Sequence

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)


def _examples(*lines: str) -> str:
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=_examples("runoff bench", "runoff run --target ort-rust --image photo.jpg", "runoff doctor"),
)
@click.version_option(__version__, package_name="runoff")
def cli() -> None:
    """Say which runtime and which language should run your model, and what each choice costs."""


@cli.command(
    epilog=_examples(
        "runoff bench",
        "runoff bench seeds",
        "runoff bench my-suite.toml --results /data/runs",
        "runoff bench --resume results/quick-20261122-101500",
    )
)
@click.argument("suite", required=False)
@click.option("--resume", "run", type=_FOLDER, help="Go on with the interrupted run in this folder.")
@click.option("--results", type=_FOLDER, help="Where the run's folder is made.  [default: results]")
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def bench(suite: str | None, run: Path | None, results: Path | None, *, as_json: bool) -> None:
    """Measure a suite: a name (quick, seeds) or a TOML file. Without one: quick."""
    from rich.console import Console

    from runoff import paths
    from runoff.bench import bench as measure
    from runoff.bench import resume
    from runoff.commands import finish
    from runoff.suite import find_suite

    if suite and run:
        raise RunoffError("--resume goes on with the suite of its run; leave SUITE out")
    console = Console(stderr=as_json)
    if run:
        folder, code = resume(run, console)
    else:
        folder, code = measure(find_suite(suite or "quick"), results or paths.results(), console)
    finish(folder, as_json=as_json)
    sys.exit(code)


@cli.command(
    epilog=_examples(
        "runoff run --target ort-rust",
        "runoff run --target torch --image photo.jpg",
        "runoff run --target ort-python --set threads=2 --set spinning=false --json",
    )
)
@click.option("--target", required=True, help="torch, torch-export, ort-python, ort-rust, ort-pyo3 ...")
@click.option("--model", default="efficientnet-lite0", show_default=True, help="A model of the zoo.")
@click.option("--image", type=_FILE, help="A JPEG or PNG file.  [default: the model's first photo]")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting, as in a suite; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the runner's whole result as JSON.")
def run(target: str, model: str, image: Path | None, assignments: tuple[str, ...], *, as_json: bool) -> None:
    """Run one case once: print what is in the image and where the time went."""
    from runoff.commands import run_once

    run_once(target, model, image, assignments, as_json=as_json)


@cli.command(
    epilog=_examples(
        "runoff export efficientnet-lite0",
        "runoff export mobilenet_v2 --weights default --force",
        "runoff export regnet_x_400mf --weights my-weights.pt --force",
    )
)
@click.argument("models", nargs=-1, required=True)
@click.option("--weights", help="seeded, default (torchvision's, downloaded), or a file with a state dict.")
@click.option("--force", is_flag=True, help="Make it anew when the store holds it already.")
def export(models: tuple[str, ...], weights: str | None, *, force: bool) -> None:
    """Put models of the zoo into the store, each checked against PyTorch."""
    from runoff.commands import export_models

    export_models(models, weights, force=force)


@cli.command(
    epilog=_examples(
        "runoff report results/quick-20261122-101500",
    )
)
@click.argument("folder", type=_FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def report(folder: Path, *, as_json: bool) -> None:
    """Make the tables, plots and report of a run anew from its raw results."""
    from runoff.commands import finish

    finish(folder, as_json=as_json)


@cli.command(
    "list",
    epilog=_examples(
        "runoff list models",
        "runoff list targets --json",
        "runoff list runs",
    ),
)
@click.argument("what", type=click.Choice(["models", "targets", "suites", "probes", "runs"]))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(what: str, *, as_json: bool) -> None:
    """List what there is."""
    from runoff.listing import show

    show(what, as_json=as_json)


@cli.command(
    epilog=_examples(
        "runoff doctor",
        "runoff doctor --json",
    )
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(*, as_json: bool) -> None:
    """Say what this machine can measure, and what to do about what it cannot."""
    from runoff.doctor import examine

    examine(as_json=as_json)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    run_program(cli, "runoff", arguments)
