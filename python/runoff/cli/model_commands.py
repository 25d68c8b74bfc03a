"""The commands that make, tune, examine or try a model: from ``export`` to ``segment``."""

from __future__ import annotations

import sys
from typing import Any

import click

from runoff.cli.options import FILE, FOLDER, TEXT, examples, json_option, of_model


@click.command(
    epilog=examples(
        "runoff export efficientnet-lite0",
        "runoff export mobilenet_v2 --weights default --force",
        "runoff export regnet_x_400mf --weights my-weights.pt --force",
        "runoff export mobilenet_v2 --coreml",
        "runoff export sam_vit_b --checkpoint sam_vit_b_01ec64.pth --force",
    )
)
@click.argument("models", nargs=-1, required=True)
@click.option(
    "--weights",
    "--checkpoint",
    "weights",
    help="seeded, fitted (promptable models), default (torchvision's, downloaded), or a file with a state dict.",
)
@click.option("--force", is_flag=True, help="Export again even if the store already has it.")
@click.option("--coreml", is_flag=True, help="Also convert it to CoreML packages, on any system.")
def export(**options: Any) -> None:
    """Export models of the zoo to the store, each checked against PyTorch."""
    from runoff.cli.commands import export_models

    export_models(**options)


@click.command(
    epilog=examples(
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
@json_option("the result as ")
def train(**options: Any) -> None:
    """Fine-tune MODEL, one of the zoo, on labelled images, and store it with 128 held-out ones.

    Every target can then be measured on it, and its accuracy compared: runoff bench digits
    """
    from runoff.cli.train import train as train_model

    train_model(**options)


@click.command(epilog=examples("runoff add model.onnx --name detector", "runoff add model.onnx --input ids=1,128"))
@click.argument("path", metavar="MODEL", type=FILE)
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


@click.command(
    epilog=examples(
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
@click.option("--write", "write_to", type=FILE, help="Write the profile to this file.  [default: in the run's folder]")
@click.option("--results", type=FOLDER, help="Folder that the run is written to.  [default: results]")
@of_model
@json_option("the result as ")
def tune(**options: Any) -> None:
    """Find the settings of a target that are best for one objective on this machine.

    MODEL is a model of the zoo or the store, or your own as runoff bench takes it, with its options. What is found is
    checked in fresh processes; unless it is better than the default there, the profile is the default.
    """
    from runoff.cli.tune import tune as find

    sys.exit(find(**options))


@click.command(
    epilog=examples(
        "runoff explain ort-python openvino-python efficientnet-lite0",
        "runoff explain ort-rust ort-rust,optimization=basic model.onnx",
        "runoff explain ort-python@1.24.4 ort-python@1.25.0 model.onnx --segments 12",
        "runoff explain ort-rust ort-rust before.onnx --version after.onnx",
        "runoff explain ort-python torch efficientnet-lite0",
        "runoff explain torch ort-rust efficientnet-lite0 --metric cold",
        "runoff explain ort-python ort-rust model.onnx --metric memory",
    )
)
@click.argument("first")
@click.argument("second")
@click.argument("model")
@click.option(
    "--metric",
    type=click.Choice(["latency", "cold", "memory"]),
    default="latency",
    show_default=True,
    help="A warm inference, by segments of the graph; a process from start to exit, or its peak memory, by its phases.",
)
@click.option("--segments", type=click.IntRange(2), default=8, show_default=True, help="Most parts of the graph.")
@click.option("--version", type=TEXT, help="Another version of MODEL, an ONNX file, which SECOND runs.")
@click.option("--set", "shared", multiple=True, metavar="KEY=VALUE", help="A setting of both.  [default: threads=1]")
@click.option("--results", type=FOLDER, help="Folder that the run is written to.  [default: results]")
@of_model
@json_option("the explanation as ")
def explain(**options: Any) -> None:
    """Find the parts of MODEL that make SECOND slower, faster or larger than FIRST.

    FIRST and SECOND are targets, with settings (ort-rust,optimization=basic) or a release of their package
    (ort-python@1.25.0). The graph is cut where few tensors cross, and the segments are measured on both sides, side by
    side, on the real tensors between them. MODEL is as runoff bench takes it, with its options.
    """
    from runoff.cli.explain import explain as find

    sys.exit(find(**options))


@click.command(
    epilog=examples(
        "runoff profile torch efficientnet-lite0",
        "runoff profile ort-rust model.onnx --set threads=2 --time 10s",
        "runoff profile ort-python efficientnet-lite0 --against ort-rust",
        "runoff profile ort-python@1.24.4 model.onnx --against ort-python@1.25.0",
    )
)
@click.argument("target")
@click.argument("model")
@click.option("--against", metavar="TARGET", help="Also profile this one, and show the difference.")
@click.option("--set", "shared", multiple=True, metavar="KEY=VALUE", help="A setting of both.  [default: threads=1]")
@click.option("--time", "budget", default="5s", show_default=True, help="Time of the warm iterations that are sampled.")
@click.option("--results", type=FOLDER, help="Folder that the run is written to.  [default: results]")
@of_model
@json_option("the result as ")
def profile(**options: Any) -> None:
    """Draw flame graphs of MODEL on TARGET: of warm iterations, and of a process from start to exit.

    Linux's perf samples all threads, and py-spy the functions of Python. TARGET may have settings
    (ort-rust,optimization=basic) or a release of its package (ort-python@1.25.0). MODEL is as runoff bench takes it,
    with its options.
    """
    from runoff.cli.profile import profile as sample

    sys.exit(sample(**options))


@click.command(
    epilog=examples(
        "runoff bisect onnxruntime 1.24..1.32 efficientnet-lite0",
        "runoff bisect onnxruntime 1.24..1.32 model.onnx --target ort-rust --metric memory",
        "runoff bisect openvino 2026.1..2026.4 model.onnx --metric cold --all",
        "runoff bisect torch 2.13.0,2.14.1,2.15.0 mobilenet_v2",
        "runoff bisect . v1.0..main model.onnx --build 'cargo build --release' --command target/release/my-runner",
    )
)
@click.argument("package")
@click.argument("releases")
@click.argument("model")
@click.option("--target", help="A target that runs on the package.  [default: the one in Python]")
@click.option(
    "--metric",
    type=click.Choice(["latency", "cold", "memory", "accuracy"]),
    default="latency",
    show_default=True,
    help="What changed: a warm inference, a process from start to exit, its peak memory, or the outputs.",
)
@click.option("--command", help="Your own runner, if PACKAGE is a folder in its Git repository.")
@click.option("--build", metavar="COMMAND", help="Shell command that builds it in the checkout of a commit.")
@click.option("--threads", default="1", show_default=True, metavar="N|all", help="Threads of the target.")
@click.option("--all", "everything", is_flag=True, help="In the end, measure all releases: a trend.")
@click.option("--results", type=FOLDER, help="Folder that the run is written to.  [default: results]")
@of_model
@json_option("the result as ")
def bisect(**options: Any) -> None:
    """Find the release of a PACKAGE, or the commit of your own runner, that made MODEL slower, larger or less accurate.

    RELEASES is a span, 1.24..1.32, or a list, oldest first. Each step measures the release in the middle between both
    ends, side by side; only releases that are measured are installed. MODEL is a model of the zoo or the store, or your
    own as runoff bench takes it, with its options. If a release fails, it is the failure whose release is found.
    """
    from runoff.cli.bisect import bisect as find

    sys.exit(find(**options))


@click.command(
    epilog=examples(
        "runoff segment photo.jpg",
        "runoff segment photo.jpg --point 420,180 --target ort-python",
        "runoff segment photo.jpg --box 100,80,460,300 --background 120,290 --model sam_vit_b",
        "runoff segment photo.jpg --grid 16 --output masks --json",
    )
)
@click.argument("image", type=FILE)
@click.option("--model", default="sam_vit_b", show_default=True, help="A promptable model of the zoo.")
@click.option(
    "--target",
    default="ort-rust",
    show_default=True,
    help="torch, ort-python, ort-rust, ort-pyo3 or openvino-python.",
)
@click.option("--point", "points", multiple=True, metavar="X,Y", help="A pixel of what is wanted; can be repeated.")
@click.option("--background", multiple=True, metavar="X,Y", help="A pixel of what is not wanted; can be repeated.")
@click.option("--box", metavar="X0,Y0,X1,Y1", help="Left, upper, right and lower edge of what is wanted.")
@click.option("--grid", type=click.IntRange(1, 256), help="Without a prompt: points a side.  [default: the model's, 8]")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A setting, as in a suite.")
@click.option("--output", type=FOLDER, help="Folder for the masks.  [default: NAME-masks]")
@json_option("the masks as ")
def segment(**options: Any) -> None:
    """Segment IMAGE: write its masks as PNG files, over the image, and as run lengths in JSON.

    Points and a box make one prompt; without any, everything is segmented. The weights of the zoo's promptable models
    are fitted to flat shapes, unless the model was exported with --checkpoint.
    """
    from runoff.cli.segment import segment as segment_image

    segment_image(**options)
