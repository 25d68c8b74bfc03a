"""Models prepared on this machine: optimised once, and saved in ONNX Runtime's own format by ``runoff-ort prepare``."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from runoff import paths
from runoff.errors import RunoffError
from runoff.models.store import PREPARED, PreparedFile, StoredModel
from runoff.outcome import describe_exit
from runoff.reason import Reason
from runoff.targets.ort_rust import ort_rust

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from runoff.plan import Case, Offer
    from runoff.processes import Spawner
    from runoff.store import RunInfo

_SOURCE = "onnx"
_TIMEOUT_S = 600.0


class _Told(Struct, frozen=True):
    """What ``runoff-ort prepare --json`` prints."""

    path: str
    made: bool
    key: dict[str, Any]


class Prepared(Struct, frozen=True):
    """Cases and models, with the prepared files where there are some."""

    cases: tuple[Case, ...]
    """Those that use a prepared file have the format ``ort``."""
    models: dict[str, StoredModel]
    reasons: dict[str, Reason]
    """By model, why cases that asked for a prepared file run without it."""


def prepare_models(
    cases: Sequence[Case],
    models: Mapping[str, StoredModel],
    offers: Mapping[str, Offer],
    spawner: Spawner,
    say: Callable[[str], None],
) -> Prepared:
    """Prepare the models of the cases that ask for it and whose target reads such files.

    A case whose model cannot be prepared keeps the format it has; its runner then names ``prepared`` among the
    settings that it ignored.

    Parameters
    ----------
    cases
        The plan.
    models
        The models by name.
    offers
        What each target can do here.
    spawner
        Starts ``runoff-ort``.
    say
        Told what was prepared, and what was not.
    """
    wanted = {case.id: case for case in cases if _asks(case, models[case.model], offers[case.target])}
    files = {name: prepare_file(models[name], spawner, say) for name in {case.model: None for case in wanted.values()}}
    chosen, reasons = {}, {}
    for case in wanted.values():
        made = _fit(files[case.model], case)
        if isinstance(made, Reason):
            reasons[case.model] = made
        else:
            chosen[case.id] = msgspec.structs.replace(case, format=PREPARED)
    for name, reason in reasons.items():
        say(f"{name} is measured without having been prepared: {reason}")
    return Prepared(tuple(chosen.get(case.id, case) for case in cases), _with_files(models, files), reasons)


def find_again(
    info: RunInfo, models: Mapping[str, StoredModel], spawner: Spawner, say: Callable[[str], None]
) -> Prepared:
    """Return cases and models of a run to go on with: the same prepared files, made again where they are gone.

    Raises
    ------
    RunoffError
        When a prepared file cannot be made again, or would not be the one that the run began with.
    """
    files = {}
    for name in {case.model: None for case in info.cases if case.format == PREPARED}:
        made = files[name] = prepare_file(models[name], spawner, say)
        if isinstance(made, Reason):
            raise RunoffError(f"the prepared {name} that the run began with is not there: {made.message}", made.hint)
        if made.sha256 != info.models[name].get("prepared", {}).get("sha256"):
            raise RunoffError(
                f"the prepared {name} is no longer the one that the run began with ({made.path})", "start a new run"
            )
    return Prepared(info.cases, _with_files(models, files), {})


def _asks(case: Case, model: StoredModel, offer: Offer) -> bool:
    """Return whether the case would use a prepared file if there were one."""
    can = offer.capabilities
    reads = can is not None and PREPARED in can.formats and offer.target.format is None
    return reads and case.skipped is None and case.settings.prepared is True and _SOURCE in model.formats


def _fit(made: PreparedFile | Reason, case: Case) -> PreparedFile | Reason:
    """Return the file, unless it was prepared for another provider or precision than the case's."""
    if isinstance(made, Reason) or made.fits(case.settings.provider, case.settings.precision):
        return made
    return Reason("prepare-failed", f"models are prepared for {made.kind} only")


def _with_files(
    models: Mapping[str, StoredModel], files: Mapping[str, PreparedFile | Reason]
) -> dict[str, StoredModel]:
    made = {name: file for name, file in files.items() if isinstance(file, PreparedFile)}
    return {name: msgspec.structs.replace(model, prepared=made.get(name)) for name, model in models.items()}


def prepare_file(model: StoredModel, spawner: Spawner, say: Callable[[str], None]) -> PreparedFile | Reason:
    """Return the prepared file of `model`, made if need be, or why there is none; `say` is told when it was made."""
    target, source = ort_rust(), model.model_file(_SOURCE)
    if target.missing:
        return target.missing
    argv = (*target.command, "prepare", "--model", source.path, "--folder", str(paths.prepared()), "--json")
    try:
        finished = spawner.run(argv, target.environment(), _TIMEOUT_S)
        if finished.exit_code:
            return Reason("prepare-failed", f"runoff-ort prepare {describe_exit(finished)}")
        told = msgspec.json.decode(finished.stdout, type=_Told)
        with Path(told.path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return Reason("prepare-failed", f"runoff-ort prepare: {error}")
    except msgspec.DecodeError as error:
        return Reason("prepare-failed", f"runoff-ort prepare does not print what it made: {error}", "run: nox -s build")
    if told.key.get("model_sha256") != source.sha256:
        return Reason("prepare-failed", f"{told.path} was prepared from another file than {source.path}")
    if told.made:
        say(f"prepared {model.manifest.name} for this machine ({finished.elapsed_ns / 1e9:.1f} s, once)")
    return PreparedFile(path=told.path, sha256=digest, key=told.key)
