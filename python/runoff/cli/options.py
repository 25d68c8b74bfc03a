"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
TEXT = click.Path(dir_okay=False)
"""A file whose path becomes part of a suite."""


def json_option(what: str = "") -> Callable[..., Any]:
    """Return the option ``--json``, which prints `what` as JSON."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print {what}JSON.")


def different_machines(what: str) -> Callable[..., Any]:
    """Return the option that permits a comparison of different machines; `what` is its help."""
    return click.option(
        "--unlike-machines", "--allow-different-machines", "different_machines", is_flag=True, help=what
    )


def examples(*lines: str) -> str:
    """Return the examples at the end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


_OF_MODEL = (
    click.option(
        "--input", "inputs", multiple=True, metavar="NAME=1,128", help="MODEL: shape of an input; can be repeated."
    ),
    click.option(
        "--inputs",
        "examples",
        multiple=True,
        metavar="FILE",
        help="MODEL: .npz with an array per input; can be repeated.  [default: generated inputs]",
    ),
    click.option(
        "--preprocess",
        type=FILE,
        help="MODEL: TOML file with resize, crop, interpolation, mean, std; --inputs are images.",
    ),
    click.option("--labels", type=TEXT, help="MODEL: file with a label per line, with --preprocess."),
    click.option("--example", metavar="MODULE:FUNCTION", help="PyTorch MODEL: returns the network's inputs."),
    click.option("--onnx", type=TEXT, help="PyTorch MODEL: its ONNX file.  [default: it is exported]"),
    click.option(
        "--weights", type=TEXT, help="PyTorch MODEL: file with its state dict.  [default: the factory's weights]"
    ),
    click.option("--python", type=TEXT, help="PyTorch MODEL: interpreter with its packages.  [default: runoff's]"),
    click.option(
        "--tolerance",
        type=click.FloatRange(0, min_open=True),
        help="MODEL: difference of outputs, relative to the largest.",
    ),
    click.option("--no-compare", "compare", flag_value=False, default=True, help="MODEL: do not compare outputs."),
)


def of_model(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that describe a user's model: fields of `runoff.plan.own_suite.OwnOptions`."""
    for option in reversed(_OF_MODEL):
        command = option(command)
    return command
