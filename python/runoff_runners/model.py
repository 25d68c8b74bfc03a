"""Checks that the model, the request and the items match. Standard library only."""
# pathlib would add milliseconds to every process:
# ruff: noqa: PTH112, PTH113

from __future__ import annotations

import os

from runoff_runners.protocol import RunnerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runoff_runners.interfaces import Request, TensorFile, TensorSpec


def model_path(request: Request, *, folder: bool = False) -> str:
    """Return the path of the model's file, or of its folder if the format is a `folder`.

    Raises
    ------
    RunnerError
        ``model-missing``.
    """
    path = request["model"]["path"]
    if not (os.path.isdir(path) if folder else os.path.isfile(path)):
        name, what = request["model"]["name"], "folder" if folder else "file"
        raise RunnerError("model-missing", f"model.path: no such {what}: {path}", f"make it: runoff export {name}")
    return path


def unreadable(request: Request, reason: str) -> RunnerError:
    """Return the failure for a model file that the runtime cannot load."""
    model = request["model"]
    message = f"model.path: {model['path']} cannot be loaded: {reason}"
    return RunnerError("model-unreadable", message, f"make it again: runoff export --force {model['name']}")


def mismatch(message: str) -> RunnerError:
    """Return the failure for a request that does not match the model."""
    return RunnerError("model-mismatch", message, "compare the request with the model's manifest")


def check_items(request: Request) -> None:
    """Check that the tensors of each item match the request's model inputs.

    Raises
    ------
    RunnerError
        ``model-mismatch``: names, dtypes or shapes differ.
    """
    if request["workload"] != "tensor":
        return
    specs = {spec["name"]: spec for spec in request["model"]["inputs"]}
    for number, item in enumerate(request["inputs"]):
        tensors = item["tensors"]
        if tensors.keys() != specs.keys():
            found, wanted = ", ".join(tensors) or "nothing", ", ".join(specs)
            raise mismatch(f"inputs[{number}].tensors: names {found}; the model takes {wanted}")
        for name, file in tensors.items():
            _check_item(file, specs[name], f"inputs[{number}].tensors.{name}")


def check_inputs(found: Sequence[TensorSpec], request: Request) -> None:
    """Check the inputs of the model file against the request.

    Parameters
    ----------
    found
        Inputs reported by the runtime.
    request
        The request.

    Raises
    ------
    RunnerError
        ``model-mismatch``.
    """
    wanted = {spec["name"]: spec for spec in request["model"]["inputs"]}
    names = [spec["name"] for spec in found]
    if set(names) != wanted.keys():
        raise mismatch(f"model.inputs: names {', '.join(wanted)}; the file has {', '.join(names)}")
    for spec in found:
        wanted_spec = wanted[spec["name"]]
        if spec["dtype"] != wanted_spec["dtype"]:
            raise mismatch(f"model.inputs: {spec['name']} is {wanted_spec['dtype']}; in the file {spec['dtype']}")
        if not _agree(spec["shape"], wanted_spec["shape"]):
            raise mismatch(f"model.inputs: {spec['name']} is {wanted_spec['shape']}; in the file {spec['shape']}")
        _check_batch(spec, request["settings"]["batch"])


def check_whole_batches(request: Request) -> None:
    """Check that all batches are full, for a session with a fixed batch size.

    Raises
    ------
    RunnerError
        ``bad-request``: the last batch of ``accuracy`` would be smaller.
    """
    provider, batch, items = request["settings"]["provider"], request["settings"]["batch"], len(request["inputs"])
    if request["measure"]["kind"] == "accuracy" and items % batch:
        unfilled = f"{items} items do not fill batches of {batch}"
        message = f"settings.batch: {unfilled}, and provider {provider!r} needs whole batches"
        raise RunnerError("bad-request", message, "use a multiple of the batch size")


def output_names(request: Request, found: Iterable[str]) -> list[str]:
    """Return the names of the requested outputs; if none are requested, of all outputs `found` in the model file.

    Raises
    ------
    RunnerError
        ``model-mismatch``: a requested output is missing.
    """
    wanted, known = [spec["name"] for spec in request["model"]["outputs"]], list(found)
    if not set(wanted) <= set(known):
        raise mismatch(f"model.outputs: names {', '.join(wanted)}; the file has {', '.join(known)}")
    return wanted or known


def _check_batch(spec: TensorSpec, batch: int) -> None:
    fixed = spec["shape"][0] if spec["shape"] else None
    if fixed is not None and fixed != batch:
        raise mismatch(f"settings.batch: is {batch}; input {spec['name']} of the model is fixed at {fixed}")


def _check_item(file: TensorFile, spec: TensorSpec, where: str) -> None:
    if file["dtype"] != spec["dtype"]:
        raise mismatch(f"{where}: is {file['dtype']}; the model takes {spec['dtype']}")
    one = [1, *spec["shape"][1:]]
    if not _agree(one, file["shape"]):
        raise mismatch(f"{where}: has shape {file['shape']}; the model takes {one}, a batch of one")


def _agree(one: Sequence[int | None], other: Sequence[int | None]) -> bool:
    """Return whether two shapes are compatible; `None` is a dynamic dimension."""
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(a is None or b is None or a == b for a, b in pairs)
