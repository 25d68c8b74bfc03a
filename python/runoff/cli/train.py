"""``runoff train``: fine-tunes a model of the zoo on labelled images."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from runoff import paths
from runoff.cli.output import print_json
from runoff.models.labelled import DIGITS
from runoff.models.training import TrainRequest, train_model
from runoff.models.zoo import find_model
from runoff.plan.own_suite import model_name
from runoff.plan.quantities import parse_duration
from runoff.processes import workspace
from runoff.records.errors import RunoffError

if TYPE_CHECKING:
    from runoff.models import training
    from runoff.models.store import StoredModel

_SILENCE_S = 15.0
"""Not on a terminal, a line is printed at most this often, but for each new part."""


def train(
    model: str,
    data: str,
    name: str | None,
    epochs: int,
    seed: int,
    limit_time: str | None,
    *,
    full: bool | None,
    force: bool,
    as_json: bool,
) -> None:
    """Train a model, store it and print its accuracy."""
    if data != DIGITS and not Path(data).exists():
        raise RunoffError(f"--data {data}: no such folder or file", "pass a folder with a sub-folder per class")
    request = TrainRequest(
        model=find_model(model).name,
        data=data if data == DIGITS else str(Path(data).absolute()),
        name=name or model_name(data),
        full=full,
        epochs=epochs,
        seed=seed,
        limit_s=parse_duration(limit_time),
        store=str(paths.models()),
    )
    console = Console(stderr=True)
    with workspace() as (spawner, _), _Bar(console) as bar:
        stored = train_model(request, spawner, console.print, bar.show, force=force)
    if as_json:
        print_json(
            {"name": request.name, "folder": str(stored.folder), **msgspec.to_builtins(stored.manifest.training)}
        )
    else:
        _print(stored)


class _Bar(Progress):
    """The progress of the training program; not on a terminal, a line for each of its parts and now and then."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), TextColumn("{task.fields[note]}"))
        super().__init__(*columns, console=console, transient=True)
        self._what, self._printed = "", 0.0

    def show(self, progress: training.Progress) -> None:
        note = f"{progress.done}/{progress.total}  {progress.note}" if progress.total else ""
        is_new = progress.what != self._what
        if is_new:
            self._what = progress.what
            for task in self.task_ids:
                self.remove_task(task)
            self.add_task(progress.what, note="")
        if not self.console.is_terminal and (is_new or monotonic() > self._printed + _SILENCE_S):
            self._printed = monotonic()
            self.console.print(f"{progress.what}  {note}".strip(), highlight=False)
        self.update(self.task_ids[-1], completed=progress.done, total=progress.total or None, note=note)


def _print(stored: StoredModel) -> None:
    manifest = stored.manifest
    made = manifest.training
    if made is None:
        return
    right, count = round(made.accuracy["test"] * made.images["test"]), made.images["test"]
    click.echo(
        f"{manifest.name}: {made.base}, {made.trained}, {made.epochs} epochs on {made.images['train']} images of "
        f"{Path(made.data).name}, seed {made.seed}, {made.seconds:.0f} s"
    )
    click.echo(
        f"{right} of {count} held-out images right, {made.accuracy['test']:.2%}; validation "
        f"{made.accuracy['validation']:.2%}"
    )
    click.echo(f'stored in {paths.shown(stored.folder)}; in a suite: models = ["{manifest.name}"]')
