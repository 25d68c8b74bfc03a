"""The command line. Every command imports what it needs when it runs, so ``--help`` stays fast."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from runoff import __version__
from runoff.cli import claims, machines, model_commands
from runoff.cli.options import FILE, FOLDER, TEXT, different_machines, examples, json_option, of_model
from runoff.cli.program_exit import run_program
from runoff.cli.web import web

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=examples("runoff bench", "runoff run --target ort-rust --image photo.jpg", "runoff doctor"),
)
@click.version_option(__version__, package_name="runoff")
def cli() -> None:
    """Benchmark your model across ML runtimes and languages."""


@cli.command(
    epilog=examples(
        "runoff bench",
        "runoff bench model.onnx",
        "runoff bench model.onnx --input ids=1,128 --inputs examples.npz --threads 1,all",
        "runoff bench model.onnx --set spinning=true,false --set optimization=all,basic --one-at-a-time",
        "runoff bench program.pt2",
        "runoff bench my_package.net:make --example my_package.net:example_inputs",
        "runoff bench seeds",
        "runoff bench my-suite.toml --results /data/runs",
        "runoff bench model.onnx --precisions fp32,fp16,int8,int8-static",
        "runoff bench my-suite.toml --max-error 2% --time 10m",
        "runoff bench --resume results/quick-20261122-101500",
        "runoff bench quick --on ray://HOST:10001 --where 'cpu=AMD*' --each 2",
    )
)
@click.argument("what", metavar="[SUITE | MODEL]", required=False)
@click.option("--resume", "run", type=FOLDER, help="Resume the interrupted run in this folder.")
@click.option("--results", type=FOLDER, help="Folder that the run is written to.  [default: results]")
@click.option("--name", metavar="NAME", help="Name of the run's folder.  [default: SUITE-DATE-TIME]")
@click.option(
    "--on", metavar="ray://HOST:PORT", help="Measure on the machines of a Ray cluster; local:N starts one here."
)
@click.option("--where", multiple=True, metavar="FACT=PATTERN", help="--on: only machines that match; can be repeated.")
@click.option("--each", type=click.IntRange(1), help="--on: number of machines of each kind.  [default: all]")
@click.option(
    "--max-error",
    "--precision",
    "precision",
    metavar="2%",
    help="Stop when every 95% interval is within this share of its estimate, or --time runs out.",
)
@click.option(
    "--time",
    "--measurement-time",
    "budget",
    metavar="10m",
    help="Time budget; sampling stops earlier if --max-error is reached.",
)
@click.option(
    "--labelled",
    type=click.Path(),
    metavar="DIR",
    help="MODEL: images of known classes, a sub-folder per class, or .npz; with --preprocess.",
)
@click.option("--program", type=TEXT, help="PyTorch MODEL: its program of torch.export (.pt2), also measured.")
@click.option("--targets", default="", metavar="A,B", help="MODEL: what to compare.  [default: all that may take it]")
@click.option(
    "--threads", default="", metavar="1,all", help="MODEL: numbers of threads.  [default: the profile's, else 1]"
)
@click.option("--batch", default="", metavar="1,8", help="MODEL: batch sizes.  [default: the profile's, else 1]")
@click.option(
    "--profile",
    default="default,cold",
    show_default=True,
    metavar="A,B",
    help="MODEL: settings profiles, or .toml files of runoff tune.",
)
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=A,B", help="MODEL: another setting, swept; can be repeated."
)
@click.option("--one-at-a-time", is_flag=True, help="MODEL: vary one setting at a time, others at their first value.")
@click.option(
    "--precisions",
    default="fp32",
    show_default=True,
    metavar="A,B",
    help="MODEL: fp32 (as it is), fp16, bf16, int8, int8-static; converted when needed.",
)
@click.option(
    "--max-loss",
    type=click.FloatRange(0),
    help="MODEL: difference from fp32 that is not marked, relative to the largest.",
)
@click.option("--write-suite", type=FILE, help="MODEL: also write the suite that is measured to this file.")
@of_model
@json_option("the table as ")
def bench(**options: Any) -> None:
    """Measure a suite (quick, seeds, or a TOML file; by default, quick), or your own MODEL.

    MODEL is an ONNX file, a program of torch.export (.pt2), or module:function that returns a network in PyTorch.
    """
    from runoff.cli.commands import measure

    sys.exit(measure(**options))


@cli.command(
    epilog=examples(
        "runoff run --target ort-rust",
        "runoff run --target torch --image photo.jpg",
        "runoff run --target ort-python --set threads=2 --set spinning=false --json",
    )
)
@click.option("--target", required=True, help="torch, torch-export, ort-python, ort-rust, ort-pyo3 ...")
@click.option("--model", default="efficientnet-lite0", show_default=True, help="A model of the zoo.")
@click.option("--image", type=FILE, help="An image file.  [default: the model's first photo]")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting, as in a suite; can be repeated.",
)
@json_option("the runner's full result as ")
def run(**options: Any) -> None:
    """Run one case once: print the labels of the image and the time of each phase."""
    from runoff.cli.commands import run_once

    run_once(**options)


@cli.command(epilog=examples("runoff report results/quick-20261122-101500"))
@click.argument("folder", type=FOLDER)
@json_option("the table as ")
def report(folder: Path, *, as_json: bool) -> None:
    """Rebuild the tables, plots and report of a run from its raw results."""
    from runoff.cli.commands import finish

    finish(folder, as_json=as_json)


@cli.command(
    epilog=examples(
        "runoff compare ort-python ort-rust",
        "runoff compare results/before results/after --out comparison",
        "runoff compare before.json after.json",
        "runoff compare detector-v1.onnx detector-v2.onnx",
    )
)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--run", help="The run that contains targets A and B.  [default: the latest]")
@click.option("--metric", "metrics", multiple=True, metavar="PROBE.NAME", help="E.g. latency.p99; can be repeated.")
@click.option("--relative-to", metavar="TARGET", help="Compare ratios to this target, each within its own run.")
@click.option("--raw", is_flag=True, help="Compare raw values, not ratios.")
@different_machines("Also compare runs of different machines.")
@click.option("--out", type=FOLDER, help="Write Markdown, JSON and a plot into this folder.")
@click.option("--target", default="ort-python", show_default=True, help="ONNX files: the target that runs both.")
@click.option("--time", "budget", metavar="5m", help="ONNX files: time budget.  [default: 5m]")
@click.option("--tolerance", type=click.FloatRange(0, min_open=True), help="ONNX files: difference that is allowed.")
@json_option("the table as ")
def compare(first: str, second: str, **options: Any) -> None:
    """Compare two runs (folders, or files of runoff, hyperfine and pyperf), two targets of one run, or two ONNX files.

    Ratios to the baseline are compared if both runs have the same, unchanged baseline: a slowdown of an entire run
    cancels out. Two ONNX files are measured, interleaved, on the inputs of the first.
    """
    from runoff.cli import compare as commands
    from runoff.cli.own import compare_models
    from runoff.plan.own_suite import is_model

    own = {name: options.pop(name) for name in ("target", "budget", "tolerance")}
    if is_model(first) and is_model(second):
        sys.exit(compare_models(first, second, **own, as_json=options["as_json"]))
    commands.compare(first, second, **options)


@cli.command(
    epilog=examples(
        "runoff gate results/RUN --fail-on 'latency.median > +5%' --fail-on 'memory.peak > 120MB'",
        'runoff gate results/RUN --limits gate.toml --summary "$GITHUB_STEP_SUMMARY"',
        "runoff gate results/RUN --save baseline.json",
        "runoff gate results/RUN --limits gate.toml --baseline baseline.json",
    )
)
@click.argument("run")
@click.option("--limits", type=FILE, help="A TOML file with tables [[limit]].")
@click.option(
    "--fail-on", multiple=True, metavar="LIMIT", help="A limit, e.g. 'latency.median > +5%'; can be repeated."
)
@click.option(
    "--baseline", type=FILE, help="Baseline file written by --save-baseline.  [default: the run's own baseline]"
)
@click.option("--save", "--save-baseline", "save_to", type=FILE, help="Save this run to a baseline file.")
@click.option("--summary", type=FILE, help="Append the result to this file, as Markdown.")
@different_machines("Accept a baseline of a different machine.")
@json_option("the result as ")
def gate(**options: Any) -> None:
    """Check a run against limits.

    Exit code 0: passed; 1: a limit is exceeded or a case failed; 2: bad input; 3: nothing to check.
    """
    from runoff.cli import compare as commands

    sys.exit(commands.gate(**options))


@cli.command(
    epilog=examples(
        "runoff convert results/quick-20261122-101500 run.parquet",
        "runoff convert results/quick-20261122-101500 run.json --to pyperf",
        "runoff convert hyperfine.json samples.csv",
    )
)
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT", type=FILE)
@click.option(
    "--to", metavar="FORMAT", help="csv, parquet, hyperfine, hyperfine-1 or pyperf.  [default: by OUT's name]"
)
def convert(**options: Any) -> None:
    """Convert a run, or a file of another tool, to another format."""
    from runoff.cli import compare as commands

    commands.convert(**options)


@cli.command(
    epilog=examples(
        "runoff history",
        "runoff history --case '*ort-rust*' --metric latency.p99 --by runtime",
        "runoff history results /data/runs --suite quick --out trend",
        """runoff history --sql "SELECT run, estimate FROM history WHERE metric = 'wall'\"""",
    )
)
@click.argument("folders", metavar="[FOLDER]...", nargs=-1, type=FOLDER)
@click.option(
    "--case", default="", metavar="PATTERN", help="Cases; * matches any part.  [default: all of the latest run]"
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="PROBE.NAME",
    help="Can be repeated.  [default: latency.median and process.wall]",
)
@click.option(
    "--by",
    type=click.Choice(["date", "model", "runtime", "machine", "runoff"]),
    default="date",
    show_default=True,
    help="Show every run, or the last run of each version.",
)
@click.option("--suite", default="", metavar="NAME", help="Only runs of this suite.")
@different_machines("Also compare runs of different machines.")
@click.option("--out", type=FOLDER, help="Write Markdown, JSON and a plot of each case into this folder.")
@click.option("--sql", metavar="QUERY", help="Print the result of a query on the view `history` instead.")
@json_option()
def history(**options: Any) -> None:
    """Show each case from run to run: values, changes with their verdicts, and plots.

    FOLDER is a run or a folder of runs, by default the results folder (RUNOFF_RESULTS). Changes are those that
    runoff compare reports between two runs; runs of different machines are compared only on request.
    """
    from runoff.cli import history as commands

    commands.history(**options)


@cli.command(
    "list",
    epilog=examples(
        "runoff list",
        "runoff list runs --results /data/runs",
        "runoff list models",
        "runoff list targets --json",
    ),
)
@click.argument("what", type=click.Choice(["runs", "models", "targets", "suites", "probes"]), default="runs")
@click.option("--results", type=FOLDER, help="Folder of the runs.  [default: RUNOFF_RESULTS, or results]")
@json_option()
def list_(**options: Any) -> None:
    """List runs (the newest first), models, targets, suites or probes."""
    from runoff.cli.listing import show

    show(**options)


@cli.command(epilog=examples("runoff doctor", "runoff doctor --json"))
@json_option()
def doctor(*, as_json: bool) -> None:
    """Report what this machine can measure, and how to enable what it cannot."""
    from runoff.cli.doctor import examine

    examine(as_json=as_json)


@cli.command(
    epilog=examples(
        "runoff selftest",
        "runoff selftest --time 10m",
        "runoff selftest --quick --json",
    )
)
@click.option("--time", "budget", metavar="4m", help="Time budget for the injected slowdowns.  [default: 4m]")
@click.option("--quick", is_flag=True, help="Same as --time 1m: detects only larger slowdowns.")
@json_option()
def selftest(**options: Any) -> None:
    """Inject faults and slowdowns, and report which of them are detected on this machine."""
    from runoff.cli.selftest import selftest as run_selftest

    sys.exit(run_selftest(**options))


@cli.command(epilog=examples("runoff setup", "runoff setup torch", "runoff setup ort-python hyperfine"))
@click.argument("targets", nargs=-1)
def setup(targets: tuple[str, ...]) -> None:
    """Install the environments of TARGETS ahead; by default, of all that need no gigabytes.

    bench and run also install what they need. PyTorch and the export of models are only installed by name.
    """
    from runoff.cli.setup import setup as make

    make(targets)


@cli.command(epilog=examples("runoff clean", "runoff clean --all"))
@click.option("--all", "everything", is_flag=True, help="Also remove exported models.")
def clean(*, everything: bool) -> None:
    """Remove environments, downloaded packages and prepared models; results stay."""
    from runoff.cli.setup import clean as remove

    remove(everything=everything)


for command in (
    model_commands.export,
    model_commands.train,
    model_commands.add,
    model_commands.tune,
    model_commands.explain,
    model_commands.profile,
    model_commands.bisect,
    model_commands.segment,
    claims.claims,
    claims.refute,
    machines.command,
    web,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its exit code."""
    run_program(cli, "runoff", arguments)
