"""The user's models as stored models; each is described once, by a program in the environment ``inspect``."""

from __future__ import annotations

import hashlib
import os
import shlex
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from runoff import paths
from runoff.environments import environment_python
from runoff.models.own.export_torch import DONE
from runoff.models.respond import Failure
from runoff.models.store import StoredModel
from runoff.processes import describe_exit
from runoff.records.errors import RunoffError
from runoff.records.files import sha256_of
from runoff.records.manifest import MANIFEST, Manifest, read_manifest
from runoff.records.tensors import SMALLEST_SCALE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from runoff.plan.suite import OwnModel
    from runoff.processes import Spawner

    Say = Callable[[str], None]

ENVIRONMENT = "inspect"
_TIMEOUT_S = 1800.0
_LONG_S = 1.0
_LARGE = 10**6
_MOST_OPERATORS = 8
_VERSION = "2"
"""Of the description: a change describes every model again."""


def own_models(models: Mapping[str, OwnModel], folder: Path, spawner: Spawner, say: Say) -> dict[str, StoredModel]:
    """Return the user's models of a suite in `folder`, by name; see `own_model`."""
    return {name: own_model(name, own, folder, spawner, say) for name, own in models.items()}


def own_model(name: str, own: OwnModel, folder: Path, spawner: Spawner, say: Say) -> StoredModel:
    """Return the user's model `own`, called `name` in the suite in `folder`; `say` prints what runoff understood of it.

    Raises
    ------
    RunoffError
        If a file is missing, or the model cannot be measured.
    """
    located = absolute(own, folder)
    home = paths.own_models()
    # the user's code may have changed in any module, so a factory is always read again
    place = None if own.factory else home / f"{name}-{_key(name, located)}"
    model = _described(place) if place else None
    if model is None:
        say(f"reading {own.network or own.path}")
        with _scratch(home) as scratch:
            describe(name, located, folder.absolute(), scratch / "new", spawner, say)
            if place is None:
                place = home / f"{name}-{sha256_of(scratch / 'new' / MANIFEST)[:16]}"
            model = _settled(scratch / "new", place)
    for line in summary(model.manifest):
        say(line)
    return model


def describe(
    name: str, own: OwnModel, folder: Path, place: Path, spawner: Spawner, say: Say, *, copy: bool = False
) -> None:
    """Write the folder `place` of a user's model, whose paths are absolute; `copy` also copies its files there.

    Modules of the user's code are found in `folder`.

    Raises
    ------
    RunoffError
        Without the environment, or if the model cannot be measured.
    """
    with _scratch(place.parent) as scratch:
        request = scratch / "request.json"
        if own.network:
            _export(own, folder, scratch, spawner, say)
        wanted = {"name": name, "model": own, "copy": copy, "folder": str(folder), "exported": str(scratch)}
        request.write_bytes(msgspec.json.encode(wanted))
        arguments = ("-m", "runoff.models.own.add", str(request), str(place))
        run_program(environment_python(ENVIRONMENT, say), arguments, spawner, f"reading {own.network or own.path}")


def _export(own: OwnModel, folder: Path, exported: Path, spawner: Spawner, say: Say) -> None:
    """Run the user's network in PyTorch: examples, outputs and, if there is none, its ONNX file go to `exported`."""
    request = exported / "request.json"
    fields = ("factory", "example", "weights", "program", "inputs", "examples", "compare")
    wanted = {name: getattr(own, name) for name in fields}
    request.write_bytes(msgspec.json.encode({**wanted, "folder": str(folder), "onnx": not own.path}))
    python = Path(own.python) if own.python else environment_python("export", say)
    program = "export_torch" if own.factory else "export_program"
    arguments = ("-m", f"runoff.models.own.{program}", str(request), str(exported))
    run_program(python, arguments, spawner, f"the export of {own.network}")
    if not (exported / DONE).exists():
        raise RunoffError(f"the code of {own.network} ended the program without an error", "remove its call of exit()")


@contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    """Give an empty folder in `parent`, which is created; it is removed at the end.

    Raises
    ------
    RunoffError
        If `parent` cannot be written to.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent, ignore_cleanup_errors=True) as scratch:
            yield Path(scratch)
    except OSError as error:
        hint = "free space there, or set RUNOFF_HOME to another folder"
        raise RunoffError(f"cannot write to {parent}: {error.strerror}", hint) from error


def _settled(made: Path, place: Path) -> StoredModel:
    """Move the description `made` to `place`, unless another run has put the same one there, which it may be using."""
    model = _described(place)
    if model is not None:
        return model
    if place.exists():
        place.rename(made.with_name("damaged"))
    with suppress(OSError):  # another run was first
        made.rename(place)
    return StoredModel(place, read_manifest(place))


def run_program(
    python: Path,
    arguments: Sequence[str],
    spawner: Spawner,
    what: str,
    hint: str = "run it on its own to see why: the process did not end by itself, or crashed",
) -> None:
    """Run a program whose last line of output is its failure as JSON; `what` is used in messages, `hint` if it crashes.

    Raises
    ------
    RunoffError
        The failure.
    """
    env = {**os.environ, "PYTHONPATH": str(paths.runners().parent)}
    try:
        finished = spawner.run((str(python), "-P", *arguments), env, _TIMEOUT_S)
    except OSError as error:
        raise RunoffError(f"{python}: {error.strerror}", "pass an interpreter: --python PATH") from error
    if finished.exit_code == 0:
        return
    try:
        failure = msgspec.json.decode(finished.stdout.strip().rpartition("\n")[2], type=Failure)
    except msgspec.DecodeError:
        raise RunoffError(f"{what} {describe_exit(finished)}", hint) from None
    raise RunoffError(failure.message, failure.hint)


def absolute(own: OwnModel, folder: Path) -> OwnModel:
    """Return `own` with absolute paths; relative ones start at `folder`.

    Raises
    ------
    RunoffError
        If a file is missing.
    """

    def found_at(path: str) -> str:
        found = (folder / Path(path).expanduser()).absolute()
        if not found.exists():
            hint = "check the path" if Path(path).is_absolute() else f"a relative path starts at {folder.absolute()}"
            raise RunoffError(f"{path}: no such file", hint)
        if not found.is_file() and path != own.labelled:
            raise RunoffError(f"{path}: not a file", "pass a regular file, not a folder, a pipe or a device")
        if not os.access(found, os.R_OK):
            raise RunoffError(f"{path}: no permission to read it", f"run: chmod u+r {shlex.quote(path)}")
        return str(found)

    return msgspec.structs.replace(
        own,
        path=found_at(own.path) if own.path else "",
        examples=tuple(map(found_at, own.examples)),
        labels=found_at(own.labels) if own.labels else None,
        labelled=found_at(own.labelled) if own.labelled else None,
        weights=found_at(own.weights) if own.weights else None,
        program=found_at(own.program) if own.program else None,
        versions={name: found_at(path) for name, path in own.versions.items()},
    )


def summary(manifest: Manifest) -> Iterator[str]:
    """Yield lines with what runoff understood of a user's model, and the flags that change it."""
    graph = manifest.graph
    if graph is None:
        return
    opsets = ", ".join(f"{domain} {version}" for domain, version in graph.opsets.items())
    yield (
        f"{manifest.name}: {manifest.source}, {graph.bytes / _LARGE:,.1f} MB, {graph.parameters:,} parameters, "
        f"opset {opsets}"
    )
    operators = [f"{count} {name}" for name, count in graph.operators.items()]
    rest = f" and {len(operators) - _MOST_OPERATORS} more" if len(operators) > _MOST_OPERATORS else ""
    yield f"  operators: {', '.join(operators[:_MOST_OPERATORS])}{rest}"
    for name, text in graph.sizes.items():
        size, _, reason = text.partition("  ")
        option = shlex.quote(f"{name}={size.partition(':')[0]}")
        change = f"; {reason}; to change it: --input {option}" if reason else ""
        yield f"  input {name}: {size}{change}"
    for spec in manifest.outputs:
        shape = ",".join("?" if size is None else str(size) for size in spec.shape)
        yield f"  output {spec.name}: {shape or 'scalar'}:{spec.dtype}"
    for name, kind in graph.not_read.items():
        yield f"  output {name}: {kind}, which is neither read nor compared"
    yield _references(manifest)
    if graph.inference_s and graph.inference_s > _LONG_S:
        yield (
            f"  one inference took {graph.inference_s:.1f} s, unoptimised on one thread: every target runs it a dozen "
            "times for each profile, even if --time is over; to shorten that: --targets, --profile default"
        )
    if graph.largest_output is not None and graph.largest_output < SMALLEST_SCALE:
        largest = f"outputs are at most {graph.largest_output:.1g}"
        yield f"  {largest}: the examples tell the model nothing; pass real ones with --inputs FILE.npz"
    for name, difference in graph.versions.items():
        differs = manifest.tolerance is not None and difference > manifest.tolerance
        consequence = f": its speed is not compared; to allow it: --tolerance {difference * 1.1:.1g}" if differs else ""
        yield f"  {name}: outputs differ from those of {manifest.name} by {difference:.2g} of the largest{consequence}"


def _references(manifest: Manifest) -> str:
    labelled = sum(example.label is not None for example in manifest.examples)
    count = f"{len(manifest.examples)} examples" + (f", {labelled} of them labelled" if labelled else "")
    batches = "" if manifest.batches else "; batches of 1 only"
    if manifest.tolerance is None:
        return f"  {count}; outputs are not compared{batches}"
    source = "PyTorch" if {"pt", "pt2"} & manifest.files.keys() else "ONNX Runtime without optimisation"
    limit = f"within {manifest.tolerance:.2g} of the largest value"
    return f"  {count}; outputs must agree with {source} {limit}{batches}"


def _key(name: str, own: OwnModel) -> str:
    """Return a digest of everything that the description depends on; files count by size and time of change."""
    named = (own.path, own.program, *own.examples, *own.versions.values(), own.labelled)
    files = [Path(path) for path in named if path]
    files += sorted(Path(own.labelled).glob("*/*")) if own.labelled else []
    stamps = [(status.st_size, status.st_mtime_ns) for status in (path.stat() for path in files)]
    return hashlib.sha256(msgspec.json.encode((_VERSION, name, own, stamps))).hexdigest()[:16]


def _described(place: Path) -> StoredModel | None:
    """Return the model that was described in `place`, unless it is missing or its files changed since."""
    if not (place / MANIFEST).is_file():
        return None
    try:
        model = StoredModel(place, read_manifest(place))
        model.verify()
    except RunoffError:
        return None
    return model
