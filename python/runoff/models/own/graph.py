"""Reads an ONNX file without its external data: inputs, outputs, operators, and the files that hold its weights."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import onnx
from google.protobuf.message import DecodeError
from msgspec import Struct
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from runoff.records.errors import RunoffError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STANDARD = "ai.onnx"
"""The domain of ONNX's own operators, which a file leaves empty."""
_KNOWN = {STANDARD, "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"}
"""Domains of the operators in ONNX Runtime's wheel."""
_LONGEST_NAME = 200
"""Bytes of the name of an input or output: it becomes part of file names."""
_HALF = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
_SUPPORTED = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.DOUBLE: "float64",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.BFLOAT16: "bfloat16",
    onnx.TensorProto.BOOL: "bool",
    onnx.TensorProto.STRING: "str",
    **{getattr(onnx.TensorProto, name.upper()): name for name in ("int8", "int16", "int32", "int64")},
    **{getattr(onnx.TensorProto, name.upper()): name for name in ("uint8", "uint16", "uint32", "uint64")},
}


class Tensor(Struct, frozen=True):
    """An input or output. A free dimension is its name, or ``?`` if it has none."""

    name: str
    dtype: str
    shape: tuple[int | str, ...] | None
    """None if the file does not contain it."""


class OnnxFile(Struct, frozen=True, kw_only=True):
    """An ONNX file, without its external data."""

    path: Path
    model: onnx.ModelProto
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    not_read: dict[str, str]
    """Type by name of the outputs that are no tensors, or of elements that no runner reads."""
    data: tuple[Path, ...]
    """Files with external data."""

    @property
    def opsets(self) -> dict[str, int]:
        """Version of each imported domain."""
        return {opset.domain or STANDARD: opset.version for opset in self.model.opset_import}

    @property
    def operators(self) -> dict[str, int]:
        """Number of nodes by operator, subgraphs included, the most frequent first."""
        return dict(Counter(_operator(node) for node in nodes(self.model.graph)).most_common())

    @property
    def parameters(self) -> int:
        """Elements of all initializers."""
        return sum(math.prod(tensor.dims) for tensor in _tensors(self.model.graph))

    @property
    def half(self) -> bool:
        """Whether it computes in float16 or bfloat16."""
        return any(tensor.data_type in _HALF for tensor in _tensors(self.model.graph)) or any(
            tensor.dtype in ("float16", "bfloat16") for tensor in (*self.inputs, *self.outputs)
        )

    @property
    def quantized(self) -> bool:
        """Whether it computes in quantised integers."""
        return any("Quantize" in name or "Integer" in name or "QLinear" in name for name in self.operators)


def read_onnx(path: Path) -> OnnxFile:
    """Read the ONNX file at `path`.

    Raises
    ------
    RunoffError
        If it is not an ONNX model that can be measured; the message names what is wrong with it.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except OSError as error:
        raise RunoffError(f"{path}: {error.strerror or error}", "pass the path of an ONNX file") from error
    except (DecodeError, ValueError) as error:
        raise RunoffError(f"{path} is not an ONNX file", "pass a model in ONNX's format (.onnx)") from error
    if not model.graph.output:
        raise RunoffError(f"{path} is not an ONNX file with a graph", "pass a model in ONNX's format (.onnx)")
    _check_domains(model, path)
    _check_names(model, path)
    initializers = {tensor.name for tensor in model.graph.initializer}
    inputs = tuple(_input(value, path) for value in model.graph.input if value.name not in initializers)
    tensors = [value for value in model.graph.output if _is_supported(value)]
    others = {value.name: type_name(value.type) for value in model.graph.output if not _is_supported(value)}
    if not tensors:
        listed = ", ".join(f"{name}: {kind}" for name, kind in others.items())
        raise RunoffError(
            f"{path}: no output is a tensor that runoff reads ({listed})",
            "export the model with tensor outputs (skl2onnx: options={'zipmap': False})",
        )
    return OnnxFile(
        path=path,
        model=model,
        inputs=inputs,
        outputs=tuple(_tensor(value) for value in tensors),
        not_read=others,
        data=_external_files(model, path),
    )


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield all nodes of `graph` and of its subgraphs."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for part in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from nodes(part)


def type_name(kind: onnx.TypeProto) -> str:
    """Return an ONNX type as in ONNX Runtime's messages: ``seq(map(int64,tensor(float)))``."""
    case = kind.WhichOneof("value")
    if case in ("tensor_type", "sparse_tensor_type"):
        word = onnx.TensorProto.DataType.Name(getattr(kind, case).elem_type).lower()
        return f"{'sparse_' if case.startswith('sparse') else ''}tensor({word})"
    if case == "map_type":
        key = onnx.TensorProto.DataType.Name(kind.map_type.key_type).lower()
        return f"map({key},{type_name(kind.map_type.value_type)})"
    if case in ("sequence_type", "optional_type"):
        return f"{case[:3]}({type_name(getattr(kind, case).elem_type)})"
    return "unknown"


def _operator(node: onnx.NodeProto) -> str:
    return node.op_type if node.domain in ("", STANDARD) else f"{node.domain}.{node.op_type}"


def _check_domains(model: onnx.ModelProto, path: Path) -> None:
    """Refuse operators that only a library of its own can compute."""
    functions = {(function.domain, function.name) for function in model.functions}
    for node in nodes(model.graph):
        if (node.domain or STANDARD) not in _KNOWN and (node.domain, node.op_type) not in functions:
            raise RunoffError(
                f"{path}: operator {node.op_type} is a custom one, of the domain {node.domain!r}",
                "runoff measures models of ONNX's and ONNX Runtime's own operators; export it without this one",
            )


def _input(value: onnx.ValueInfoProto, path: Path) -> Tensor:
    if not _is_supported(value):
        raise RunoffError(
            f"{path}: input {value.name!r} is {type_name(value.type)}, which runoff cannot feed",
            "export the model with inputs that are tensors of numbers, booleans or strings",
        )
    return _tensor(value)


def _check_names(model: onnx.ModelProto, path: Path) -> None:
    """Refuse names that no file name or line of a message can contain."""
    for value in (*model.graph.input, *model.graph.output):
        if len(value.name.encode()) > _LONGEST_NAME or not value.name.isprintable():
            raise RunoffError(
                f"{path}: the name {value.name[:40]!r} has control characters or over {_LONGEST_NAME} bytes",
                "rename this input or output",
            )


def _is_supported(value: onnx.ValueInfoProto) -> bool:
    return value.type.HasField("tensor_type") and value.type.tensor_type.elem_type in _SUPPORTED


def _tensor(value: onnx.ValueInfoProto) -> Tensor:
    kind = value.type.tensor_type
    shape = tuple(_dimension(dim) for dim in kind.shape.dim) if kind.HasField("shape") else None
    return Tensor(value.name, _SUPPORTED[kind.elem_type], shape)


def _dimension(dim: Any) -> int | str:  # noqa: ANN401 (a message without a public name)
    return int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value >= 0 else dim.dim_param or "?"


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yield initializers and constants of `graph` and its subgraphs."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)
            for part in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _tensors(part)


def _external_files(model: onnx.ModelProto, path: Path) -> tuple[Path, ...]:
    names = {ExternalDataInfo(tensor).location for tensor in _tensors(model.graph) if uses_external_data(tensor)}
    # a model and its data may both be links, as in the cache of Hugging Face
    homes = path.parent.resolve(), path.resolve().parent
    for name in sorted(names):
        if not any((path.parent / name).resolve().is_relative_to(home) for home in homes):
            raise RunoffError(
                f"{path}: its external data {name!r} is outside its folder, where ONNX Runtime does not read it",
                f"move the file to {path.parent}, and save the model again with that location",
            )
        if not (path.parent / name).is_file():
            raise RunoffError(
                f"{path}: its external data {name!r} is missing", f"put the file next to the model, in {path.parent}"
            )
    return tuple(path.parent / name for name in sorted(names))
