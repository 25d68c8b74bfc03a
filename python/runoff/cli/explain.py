"""The command ``runoff explain``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from runoff import paths
from runoff.cli.output import print_json, write_result
from runoff.explain.explanation import explain as search
from runoff.explain.show import document, draw, show
from runoff.models.cuts import VERSION
from runoff.paths import shown
from runoff.plan.own_suite import OwnOptions, is_model, model_name
from runoff.plan.settings import parse_assignments
from runoff.records.errors import ExitCode, RunoffError
from runoff.records.files import read_run, write_atomically
from runoff.records.machine import headline
from runoff.sides import parse_side

if TYPE_CHECKING:
    from pathlib import Path


def explain(
    first: str,
    second: str,
    model: str,
    segments: int,
    metric: str,
    version: str | None,
    shared: tuple[str, ...],
    results: Path | None,
    *,
    as_json: bool,
    **own: Any,
) -> ExitCode:
    """Measure the parts, print the explanation and return the exit code.

    `own` has the options for a user's model, by the fields of `runoff.plan.own_suite.OwnOptions`.
    """
    from rich.console import Console

    from runoff.explain.page import page

    console = Console(stderr=as_json)
    settings = {"threads": 1, **parse_assignments(shared)}
    sides = [parse_side(text, settings) for text in (first, second)]
    if version and not (is_model(model) and is_model(version)):
        raise RunoffError(
            f"--version {version}: not a model's file", "it is for another version of MODEL, an ONNX file"
        )
    if version:
        sides[1] = msgspec.structs.replace(sides[1], version=VERSION if metric == "latency" else model_name(version))
    options = OwnOptions(**own, targets=sides[0].target, profile="default", version=version)
    count = segments if metric == "latency" else 0
    folder, memory = results or paths.results(), metric == "memory"
    explained = search(model, options, sides, count, folder, console, memory=memory)
    plot = draw(explained)
    write_result(explained.folder, "explain", document(explained), plot)
    machine = headline(read_run(explained.folder).info.machine)
    write_atomically(explained.folder / "explain.html", page(explained, plot.decode(), machine))
    if as_json:
        print_json(document(explained))
    else:
        show(explained, console)
        console.print(f"run: {shown(explained.folder)}", highlight=False, markup=False, soft_wrap=True)
    return ExitCode.OK
