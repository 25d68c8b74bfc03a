"""The command line. Every command imports what it needs when it runs, so ``--help`` stays fast."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runoff import __version__
from runoff.cli.program_exit import run_program

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)
_TEXT = click.Path(dir_okay=False)
"""A file whose path becomes part of a suite."""


def _json(what: str = "") -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help=f"Print {what}JSON.")


def _different_machines(what: str) -> Callable[..., Any]:
    return click.option(
        "--unlike-machines", "--allow-different-machines", "different_machines", is_flag=True, help=what
    )


def _examples(*lines: str) -> str:
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=_examples("runoff bench", "runoff run --target ort-rust --image photo.jpg", "runoff doctor"),
)
@click.version_option(__version__, package_name="runoff")
def cli() -> None:
    """Benchmark your model across ML runtimes and languages."""


@cli.command(
    epilog=_examples(
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
    )
)
@click.argument("what", metavar="[SUITE | MODEL]", required=False)
@click.option("--resume", "run", type=_FOLDER, help="Resume the interrupted run in this folder.")
@click.option("--results", type=_FOLDER, help="Folder that the run is written to.  [default: results]")
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
    "--input", "inputs", multiple=True, metavar="NAME=1,128", help="MODEL: shape of an input; can be repeated."
)
@click.option(
    "--inputs",
    "examples",
    multiple=True,
    metavar="FILE",
    help="MODEL: .npz with an array per input; can be repeated.  [default: generated inputs]",
)
@click.option(
    "--preprocess",
    type=_FILE,
    help="MODEL: TOML file with resize, crop, interpolation, mean, std; --inputs are images.",
)
@click.option("--labels", type=_TEXT, help="MODEL: file with a label per line, with --preprocess.")
@click.option(
    "--labelled",
    type=click.Path(),
    metavar="DIR",
    help="MODEL: images of known classes, a sub-folder per class, or .npz; with --preprocess.",
)
@click.option("--example", metavar="MODULE:FUNCTION", help="PyTorch MODEL: returns the network's inputs.")
@click.option("--onnx", type=_TEXT, help="PyTorch MODEL: its ONNX file.  [default: it is exported]")
@click.option(
    "--weights", type=_TEXT, help="PyTorch MODEL: file with its state dict.  [default: the factory's weights]"
)
@click.option("--program", type=_TEXT, help="PyTorch MODEL: its program of torch.export (.pt2), also measured.")
@click.option("--python", type=_TEXT, help="PyTorch MODEL: interpreter with its packages.  [default: runoff's]")
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
@click.option(
    "--tolerance",
    type=click.FloatRange(0, min_open=True),
    help="MODEL: difference of outputs, relative to the largest.",
)
@click.option("--no-compare", "compare", flag_value=False, default=True, help="MODEL: do not compare outputs.")
@click.option("--write-suite", type=_FILE, help="MODEL: also write the suite that is measured to this file.")
@_json("the table as ")
def bench(**options: Any) -> None:
    """Measure a suite (quick, seeds, or a TOML file; by default, quick), or your own MODEL.

    MODEL is an ONNX file, a program of torch.export (.pt2), or module:function that returns a network in PyTorch.
    """
    from runoff.cli.commands import measure

    sys.exit(measure(**options))


@cli.command(
    epilog=_examples(
        "runoff run --target ort-rust",
        "runoff run --target torch --image photo.jpg",
        "runoff run --target ort-python --set threads=2 --set spinning=false --json",
    )
)
@click.option("--target", required=True, help="torch, torch-export, ort-python, ort-rust, ort-pyo3 ...")
@click.option("--model", default="efficientnet-lite0", show_default=True, help="A model of the zoo.")
@click.option("--image", type=_FILE, help="An image file.  [default: the model's first photo]")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting, as in a suite; can be repeated.",
)
@_json("the runner's full result as ")
def run(**options: Any) -> None:
    """Run one case once: print the labels of the image and the time of each phase."""
    from runoff.cli.commands import run_once

    run_once(**options)


@cli.command(
    epilog=_examples(
        "runoff export efficientnet-lite0",
        "runoff export mobilenet_v2 --weights default --force",
        "runoff export regnet_x_400mf --weights my-weights.pt --force",
        "runoff export mobilenet_v2 --coreml",
    )
)
@click.argument("models", nargs=-1, required=True)
@click.option("--weights", help="seeded, default (torchvision's, downloaded), or a file with a state dict.")
@click.option("--force", is_flag=True, help="Export again even if the store already has it.")
@click.option("--coreml", is_flag=True, help="Also convert it to CoreML packages, on any system.")
def export(**options: Any) -> None:
    """Export models of the zoo to the store, each checked against PyTorch."""
    from runoff.cli.commands import export_models

    export_models(**options)


@cli.command(
    epilog=_examples(
        "runoff train",
        "runoff train mobilenet_v2 --data photos --name beans --limit-time 10m",
        "runoff train mobilenet_v2 --data photos --full --epochs 5",
    )
)
@click.argument("model", default="efficientnet-lite0")
@click.option(
    "--data",
    default="digits",
    show_default=True,
    metavar="DIR|digits",
    help="Folder with a sub-folder of images per class, .npz with images and labels, or scikit-learn's digits.",
)
@click.option("--name", help="Name of the trained model.  [default: the data's]")
@click.option(
    "--full/--frozen",
    default=None,
    help="Train all layers after the last one, or only that.  [default: all if images are small, which takes minutes]",
)
@click.option("--epochs", type=click.IntRange(1), default=200, show_default=True, help="Most epochs; it stops early.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the split and the new layer.")
@click.option("--limit-time", metavar="10m", help="Stop training then, and store the best weights so far.")
@click.option("--force", is_flag=True, help="Replace a model of this name.")
@_json("the result as ")
def train(**options: Any) -> None:
    """Fine-tune MODEL, one of the zoo, on labelled images, and store it with 128 held-out ones.

    Every target can then be measured on it, and its accuracy compared: runoff bench digits
    """
    from runoff.cli.train import train as train_model

    train_model(**options)


@cli.command(epilog=_examples("runoff add model.onnx --name detector", "runoff add model.onnx --input ids=1,128"))
@click.argument("path", metavar="MODEL", type=_FILE)
@click.option("--name", help="Name in suites.  [default: the file's]")
@click.option("--input", "inputs", multiple=True, metavar="NAME=1,128", help="Shape of an input; can be repeated.")
@click.option("--inputs", "examples", multiple=True, metavar="FILE", help=".npz with an array per input.")
@click.option("--tolerance", type=click.FloatRange(0, min_open=True), help="Difference of outputs that is allowed.")
@click.option("--no-compare", "compare", flag_value=False, default=True, help="Do not compare outputs.")
@click.option("--force", is_flag=True, help="Replace a model of this name.")
def add(**options: Any) -> None:
    """Copy an ONNX model to the store, for suites: models = ["detector"]."""
    from runoff.cli.own import add_model

    add_model(**options)


@cli.command(epilog=_examples("runoff report results/quick-20261122-101500"))
@click.argument("folder", type=_FOLDER)
@_json("the table as ")
def report(folder: Path, *, as_json: bool) -> None:
    """Rebuild the tables, plots and report of a run from its raw results."""
    from runoff.cli.commands import finish

    finish(folder, as_json=as_json)


@cli.command(
    epilog=_examples(
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
@_different_machines("Also compare runs of different machines.")
@click.option("--out", type=_FOLDER, help="Write Markdown, JSON and a plot into this folder.")
@click.option("--target", default="ort-python", show_default=True, help="ONNX files: the target that runs both.")
@click.option("--time", "budget", metavar="5m", help="ONNX files: time budget.  [default: 5m]")
@click.option("--tolerance", type=click.FloatRange(0, min_open=True), help="ONNX files: difference that is allowed.")
@_json("the table as ")
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
    epilog=_examples(
        "runoff gate results/RUN --fail-on 'latency.median > +5%' --fail-on 'memory.peak > 120MB'",
        'runoff gate results/RUN --limits gate.toml --summary "$GITHUB_STEP_SUMMARY"',
        "runoff gate results/RUN --save baseline.json",
        "runoff gate results/RUN --limits gate.toml --baseline baseline.json",
    )
)
@click.argument("run")
@click.option("--limits", type=_FILE, help="A TOML file with tables [[limit]].")
@click.option(
    "--fail-on", multiple=True, metavar="LIMIT", help="A limit, e.g. 'latency.median > +5%'; can be repeated."
)
@click.option(
    "--baseline", type=_FILE, help="Baseline file written by --save-baseline.  [default: the run's own baseline]"
)
@click.option("--save", "--save-baseline", "save_to", type=_FILE, help="Save this run to a baseline file.")
@click.option("--summary", type=_FILE, help="Append the result to this file, as Markdown.")
@_different_machines("Accept a baseline of a different machine.")
@_json("the result as ")
def gate(**options: Any) -> None:
    """Check a run against limits.

    Exit code 0: passed; 1: a limit is exceeded or a case failed; 2: bad input; 3: nothing to check.
    """
    from runoff.cli import compare as commands

    sys.exit(commands.gate(**options))


@cli.command(
    epilog=_examples(
        "runoff convert results/quick-20261122-101500 run.parquet",
        "runoff convert results/quick-20261122-101500 run.json --to pyperf",
        "runoff convert hyperfine.json samples.csv",
    )
)
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT", type=_FILE)
@click.option(
    "--to", metavar="FORMAT", help="csv, parquet, hyperfine, hyperfine-1 or pyperf.  [default: by OUT's name]"
)
def convert(**options: Any) -> None:
    """Convert a run, or a file of another tool, to another format."""
    from runoff.cli import compare as commands

    commands.convert(**options)


@cli.command(
    epilog=_examples(
        "runoff history",
        "runoff history --case '*ort-rust*' --metric latency.p99 --by runtime",
        "runoff history results /data/runs --suite quick --out trend",
        """runoff history --sql "SELECT run, estimate FROM history WHERE metric = 'wall'\"""",
    )
)
@click.argument("folders", metavar="[FOLDER]...", nargs=-1, type=_FOLDER)
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
@_different_machines("Also compare runs of different machines.")
@click.option("--out", type=_FOLDER, help="Write Markdown, JSON and a plot of each case into this folder.")
@click.option("--sql", metavar="QUERY", help="Print the result of a query on the view `history` instead.")
@_json()
def history(**options: Any) -> None:
    """Show each case from run to run: values, changes with their verdicts, and plots.

    FOLDER is a run or a folder of runs, by default the results folder (RUNOFF_RESULTS). Changes are those that
    runoff compare reports between two runs; runs of different machines are compared only on request.
    """
    from runoff.cli import history as commands

    commands.history(**options)


@cli.command(
    "list",
    epilog=_examples(
        "runoff list",
        "runoff list runs --results /data/runs",
        "runoff list models",
        "runoff list targets --json",
    ),
)
@click.argument("what", type=click.Choice(["runs", "models", "targets", "suites", "probes"]), default="runs")
@click.option("--results", type=_FOLDER, help="Folder of the runs.  [default: RUNOFF_RESULTS, or results]")
@_json()
def list_(**options: Any) -> None:
    """List runs (the newest first), models, targets, suites or probes."""
    from runoff.cli.listing import show

    show(**options)


@cli.command(epilog=_examples("runoff doctor", "runoff doctor --json"))
@_json()
def doctor(*, as_json: bool) -> None:
    """Report what this machine can measure, and how to enable what it cannot."""
    from runoff.cli.doctor import examine

    examine(as_json=as_json)


@cli.command(
    epilog=_examples(
        "runoff tune efficientnet-lite0 --objective cold",
        "runoff tune model.onnx --target ort-pyo3 --objective latency --write tuned.toml",
        "runoff tune model.onnx --objective throughput --limit 'memory < 200MB' --time 10m",
        "runoff bench model.onnx --profile default,tuned.toml",
    )
)
@click.argument("model")
@click.option("--target", default="ort-rust", show_default=True, help="The target whose settings are searched.")
@click.option(
    "--objective",
    type=click.Choice(["cold", "latency", "throughput", "memory", "cpu", "energy"]),
    required=True,
    help="What must become least: time, memory, CPU time or energy of a process; warm inference, or it per item.",
)
@click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="LIMIT",
    help="A bound on another objective, e.g. 'memory < 200MB'; can be repeated.",
)
@click.option("--time", "budget", default="5m", show_default=True, help="Time budget of the search.")
@click.option("--write", "write_to", type=_FILE, help="Write the profile to this file.  [default: in the run's folder]")
@click.option("--results", type=_FOLDER, help="Folder that the run is written to.  [default: results]")
@_json("the result as ")
def tune(**options: Any) -> None:
    """Find the settings of a target that are best for one objective on this machine.

    MODEL is a model of the zoo or the store, or your own as runoff bench takes it, with its options. What is found is
    checked in fresh processes; unless it is better than the default there, the profile is the default.
    """
    from runoff.cli.tune import tune as find

    sys.exit(find(**options))


_OF_MODEL = {
    "inputs",
    "examples",
    "preprocess",
    "labels",
    "tolerance",
    "compare",
    "example",
    "onnx",
    "weights",
    "python",
}
tune.params += [option for option in bench.params if option.name in _OF_MODEL]


@cli.command(
    epilog=_examples(
        "runoff selftest",
        "runoff selftest --time 10m",
        "runoff selftest --quick --json",
    )
)
@click.option("--time", "budget", metavar="4m", help="Time budget for the injected slowdowns.  [default: 4m]")
@click.option("--quick", is_flag=True, help="Same as --time 1m: detects only larger slowdowns.")
@_json()
def selftest(**options: Any) -> None:
    """Inject faults and slowdowns, and report which of them are detected on this machine."""
    from runoff.cli.selftest import selftest as run_selftest

    sys.exit(run_selftest(**options))


@cli.command(epilog=_examples("runoff setup", "runoff setup torch", "runoff setup ort-python hyperfine"))
@click.argument("targets", nargs=-1)
def setup(targets: tuple[str, ...]) -> None:
    """Install the environments of TARGETS ahead; by default, of all that need no gigabytes.

    bench and run also install what they need. PyTorch and the export of models are only installed by name.
    """
    from runoff.cli.setup import setup as make

    make(targets)


@cli.command(epilog=_examples("runoff clean", "runoff clean --all"))
@click.option("--all", "everything", is_flag=True, help="Also remove exported models.")
def clean(*, everything: bool) -> None:
    """Remove environments, downloaded packages and prepared models; results stay."""
    from runoff.cli.setup import clean as remove

    remove(everything=everything)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its exit code."""
    run_program(cli, "runoff", arguments)
