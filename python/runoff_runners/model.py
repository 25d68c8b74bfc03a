"""Checks that the model, the request and the items match. Standard library only."""
# pathlib would add milliseconds to every process:
# ruff: noqa: PTH112, PTH113

from __future__ import annotations

import os

from runoff_runners.protocol import RunnerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from runoff_runners.interfaces import Request, Shapes, TensorFile, TensorSpec

_SIGNED, _UNSIGNED = {"int8", "int16", "int32", "int64"}, {"uint8", "uint16", "uint32", "uint64"}
NUMBERS = frozenset({"bool", *_SIGNED, *_UNSIGNED, "float16", "float32", "float64"})
"""Dtypes that NumPy has too."""
BFLOAT16, STRINGS = "bfloat16", "str"
DTYPES = NUMBERS | {BFLOAT16, STRINGS}
"""Dtypes of tensors on disk."""
_AGAIN = "export or add the model again (runoff list models)"


def model_path(request: Request, *, folder: bool = False) -> str:
    """Return the path of the model's file, or of its folder if the format is a `folder`.

    Raises
    ------
    RunnerError
        ``model-missing``.
    """
    path = request["model"]["path"]
    if not (os.path.isdir(path) if folder else os.path.isfile(path)):
        what = "folder" if folder else "file"
        raise RunnerError("model-missing", f"model.path: no such {what}: {path}", _AGAIN)
    return path


def unreadable(request: Request, reason: str) -> RunnerError:
    """Return the failure for a model file that the runtime cannot load."""
    message = f"model.path: {request['model']['path']} cannot be loaded: {reason}"
    return RunnerError("model-unreadable", message, _AGAIN)


def mismatch(message: str) -> RunnerError:
    """Return the failure for a request that does not match the model."""
    return RunnerError("model-mismatch", message, "compare the request with the model's manifest")


def unsupported(what: str, name: str, kind: str, reason: str = "") -> RunnerError:
    """Return the failure for an input or output (`what`) of a type (`kind`) that the runner does not read or write."""
    why = f": {reason}" if reason else ""
    message = f"the model's {what} {name!r} is {kind}, which this runner does not read or write{why}"
    hint = "see 'Tensors on disk' in protocol/README.md; outputs can be left out of the request"
    return RunnerError("type-unsupported", message, hint)


def rows_are_batch(request: Request) -> bool:
    """Return whether the first dimension of each input runs over the items of a batch.

    For `tensor` and one item at a time it is any dimension.
    """
    if request["workload"] != "tensor" or request["settings"]["batch"] > 1:
        return True
    return all(file["shape"][:1] == [1] for item in request["inputs"] for file in item["tensors"].values())


def check_cpu(request: Request, why: str) -> None:
    """Check that the request is for the CPU; `why` says what the runner does on it.

    Raises
    ------
    RunnerError
        ``provider-unavailable``.
    """
    provider = request["settings"]["provider"]
    if provider != "cpu":
        message = f"settings.provider: {provider!r} is unavailable ({why})"
        raise RunnerError("provider-unavailable", message, 'set provider = "cpu"')


def input_shapes(request: Request) -> set[Shapes]:
    """Return the shapes of the inputs, in the model's order, in every batch of the request."""
    batch, count = request["settings"]["batch"], len(request["inputs"])
    rest = count % batch if request["measure"]["kind"] == "accuracy" else 0
    sizes = [*([batch] if count >= batch or not rest else []), *([rest] if rest else [])]
    if request["workload"] == "classify":
        crop = request["preprocess"]["crop"]
        return {((size, 3, crop, crop),) for size in sizes}
    names = [spec["name"] for spec in request["model"]["inputs"]]
    items = [[item["tensors"][name]["shape"] for name in names] for item in request["inputs"]]
    if request["measure"]["kind"] in ("once", "mappings"):
        items = items[:batch]
    if batch == 1:
        return {tuple(map(tuple, shapes)) for shapes in items}
    # the items of a batch are joined along their first dimension, and have the same shapes
    return {tuple((size, *shape[1:]) for shape in items[0]) for size in sizes}


def check_items(request: Request) -> None:
    """Check that the tensors of each item match the request's model inputs, and if they are joined, each other.

    Raises
    ------
    RunnerError
        ``model-mismatch``: names, dtypes or shapes differ; ``bad-request``: items of different shapes in a batch.
    """
    if request["workload"] != "tensor":
        return
    specs = {spec["name"]: spec for spec in request["model"]["inputs"]}
    batch, first = request["settings"]["batch"], request["inputs"][0]["tensors"]
    for number, item in enumerate(request["inputs"]):
        tensors = item["tensors"]
        if tensors.keys() != specs.keys():
            found, wanted = ", ".join(tensors) or "nothing", ", ".join(specs)
            raise mismatch(f"inputs[{number}].tensors: names {found}; the model takes {wanted}")
        for name, file in tensors.items():
            _check_item(file, specs[name], batch, f"inputs[{number}].tensors.{name}")
            if batch > 1 and file["shape"] != first[name]["shape"]:
                message = f"inputs[{number}] has other shapes than inputs[0], and they are joined in a batch"
                raise RunnerError("bad-request", message, "set batch = 1, or use items of the same shapes")


def check_inputs(found: Sequence[TensorSpec], request: Request, readable: AbstractSet[str] = DTYPES) -> None:
    """Check the inputs of the model file against the request.

    Parameters
    ----------
    found
        Inputs reported by the runtime; the dtype of what is not a tensor is its type, such as ``seq(tensor(float))``.
    request
        The request.
    readable
        Dtypes that the runner reads.

    Raises
    ------
    RunnerError
        ``type-unsupported``, ``model-mismatch``.
    """
    wanted = {spec["name"]: spec for spec in request["model"]["inputs"]}
    needed = [spec for spec in found if spec["name"] in wanted or not spec["dtype"].startswith("optional(")]
    for spec in needed:
        if spec["dtype"] not in readable:
            raise unsupported("input", spec["name"], spec["dtype"])
    names = [spec["name"] for spec in needed]
    if set(names) != wanted.keys():
        raise mismatch(f"model.inputs: names {', '.join(wanted)}; the file has {', '.join(names)}")
    for spec in needed:
        wanted_spec = wanted[spec["name"]]
        if spec["dtype"] != wanted_spec["dtype"]:
            raise mismatch(f"model.inputs: {spec['name']} is {wanted_spec['dtype']}; in the file {spec['dtype']}")
        # without dimensions, it may be a scalar, or of unknown rank
        if spec["shape"] and not _agree(spec["shape"], wanted_spec["shape"]):
            raise mismatch(f"model.inputs: {spec['name']} is {wanted_spec['shape']}; in the file {spec['shape']}")
        if request["workload"] == "classify" or request["settings"]["batch"] > 1:
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


def output_names(request: Request, found: Sequence[TensorSpec], writable: AbstractSet[str] = DTYPES) -> list[str]:
    """Return the names of the requested outputs; if none are requested, of all tensors `found` in the model file.

    `found` is as in `check_inputs`, `writable` are the dtypes that the runner writes.

    Raises
    ------
    RunnerError
        ``model-mismatch``: a requested output is missing; ``type-unsupported``.
    """
    wanted, known = [spec["name"] for spec in request["model"]["outputs"]], {spec["name"]: spec for spec in found}
    if not set(wanted) <= known.keys():
        raise mismatch(f"model.outputs: names {', '.join(wanted)}; the file has {', '.join(known)}")
    tensors = [name for name, spec in known.items() if spec["dtype"] in DTYPES or spec["dtype"].startswith("tensor(")]
    # without any tensor, the first output is the one to be named
    names = wanted or tensors or [*known][:1]
    for name in names:
        if known[name]["dtype"] not in writable:
            raise unsupported("output", name, known[name]["dtype"])
    return names


def _check_batch(spec: TensorSpec, batch: int) -> None:
    fixed = spec["shape"][0] if spec["shape"] else None
    if fixed is not None and fixed != batch:
        raise mismatch(f"settings.batch: is {batch}; input {spec['name']} of the model is fixed at {fixed}")


def _check_item(file: TensorFile, spec: TensorSpec, batch: int, where: str) -> None:
    if file["dtype"] != spec["dtype"]:
        raise mismatch(f"{where}: is {file['dtype']}; the model takes {spec['dtype']}")
    takes, one = spec["shape"], ""
    if batch > 1:
        takes, one = [1, *spec["shape"][1:]], f", and one item of a batch of {batch} has 1 in its first dimension"
    if not _agree(takes, file["shape"]):
        raise mismatch(f"{where}: has shape {file['shape']}; the model takes {takes}{one}")


def _agree(one: Sequence[int | None], other: Sequence[int | None]) -> bool:
    """Return whether two shapes are compatible; `None` is a dynamic dimension."""
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(a is None or b is None or a == b for a, b in pairs)
