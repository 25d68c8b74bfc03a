"""Models prepared on this machine, once: optimised for ONNX Runtime, compiled for Core ML, or a target's own form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from runoff import paths
from runoff.models.store import PREPARED, PreparedFile, StoredModel, prepared_in, prepared_key
from runoff.plan.coreml_packages import COMPILED, PACKAGES
from runoff.processes import describe_exit
from runoff.records.errors import RunoffError
from runoff.records.manifest import base_format, usual_examples, variant_precision
from runoff.records.reason import Reason
from runoff.targets import target_maker
from runoff.targets.base import in_environment, python_target
from runoff.targets.coreml import coreml
from runoff.targets.onnxruntime import ort_rust
from runoff_runners.prepare import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from runoff.plan.target import Preparation, Target, TargetInfo
    from runoff.processes import Spawner
    from runoff.records.protocol import ModelFile
    from runoff.records.schema import Case, RunInfo

_TIMEOUT_S = 600.0


class _Preparer(Struct, frozen=True):
    """A program that prepares models: ``PROGRAM prepare --model FILE --folder DIR --json [OPTIONS]``."""

    name: str
    target: Callable[[], Target]
    """The target that has the program."""
    format: str
    """Format of the prepared file."""
    options: tuple[str, ...] = ()
    for_shapes: bool = False
    """Whether its files are for the shapes of one inference on one item, which it has to be given."""
    always: bool = False
    """Whether the target reads nothing else."""


_COREML = _Preparer("runner.py coreml", coreml, COMPILED)
_PREPARERS = {"onnx": _Preparer("runoff-ort", ort_rust, PREPARED), **{kind.name: _COREML for kind in PACKAGES}}
"""By source format."""
OPTIMIZER = _Preparer("runoff-ort", ort_rust, "onnx", ("--format", "onnx"))
"""Writes an ONNX file again, optimised: ``prepared = "onnx"``."""


class _Report(Struct, frozen=True):
    """The output of a preparer."""

    path: str
    made: bool
    key: dict[str, Any]


class Prepared(Struct, frozen=True):
    """Cases and models, with prepared files if there are any."""

    cases: tuple[Case, ...]
    """Cases that use a prepared file have its format and its source format."""
    models: dict[str, StoredModel]
    reasons: dict[str, str]
    """By model, the targets that run without a prepared file though their cases request it, and why."""


Files = dict[tuple[str, str, str], PreparedFile | Reason]
"""By model, source format and format."""


def prepare_models(
    cases: Sequence[Case],
    models: Mapping[str, StoredModel],
    targets: Mapping[str, TargetInfo],
    spawner: Spawner,
    say: Callable[[str], None],
) -> Prepared:
    """Prepare the models of the cases that request it, if their target reads such files.

    If a model cannot be prepared, its cases keep their format, and their runner lists ``prepared`` among the settings
    that it ignored; with ``prepared = "onnx"`` they are skipped, since a runner cannot see the difference. `say` prints
    which models were prepared and which were not.
    """
    wanted = {case: made for case in cases if (made := _preparer(case, targets[case.target]))}
    files: Files = {}
    for case, made in wanted.items():
        key = (case.model, case.format, made.format)
        if key not in files:
            files[key] = prepare_file(models[case.model], spawner, say, case.format, made)
    chosen: dict[str, Case] = {}
    without: dict[str, dict[Reason, dict[str, None]]] = {}
    for case, made in wanted.items():
        prepared = _fit(files[case.model, case.format, made.format], case)
        if isinstance(prepared, Reason) and (made is OPTIMIZER or made.always):
            chosen[case.id] = msgspec.structs.replace(case, skipped=prepared)
        elif isinstance(prepared, Reason):
            without.setdefault(case.model, {}).setdefault(prepared, {})[case.target] = None
        else:
            chosen[case.id] = msgspec.structs.replace(case, format=prepared.format, made_from=case.format)
    reasons = {
        name: "; ".join(f"{', '.join(targets)}: {reason}" for reason, targets in found.items())
        for name, found in without.items()
    }
    for name, why in reasons.items():
        say(f"{name} is measured without a prepared file by {why}")
    return Prepared(tuple(chosen.get(case.id, case) for case in cases), _with_files(models, files), reasons)


def find_again(
    info: RunInfo,
    models: Mapping[str, StoredModel],
    targets: Mapping[str, TargetInfo],
    spawner: Spawner,
    say: Callable[[str], None],
) -> Prepared:
    """Return cases and models of a run to resume, with the same prepared files, which are rebuilt if missing.

    Raises
    ------
    RunoffError
        If a prepared file cannot be rebuilt, or differs from the one that the run began with.
    """
    files: Files = {}
    made = {(case.model, case.made_from, case.format): case.target for case in info.cases if case.made_from}
    for (name, source, form), target in made.items():
        own = targets[target].target.prepares
        usual = OPTIMIZER if form == OPTIMIZER.format else _PREPARERS.get(base_format(source))
        preparer = _own_preparer(targets[target].target, own) if own and own.format == form else usual
        if preparer is None:
            raise RunoffError(f"nothing prepares {form} files from {source} for {target}", "start a new run")
        file = files[name, source, form] = prepare_file(models[name], spawner, say, source, preparer)
        if isinstance(file, Reason):
            raise RunoffError(f"the prepared {name} of the run is missing: {file.message}", file.hint)
        if file.sha256 != (prepared_in(info.models[name], form, source) or {}).get("sha256"):
            raise RunoffError(f"the prepared {name} differs from that of the run ({file.path})", "start a new run")
    return Prepared(info.cases, _with_files(models, files), {})


def _preparer(case: Case, target_info: TargetInfo) -> _Preparer | None:
    """Return what prepares the file that the case requests, if its target reads such files."""
    kind, can, target = base_format(case.format), target_info.capabilities, target_info.target
    own = target.prepares
    if can is None or case.skipped or not (case.settings.prepared or (own and own.always)):
        return None
    if own:
        # other runtimes cannot use a file that ONNX Runtime optimised for itself
        wanted = own.always or case.settings.prepared != "onnx"
        return _own_preparer(target, own) if wanted and own.format in can.formats else None
    if case.settings.prepared == "onnx":
        return OPTIMIZER if kind == "onnx" and "prepared" in can.settings else None
    preparer = _PREPARERS.get(kind)
    reads = preparer and preparer.format in can.formats and (target.format is None or "@" in case.format)
    return preparer if reads else None


def _own_preparer(target: Target, own: Preparation) -> _Preparer:
    """Return what prepares files of the target's own format."""

    def program() -> Target:
        """Return the target that has the program; one of a plug-in may be missing."""
        if own.environment and own.target:
            return python_target(own.target, environment=own.environment)
        if own.environment:
            return in_environment(target, own.environment)
        if not own.target:
            return target
        make = target_maker(own.target)
        missing = Reason(
            "not-installed", f"{own.target} not found, which prepares {own.format} files", "install its plug-in"
        )
        return make() if make else msgspec.structs.replace(target, missing=missing)

    return _Preparer(own.target or target.name, program, own.format, for_shapes=True, always=own.always)


def _fit(file: PreparedFile | Reason, case: Case) -> PreparedFile | Reason:
    """Return the file, unless it was prepared for another provider, precision or batch than the case's."""
    # a variant's file is in its precision, whatever precision the preparer was given
    precision = "fp32" if variant_precision(case.format) else case.settings.precision
    if isinstance(file, Reason) or file.fits(case.settings.provider, precision, case.settings.batch):
        return file
    return Reason("prepare-failed", f"models are prepared for {file.kind} only")


def _with_files(models: Mapping[str, StoredModel], files: Files) -> dict[str, StoredModel]:
    prepared: dict[str, dict[str, PreparedFile]] = {name: {} for name in models}
    for (name, source, form), file in files.items():
        if isinstance(file, PreparedFile):
            prepared[name][prepared_key(form, source)] = file
    return {name: msgspec.structs.replace(model, prepared=prepared[name]) for name, model in models.items()}


def prepare_file(
    model: StoredModel,
    spawner: Spawner,
    say: Callable[[str], None],
    source: str = "onnx",
    preparer: _Preparer = _PREPARERS["onnx"],
) -> PreparedFile | Reason:
    """Return the file prepared from the format `source` of `model`, created if missing, or the reason for its absence.

    `say` announces a file that is made.
    """
    stored, target = model.model_file(source), preparer.target()
    argv = target.missing or _command(model, stored, target, preparer)
    if isinstance(argv, Reason):
        return argv
    try:
        finished = spawner.run(argv, target.environment(), _TIMEOUT_S)
        if finished.timed_out or finished.exit_code:
            why = f"took longer than {_TIMEOUT_S:.0f} s" if finished.timed_out else describe_exit(finished)
            return Reason("prepare-failed", f"{preparer.name} prepare {why}")
        report = msgspec.json.decode(finished.stdout, type=_Report)
        made = Path(report.path)
        sha256 = digest(made, made)
    except OSError as error:
        return Reason("prepare-failed", f"{preparer.name} prepare: {error}")
    except msgspec.DecodeError as error:
        message = f"{preparer.name} prepare did not report the file that it made: {error}"
        return Reason("prepare-failed", message, "its output may have been changed: create its environment again")
    if report.key.get("model_sha256") != stored.sha256:
        return Reason("prepare-failed", f"{report.path} was prepared from a file other than {stored.path}")
    if report.made:
        say(
            f"{preparer.name} prepared {model.manifest.name} for this machine ({finished.elapsed_ns / 1e9:.1f} s, once)"
        )
    return PreparedFile(format=preparer.format, path=report.path, sha256=sha256, key=report.key)


def _command(model: StoredModel, stored: ModelFile, target: Target, preparer: _Preparer) -> tuple[str, ...] | Reason:
    """Return the command that prepares the file `stored`, or the reason why it cannot be given the shapes."""
    spec = _spec(model, stored) if preparer.for_shapes else {}
    if isinstance(spec, Reason):
        return spec
    files = ("--model", stored.path, "--folder", str(paths.prepared()))
    shapes = ("--spec", json.dumps(spec)) if spec else ()
    return (*target.command, "prepare", *files, *shapes, "--json", *preparer.options)


def _spec(model: StoredModel, stored: ModelFile) -> dict[str, Any] | Reason:
    """Return `runoff_runners.interfaces.Spec`: the inputs of one example, which all examples have the shapes of."""
    examples = [model.manifest.examples[place].inputs for place in usual_examples(model.manifest)]
    shapes = {tuple((name, tensor.shape) for name, tensor in inputs.items()) for inputs in examples}
    if len(shapes) != 1:
        return Reason("prepare-failed", f"the examples of {model.manifest.name} differ in shape")
    inputs = [{"name": name, "dtype": tensor.dtype, "shape": tensor.shape} for name, tensor in examples[0].items()]
    return {"inputs": inputs, "batch": 1, "builder": stored.builder, "builder_folder": stored.builder_folder}
