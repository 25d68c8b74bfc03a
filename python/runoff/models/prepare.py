"""Makes models that a suite needs and that are not in the store, with programs in the export environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runoff import paths
from runoff.environments import setup_command
from runoff.models.labelled import DIGITS
from runoff.models.store import ModelStore, StoredModel
from runoff.models.training import TrainRequest, train_model
from runoff.models.zoo import find_model, same_name
from runoff.plan.coreml_packages import PACKAGES
from runoff.processes import describe_exit
from runoff.records.errors import ExitCode, RunoffError
from runoff.records.manifest import usual_examples

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from runoff.processes import Spawner

_TIMEOUT_S = 1800.0
FEWEST_EXAMPLES = 8
"""With fewer inputs to choose from, a runner that answers from a cache could pass for one that computes."""


def ensure_models(
    names: Iterable[str], spawner: Spawner, say: Callable[[str], None], packages: Collection[str] = ()
) -> dict[str, StoredModel]:
    """Return the models called `names`; those that are not in the store are exported or trained, which `say` announces.

    Those in `packages` also get CoreML packages if these can be made.

    Raises
    ------
    RunoffError
        If a name is unknown, a stored file was changed, the model has too few examples, or the export fails.
    """
    store = ModelStore(paths.models())
    stored = {same_name(name) for name in store.names()}
    models = {}
    for name in names:
        if same_name(name) not in stored:
            _make(name, spawner, say)
        models[name] = store.get(name)
        models[name].verify()
        _check_examples(models[name])
        if name in packages:
            models[name] = _with_packages(models[name], spawner, say)
    return models


def _make(name: str, spawner: Spawner, say: Callable[[str], None]) -> None:
    """Export a model of the zoo, or train `DIGITS`."""
    if name == DIGITS:
        say(f"training {name} (5 to 15 min, once)")
        request = TrainRequest(name=DIGITS, store=str(paths.models()))
        train_model(request, spawner, say, lambda _: None)
        return
    model = find_model(name)
    say(f"exporting {name} ({model.takes}, once)")
    export_model(model.name, spawner)


def _check_examples(model: StoredModel) -> None:
    name, count = model.manifest.name, len(usual_examples(model.manifest))
    if count < FEWEST_EXAMPLES:
        raise RunoffError(
            f"model {name!r} is stored with {count} examples; at least {FEWEST_EXAMPLES} are required",
            f"export it again: runoff export --force {name}",
        )


def _with_packages(model: StoredModel, spawner: Spawner, say: Callable[[str], None]) -> StoredModel:
    """Return `model` with its CoreML packages, made if needed; unchanged if they cannot be made."""
    name = model.manifest.name
    if all(kind.name in model.manifest.packages for kind in PACKAGES):
        return model
    say(f"converting {name} to CoreML packages (30 s, once)")
    try:
        export_model(name, spawner, "--coreml")
    except RunoffError as error:
        say(f"{name} has no CoreML packages: {error}")
        return model
    return ModelStore(paths.models()).get(name)


def export_model(name: str, spawner: Spawner, *options: str) -> None:
    """Export the model called `name` in the zoo, with `options` of ``python -m runoff.models.export``.

    With ``--coreml`` the model in the store is converted to CoreML packages instead.

    Raises
    ------
    RunoffError
        Without the export environment, or if the export fails or differs from PyTorch.
    """
    python = paths.environments() / "export" / "bin" / "python"
    if not python.exists():
        raise RunoffError(
            f"export environment not found: {python}",
            f"run: {setup_command('export')} (PyTorch, 6 GB)",
            ExitCode.NOTHING_RUNS_HERE,
        )
    argv = (str(python), "-P", "-m", "runoff.models.export", name, "--store", str(paths.models()), *options)
    env = {**os.environ, "PYTHONPATH": str(paths.runners().parent)}
    finished = spawner.run(argv, env, _TIMEOUT_S)
    if finished.exit_code:
        what, flag = ("conversion", " --coreml") if "--coreml" in options else ("export", "")
        message = f"the {what} of {name} {describe_exit(finished)}"
        raise RunoffError(message, f"try it alone: runoff export {name}{flag}")
