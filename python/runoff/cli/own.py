"""The commands for a user's own model: ``add``, and ``compare`` of two ONNX files."""

from __future__ import annotations

from pathlib import Path

import click

from runoff import paths
from runoff.models.own.find import absolute, describe, summary
from runoff.models.store import ModelStore
from runoff.plan.own_suite import OwnOptions, input_sets, model_name, own_suite
from runoff.plan.suite import OwnModel
from runoff.processes import workspace
from runoff.records.errors import ExitCode, RunoffError


def add_model(
    path: Path,
    name: str | None,
    inputs: tuple[str, ...],
    examples: tuple[str, ...],
    tolerance: float | None,
    *,
    compare: bool,
    force: bool,
) -> None:
    """Copy a model to the store under `name`, with its examples and references."""
    name = name or model_name(str(path))
    store = ModelStore(paths.models())
    store.check_new(name, force=force)
    shapes, *others = input_sets(inputs)
    if others:
        raise RunoffError("--input: an input has several shapes", "a model in the store has one; bench takes several")
    own = OwnModel(path=str(path), inputs=shapes, examples=examples, compare=compare, tolerance=tolerance)
    with workspace() as (spawner, _):
        describe(name, absolute(own, Path.cwd()), Path.cwd(), store.folder / name, spawner, click.echo, copy=True)
    for line in summary(store.get(name).manifest):
        click.echo(line)
    click.echo(f'stored in {paths.shown(store.folder / name)}; in a suite: models = ["{name}"]')


def compare_models(
    first: str, second: str, target: str, budget: str | None, tolerance: float | None, *, as_json: bool
) -> ExitCode:
    """Measure two versions of a model interleaved on one target, and print the table."""
    from rich.console import Console

    from runoff.bench import bench_text
    from runoff.cli.commands import finish

    if model_name(first) == model_name(second):
        raise RunoffError(f"{first} and {second} have the same name", "rename one of the files")
    options = OwnOptions(targets=target, time=budget, tolerance=tolerance, version=second, profile="default")
    text = own_suite(first, options)
    folder, code = bench_text(text, f"the comparison of {first} and {second}", paths.results(), Console(stderr=as_json))
    finish(folder, as_json=as_json)
    return code
