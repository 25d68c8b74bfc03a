"""The work of each node of an ONNX model: floating-point operations, and the sizes of its tensors.

It runs in the environment ``inspect``. A multiplication and an addition are two operations; operators that are not in
`_flops` count one per element of their first input or output, whichever has more.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import onnx
from onnx import helper, shape_inference

from runoff.models.cuts import Work

if TYPE_CHECKING:
    from collections.abc import Mapping

    Shapes = Mapping[str, tuple[int, ...]]

_MOVES = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Transpose", "Concat", "Slice", "Split", "Gather"}
"""Operators that compute nothing."""
_UNKNOWN = {"If", "Loop", "Scan"}
"""Their work depends on what is in them, and on data."""


def work_of(model: onnx.ModelProto) -> tuple[tuple[Work, ...], dict[str, int]]:
    """Return the work of each node of `model`, whose shapes are fixed, and the size in bytes of each tensor.

    A tensor of unknown shape has no size.
    """
    graph = shape_inference.infer_shapes(model).graph
    found = {tensor.name: (tuple(tensor.dims), tensor.data_type) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(side.HasField("dim_value") for side in kind.shape.dim):
            found[value.name] = tuple(side.dim_value for side in kind.shape.dim), kind.elem_type
    shapes = {name: shape for name, (shape, _) in found.items()}
    sizes = {
        name: prod(shape) * helper.tensor_dtype_to_np_dtype(kind).itemsize
        for name, (shape, kind) in found.items()
        if kind != onnx.TensorProto.STRING
    }
    return tuple(_work(node, shapes) for node in graph.node), sizes


def _work(node: onnx.NodeProto, shapes: Shapes) -> Work:
    inputs, outputs = (tuple(filter(None, names)) for names in (node.input, node.output))
    try:
        label, flops = _label(node, shapes), _flops(node, shapes)
    except (KeyError, IndexError):  # a shape that is not known, or no input
        label, flops = node.op_type, None
    name, shape = node.name or outputs[0], shapes.get(outputs[0], ())
    return Work(name=name, operator=label, inputs=inputs, outputs=outputs, flops=flops, shape=shape)


def _kind(node: onnx.NodeProto) -> str:
    operator: str = node.op_type
    return operator.removeprefix("QLinear").removesuffix("Integer")


def _weights(node: onnx.NodeProto) -> str:
    """Return the second operand of a product; quantised ones have a scale and a zero point between both."""
    name: str = node.input[3 if node.op_type.startswith("QLinear") else 1]
    return name


def _label(node: onnx.NodeProto, shapes: Shapes) -> str:
    """Return the operator, and which of its forms a convolution is."""
    operator: str = node.op_type
    if _kind(node) != "Conv":
        return operator
    outputs, per_group, *kernel = shapes[_weights(node)]
    if per_group == 1 and outputs > 1 and shapes[node.input[0]][1] > 1:
        return f"depthwise {operator}"
    return f"{'x'.join(map(str, kernel))} {operator}"


def _flops(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    if node.op_type in _UNKNOWN:
        return None
    kind, read, made = _kind(node), shapes[node.input[0]], shapes[node.output[0]]
    attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    each: int
    if kind in _MOVES:
        each = 0
    elif kind == "Conv":
        each = 2 * prod(shapes[_weights(node)][1:])
    elif kind == "ConvTranspose":
        return 2 * prod(read) * prod(shapes[_weights(node)][1:])
    elif kind in ("MatMul", "Gemm"):
        each = 2 * read[0 if attributes.get("transA") else -1]
    elif kind in ("AveragePool", "MaxPool"):
        each = prod(attributes["kernel_shape"])
    else:
        return max(prod(read), prod(made))
    return each * prod(made)
