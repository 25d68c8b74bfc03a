"""``runoff train``: starts the training program in the environment ``export`` and follows its progress."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from runoff import paths
from runoff.environments import environment_python
from runoff.models.store import ModelStore
from runoff.models.zoo import DEFAULT_MODEL
from runoff.processes import describe_exit
from runoff.records.errors import ExitCode, RunoffError

if TYPE_CHECKING:
    from collections.abc import Callable

    from runoff.models.store import StoredModel
    from runoff.processes import Spawner

_TIMEOUT_S = 1800.0
"""Without a line of progress for so long, the program is killed."""


class TrainRequest(Struct, frozen=True, kw_only=True):
    """What to train."""

    model: str = DEFAULT_MODEL
    """A model of the zoo."""
    data: str = "digits"
    """``digits``, or what `runoff.models.labelled.read_labelled` reads."""
    name: str
    """Name of the new model in the store."""
    full: bool | None = None
    """Whether all layers are trained after the last one; by default, if the network's input is small."""
    epochs: int = 200
    """Most epochs, of the last layer and of all layers each."""
    seed: int = 0
    limit_s: float | None = None
    """Time limit: the weights that are best then are stored."""
    store: str


class Progress(Struct, omit_defaults=True):
    """A line of the program's output."""

    what: str = ""
    done: int = 0
    total: int = 0
    note: str = ""
    error: str = ""
    """Set if it failed; then the last line."""
    hint: str = ""


def train_model(
    request: TrainRequest,
    spawner: Spawner,
    say: Callable[[str], None],
    show: Callable[[Progress], None],
    *,
    force: bool = False,
) -> StoredModel:
    """Train a model and return it from the store; `say` announces installation, `show` gets the progress.

    Raises
    ------
    RunoffError
        If the name is taken, the environment cannot be made, or the data or the training fails.
    """
    store = ModelStore(paths.models())
    store.check_new(request.name, force=force)
    python = environment_python("export", say)
    argv = (str(python), "-P", "-m", "runoff.models.train", msgspec.json.encode(request).decode())
    live, last = spawner.start(argv, {**os.environ, "PYTHONPATH": str(paths.runners().parent)}), Progress()
    while line := live.ask("", _TIMEOUT_S):
        last = msgspec.json.decode(line, type=Progress)
        if not last.error:
            show(last)
    finished = live.close(_TIMEOUT_S)
    if last.error:
        raise RunoffError(last.error, last.hint)
    if finished.exit_code:
        raise RunoffError(f"the training of {request.name} {describe_exit(finished)}", "", ExitCode.CASE_FAILED)
    return store.get(request.name)
