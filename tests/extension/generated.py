"""Models of one operator, and input arrays of every dtype, shape and layout."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from both import BFLOAT16, Both, save
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper

if TYPE_CHECKING:
    from collections.abc import Callable

INTEGERS = [np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)]
FLOATS = [np.dtype(name) for name in ("float16", "float32", "float64")]
NUMBERS = [*INTEGERS, *FLOATS, BFLOAT16, np.dtype(bool)]
STRINGS = np.dtype(object)
DTYPES = [*NUMBERS, STRINGS]
# dtypes that onnxruntime's CPU kernels add and multiply
ADDED = [np.dtype(name) for name in ("float32", "float64", "int32", "int64")]
CAST_TO = ("float16", "float32", "float64", "bfloat16")
OPSET, IR_VERSION = 17, 8
# ONNX's strings are UTF-8, which has no surrogates; NumPy's fixed-length strings end before trailing NULs
TEXT = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
FOLDER = TemporaryDirectory(prefix="runoff-generated-")


def element(dtype: np.dtype[Any] | str) -> int:
    """Return ONNX's number of an element type."""
    names = {"float32": "FLOAT", "float64": "DOUBLE", "object": "STRING"}
    name = np.dtype(BFLOAT16 if dtype == "bfloat16" else dtype).name
    return int(TensorProto.DataType.Value(names.get(name, name.upper())))


def tensor(name: str, dtype: np.dtype[Any] | str, rank: int | None) -> Any:
    """Describe a tensor with dynamic dimensions; a rank of None is dynamic as well."""
    shape = None if rank is None else [f"{name}{index}" for index in range(rank)]
    return helper.make_tensor_value_info(name, element(dtype), shape)


def model(nodes: list[Any], inputs: list[Any], outputs: list[Any]) -> ModelProto:
    """Return a model of a graph."""
    graph = helper.make_graph(nodes, "generated", inputs, outputs)
    domains = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=domains, ir_version=IR_VERSION)


def one_node(operator: str, dtype: np.dtype[Any], rank: int | None) -> ModelProto:
    """Return a model of one operator, whose inputs are all tensors of `dtype` and `rank`."""
    count = 2 if operator in {"Add", "Mul", "Concat"} else 1
    names = ["x", "z"][:count]
    extra = {"axis": 0} if operator == "Concat" else {}
    node = helper.make_node(operator, names, ["y"], **extra)
    return model([node], [tensor(name, dtype, rank) for name in names], [tensor("y", dtype, rank)])


def cast(dtype: np.dtype[Any], rank: int | None, to: str) -> ModelProto:
    """Return a model of a cast."""
    node = helper.make_node("Cast", ["x"], ["y"], to=element(to))
    return model([node], [tensor("x", dtype, rank)], [tensor("y", to, rank)])


def reshape(dtype: np.dtype[Any], rank: int | None) -> ModelProto:
    """Return a model whose second input is the shape of its output."""
    node = helper.make_node("Reshape", ["x", "shape"], ["y"], allowzero=1)
    return model([node], [tensor("x", dtype, rank), tensor("shape", "int64", 1)], [tensor("y", dtype, None)])


def several(dtype: np.dtype[Any], rank: int | None) -> ModelProto:
    """Return a model with two inputs and four outputs of different dtypes and ranks."""
    nodes = [
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Shape", ["z"], ["sides"]),
        helper.make_node("ReduceSum", ["sides"], ["sum"], keepdims=0),
        helper.make_node("Transpose", ["z"], ["turned"]),
    ]
    outputs = [tensor("same", dtype, rank), tensor("shape", "int64", 1), tensor("sum", "int64", 0)]
    return model(nodes, [tensor("x", dtype, rank), tensor("z", dtype, None)], [*outputs, tensor("turned", dtype, None)])


MAKERS: dict[str, Callable[..., ModelProto]] = {"Cast": cast, "Reshape": reshape, "several": several}


@cache
def both(kind: str, *details: Any) -> Both:
    """Return both sessions of a model, which is generated once."""
    made = MAKERS[kind](*details) if kind in MAKERS else one_node(kind, *details)
    return Both(save(made, Path(FOLDER.name) / f"{kind}-{'-'.join(map(str, details))}.onnx"))


@st.composite
def shapes(draw: st.DrawFn, max_rank: int = 4) -> tuple[int, ...]:
    """Draw a shape: scalars and empty dimensions too."""
    return tuple(draw(st.lists(st.integers(0, 4), max_size=max_rank)))


@st.composite
def arrays(draw: st.DrawFn, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    """Draw an array of any bits, NaN of every kind too, laid out in any way."""
    if dtype == STRINGS:
        count = int(np.prod(shape))
        texts = draw(st.lists(st.text(TEXT, max_size=8), min_size=count, max_size=count))
        kind: Any = draw(st.sampled_from([STRINGS, np.dtypes.StringDType(), np.dtype("U")]))
        array = np.array(texts, dtype=kind).reshape(shape)
    else:
        array = any_bits(draw(st.integers(0, 2**32)), dtype, shape)
    return LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))](array)


def any_bits(seed: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    """Return an array of random bits."""
    rng = np.random.default_rng(seed)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    return np.frombuffer(rng.bytes(int(np.prod(shape)) * dtype.itemsize), dtype).reshape(shape).copy()


def reversed_twice(array: Any) -> Any:
    """Return the elements with the last one first in memory."""
    back = (..., *(slice(None, None, -1) for _ in array.shape))
    return array[back].copy()[back]


def strided(array: Any) -> Any:
    """Return the elements with a gap behind each."""
    wide = np.zeros([2 * side for side in array.shape], array.dtype)
    gaps: Any = (..., *(slice(None, None, 2) for _ in array.shape))
    view = wide[gaps]
    view[...] = array
    return view


def repeated(array: Any) -> Any:
    """Return the first element of each row again and again, without memory for it."""
    return np.broadcast_to(array[..., :1], array.shape) if array.ndim else array


def swapped(array: Any) -> Any:
    """Return the elements in the other byte order, if their dtype has one."""
    has_order = array.dtype != BFLOAT16 and array.dtype.kind in "iufU"
    return array.astype(array.dtype.newbyteorder()) if has_order else array


def unaligned(array: Any) -> Any:
    """Return the elements at an odd address, if they are plain bytes."""
    if array.dtype.kind in "OT":
        return array
    return np.frombuffer(b"\0" + array.tobytes(), np.uint8, offset=1).view(array.dtype).reshape(array.shape)


def read_only(array: Any) -> Any:
    """Return the elements in read-only memory."""
    array.setflags(write=False)
    return array


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "C": np.array,
    "Fortran": np.asfortranarray,
    "negative strides": reversed_twice,
    "strided": strided,
    "zero strides": repeated,
    "other byte order": swapped,
    "unaligned": unaligned,
    "read-only": read_only,
}
