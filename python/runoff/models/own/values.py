"""Generated inputs: what an input takes is concluded from its dtype, its name, and the operators that read it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from msgspec import Struct
from onnx import numpy_helper

from runoff.models.own.graph import nodes
from runoff.models.own.sizes import COLOURS, IMAGE_RANK, STATE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from runoff.models.own.graph import OnnxFile, Tensor

    Feed = dict[str, NDArray[Any]]

_PASSING = {"Cast", "Identity", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Transpose", "Slice", "Concat", "Expand"}
"""Operators that pass the values of an input on."""
_INDEXING = {"Gather": 1, "GatherElements": 1, "GatherND": 1, "OneHot": 0}
"""Operators that take indices, and which of their inputs these are."""
_TEXTS = re.compile(r"strings|pool|cats|vocab")
"""Attributes of operators that list the strings that they know."""
_WORDS = (b"alpha", b"beta", b"gamma", b"delta", b"epsilon", b"zeta", b"eta", b"theta")
_RATES = re.compile(r"^sr$|sample_?rate|sampling_?rate")
_MASK = re.compile("mask")
_RATE = 16000
_FEW = 2
"""Integers of unknown meaning are 0 or 1."""
_PATCHES = 8
"""Squares along each side of a generated image."""


class Values(Struct, frozen=True):
    """What the inputs take."""

    limits: dict[str, int]
    """By input with integers: they are at least 0 and less than this."""
    texts: tuple[bytes, ...]
    """Strings that the model knows."""


def understand(file: OnnxFile) -> Values:
    """Return what the inputs of a model take."""
    initializers = {tensor.name: tensor for tensor in file.model.graph.initializer}
    readers: dict[str, list[tuple[onnx.NodeProto, int]]] = {}
    for node in nodes(file.model.graph):
        for place, name in enumerate(node.input):
            readers.setdefault(name, []).append((node, place))
    limits = {}
    for tensor in file.inputs:
        found = [_rows(node, initializers) for node, place in _reached(tensor.name, readers) if _indexes(node, place)]
        known = [rows for rows in found if rows]
        if known:
            limits[tensor.name] = min(known)
    texts = {text for node in nodes(file.model.graph) for text in _texts(node)}
    return Values(limits, tuple(sorted(texts)[:64]) or _WORDS)


def generate(inputs: tuple[Tensor, ...], shapes: Mapping[str, tuple[int, ...]], values: Values, seed: int) -> Feed:
    """Return one feed of random values; equal seeds give equal values."""
    random = np.random.default_rng(seed)
    return {tensor.name: _array(tensor, shapes[tensor.name], values, random) for tensor in inputs}


def _array(tensor: Tensor, shape: tuple[int, ...], values: Values, random: np.random.Generator) -> NDArray[Any]:
    name, dtype = tensor.name.lower(), tensor.dtype
    if dtype == "str":
        texts = np.array([text.decode(errors="replace") for text in values.texts], object)
        return np.asarray(random.choice(texts, shape), object)
    if dtype == "bool":
        return np.ones(shape, bool) if _MASK.search(name) else np.asarray(random.integers(0, 2, shape), bool)
    if _MASK.search(name):
        return np.ones(shape, _numpy(dtype))
    if "int" in dtype:
        return np.asarray(_integers(tensor, shape, values, random), dtype)
    if STATE.search(name):
        return np.zeros(shape, _numpy(dtype))
    image = len(shape) == IMAGE_RANK and (shape[1] in COLOURS or shape[-1] in COLOURS)
    numbers = _image(shape, random) if image else random.standard_normal(shape, np.float32)
    return np.asarray(numbers).astype(_numpy(dtype))


def _image(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.float32]:
    """Return a picture of coloured squares, 0 to 1; a network sees nothing in noise, and its outputs would be tiny."""
    axes = (2, 3) if shape[1] in COLOURS else (1, 2)
    sides = [slice(None)] * IMAGE_RANK
    patches = random.random([_PATCHES if axis in axes else size for axis, size in enumerate(shape)], np.float32)
    for axis in axes:
        patches = patches.repeat(-(-shape[axis] // _PATCHES), axis)
        sides[axis] = slice(shape[axis])
    return np.ascontiguousarray(patches[tuple(sides)])


def _integers(
    tensor: Tensor, shape: tuple[int, ...], values: Values, random: np.random.Generator
) -> NDArray[np.int64] | int:
    if not shape and _RATES.search(tensor.name.lower()):
        return _RATE
    if tensor.name in values.limits:
        return random.integers(0, values.limits[tensor.name], shape)
    if tensor.dtype in ("int8", "uint8"):  # pixels, or quantised numbers
        limits = np.iinfo(tensor.dtype)
        return random.integers(limits.min, int(limits.max) + 1, shape)
    return random.integers(0, _FEW, shape)


def _numpy(dtype: str) -> Any:  # noqa: ANN401 (NumPy's type, or one of ml_dtypes)
    if dtype != "bfloat16":
        return np.dtype(dtype)
    import ml_dtypes

    return ml_dtypes.bfloat16


def _reached(
    name: str, readers: Mapping[str, list[tuple[onnx.NodeProto, int]]]
) -> Iterator[tuple[onnx.NodeProto, int]]:
    """Yield the nodes that read the values of `name`, directly or passed on, each with the place of the values."""
    names, seen = [name], set[str]()
    while names:
        current = names.pop()
        if current in seen:
            continue
        seen.add(current)
        for node, place in readers.get(current, ()):
            yield node, place
            if node.op_type in _PASSING and place == 0:
                names += node.output


def _indexes(node: onnx.NodeProto, place: int) -> bool:
    return _INDEXING.get(node.op_type) == place


def _rows(node: onnx.NodeProto, initializers: Mapping[str, onnx.TensorProto]) -> int | None:
    """Return the size of the table that the node looks up, if it is a weight."""
    if node.op_type == "OneHot":
        depth = initializers.get(node.input[1])
        return int(numpy_helper.to_array(depth).ravel()[0]) if depth is not None and not depth.external_data else None
    table = initializers.get(node.input[0])
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    return int(table.dims[axis]) if table is not None and len(table.dims) > axis else None


def _texts(node: onnx.NodeProto) -> Iterator[bytes]:
    for attribute in node.attribute:
        if _TEXTS.search(attribute.name):
            yield from attribute.strings
