"""Small ONNX models for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

BOOL, FLOAT, INT64, STRING = TensorProto.BOOL, TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
Value = tuple[str, int, Any]
"""Name, element type and shape."""


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Value],
    outputs: Sequence[Value | onnx.ValueInfoProto],
    weights: Mapping[str, Any] = {},
    opset: int = 17,
    domains: Sequence[str] = (),
    **options: Any,
) -> Path:
    """Save a model of the nodes at `path`, and return it."""
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) if isinstance(value, tuple) else value for value in outputs],
        initializers,
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 2) for domain in domains)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path, **options)
    return path


def linear(path: Path, scale: float = 1.0) -> Path:
    """Save a model with the input ``x``, float32 [batch, 4], and the output ``y``, float32 [batch, 3]."""
    weights = np.arange(12, dtype=np.float32).reshape(4, 3) * np.float32(scale)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    return save(path, [node], [("x", FLOAT, ["batch", 4])], [("y", FLOAT, ["batch", 3])], {"w": weights})


def encoder(path: Path, scale: float = 1.0) -> Path:
    """Save a model that looks up int64 ``ids`` in 7 rows, and multiplies them with a float32 ``mask``."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["rows", "column"], ["hidden"]),
    ]
    weights = {"table": np.eye(7, dtype=np.float32) * np.float32(scale), "last": np.array([2])}
    shape = ["batch", "sequence"]
    return save(path, nodes, [("ids", INT64, shape), ("mask", FLOAT, shape)], [("hidden", FLOAT, [*shape, 7])], weights)


def convs(path: Path) -> Path:
    """Save ``relu(x) - 0.5`` as two equal convolutions, of which only the first has a Relu that is fused into it.

    The WebGL backend uses the program of the first for both, and so computes ``relu(relu(x) - 0.5)``: the largest
    element stays where it is.
    """
    kernel = np.zeros((1, 1, 3, 3), np.float32)
    kernel[0, 0, 1, 1] = 1
    nodes = [
        helper.make_node("Conv", ["x", "k", "zero"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "k", "less"], ["y"], pads=[1, 1, 1, 1]),
    ]
    weights = {"k": kernel, "zero": np.zeros(1, np.float32), "less": np.full(1, -0.5, np.float32)}
    shape = ["batch", 1, 4, 4]
    return save(path, nodes, [("x", FLOAT, shape)], [("y", FLOAT, shape)], weights)


def counter(path: Path) -> Path:
    """Save a model that counts to the int64 ``n``, one by one, which takes any time."""
    before: Sequence[Value] = [("i", INT64, []), ("on", BOOL, []), ("before", INT64, [])]
    after: Sequence[Value] = [("still", BOOL, []), ("after", INT64, [])]
    step = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["still"]), helper.make_node("Add", ["before", "one"], ["after"])],
        "step",
        [helper.make_tensor_value_info(*each) for each in before],
        [helper.make_tensor_value_info(*each) for each in after],
    )
    node = helper.make_node("Loop", ["n", "", "zero"], ["count"], body=step)
    weights = {"zero": np.array(0, np.int64), "one": np.array(1, np.int64)}
    return save(path, [node], [("n", INT64, [])], [("count", INT64, [])], weights)
