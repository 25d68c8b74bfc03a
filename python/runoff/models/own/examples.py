"""The user's examples: ``.npz`` files with an array per input, or ``.npy`` files for a model with one input."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from runoff.models.own.sizes import fits, shown
from runoff.records.errors import RunoffError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from runoff.models.own.graph import Tensor
    from runoff.models.own.values import Feed
    from runoff.records.protocol import Preprocess


def read_examples(paths: Sequence[Path], inputs: Sequence[Tensor]) -> Iterator[tuple[str, Feed]]:
    """Yield the examples in the files, each with a name.

    An array with one dimension more than its input holds several examples along its first axis.

    Raises
    ------
    RunoffError
        If a file cannot be read, an array is missing, or its dtype or shape does not fit the input.
    """
    for path in paths:
        arrays = _read(path, inputs)
        feeds = {tensor.name: _split(arrays[tensor.name], tensor, path) for tensor in inputs}
        counts = {name: len(split) for name, split in feeds.items()}
        most = max(counts.values(), default=0)
        short = next((name for name, number in counts.items() if number not in (1, most)), None)
        if short is not None:
            raise RunoffError(
                f"{path}: array {short!r} has {counts[short]} examples, others have {most}",
                "give every input the same number of examples",
            )
        for place in range(most):
            yield f"{path.name}-{place}", {name: split[place % len(split)] for name, split in feeds.items()}


def read_images(paths: Sequence[Path], preprocess: Preprocess, inputs: Sequence[Tensor]) -> Iterator[tuple[str, Feed]]:
    """Yield the tensors that Pillow and NumPy make of the user's images, each with a name.

    Raises
    ------
    RunoffError
        If the model takes something else than one image, or a file is not a readable image.
    """
    from runoff_runners.preprocess import preprocess as prepared
    from runoff_runners.protocol import RunnerError

    shape = (1, 3, preprocess.crop, preprocess.crop)
    if len(inputs) != 1 or inputs[0].dtype != "float32" or not fits(inputs[0], shape):
        takes = "; ".join(f"{tensor.name} {shown(tensor)}" for tensor in inputs)
        raise RunoffError(
            f"preprocess makes float32 {list(shape)}; the model takes {takes}", "set crop, or leave preprocess out"
        )
    if not paths:
        raise RunoffError("preprocess needs images", "pass them with --inputs photo.jpg, at least eight")
    for place, path in enumerate(paths):
        try:
            yield f"{place}-{path.name}", {inputs[0].name: prepared([str(path)], msgspec.to_builtins(preprocess))}
        except RunnerError as error:
            raise RunoffError(f"--inputs {error.message}", error.hint or "pass a readable image") from error


def exported_arrays(folder: Path, kind: str, tensors: Sequence[Tensor]) -> Iterator[Feed]:
    """Yield what `runoff.models.own.export_torch` wrote of each example: the ``inputs``, or the ``outputs``.

    Raises
    ------
    RunoffError
        If the ONNX file has another number of them than the network, or other dtypes or shapes.
    """
    for place in count():
        path = folder / f"{kind}-{place}.npz"
        if not path.is_file():
            return
        arrays = list(_load(path).values())
        fine = len(arrays) == len(tensors) and all(
            array.dtype.name == tensor.dtype and fits(tensor, array.shape)
            for array, tensor in zip(arrays, tensors, strict=True)
        )
        if not fine:
            ours = "; ".join(f"{array.dtype.name} {list(array.shape)}" for array in arrays)
            theirs = "; ".join(map(shown, tensors))
            raise RunoffError(
                f"the ONNX file has {kind} {theirs}; the network has {ours}", "pair the network with its own export"
            )
        yield {tensor.name: array for tensor, array in zip(tensors, arrays, strict=True)}


def _read(path: Path, inputs: Sequence[Tensor]) -> dict[str, NDArray[Any]]:
    try:
        arrays = _load(path)
        arrays = {inputs[0].name: arrays[""]} if "" in arrays else arrays
    except (OSError, ValueError, IndexError) as error:
        raise RunoffError(
            f"--inputs {path}: not readable as arrays: {error}", "write it with numpy.savez(FILE, NAME=array)"
        ) from error
    missing = [tensor.name for tensor in inputs if tensor.name not in arrays]
    if missing:
        raise RunoffError(
            f"--inputs {path}: no array {missing[0]!r}; it has {', '.join(arrays) or 'none'}",
            "name each array like the model's input",
        )
    return arrays


def _load(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an ``.npz`` file by name, or that of an ``.npy`` file."""
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return {"": loaded}
    with loaded:
        return dict(loaded)


def _split(array: NDArray[Any], tensor: Tensor, path: Path) -> list[NDArray[Any]]:
    """Return the examples in an array, one or several."""
    array = _typed(array, tensor, path)
    if fits(tensor, array.shape):
        return [array]
    if array.ndim and fits(tensor, array.shape[1:]):
        return list(array)
    raise RunoffError(
        f"--inputs {path}: array {tensor.name!r} has shape {list(array.shape)}; the model takes {shown(tensor)}",
        "a further first axis may hold several examples",
    )


def _typed(array: NDArray[Any], tensor: Tensor, path: Path) -> NDArray[Any]:
    if tensor.dtype == "str" and array.dtype.kind == "U":
        return array.astype(object)
    if tensor.dtype == "bfloat16" and array.dtype == np.float32:
        import ml_dtypes

        return array.astype(ml_dtypes.bfloat16)
    if array.dtype.name != tensor.dtype:
        raise RunoffError(
            f"--inputs {path}: array {tensor.name!r} is {array.dtype.name}; the model takes {tensor.dtype}",
            f"convert it with .astype({tensor.dtype!r}) before numpy.savez",
        )
    return array
