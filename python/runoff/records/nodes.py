"""Classes of a graph's nodes, by what they compute in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

NodeClass = Literal["int8", "fp16", "bf16", "fp32", "fp64", "quantise", "cast", "other"]
"""``quantise``: conversion between float and 8 bits. ``cast``: any other conversion of types. ``other``: integers wider
than 8 bits (mostly shapes), booleans, strings."""
CLASSES: dict[NodeClass, str] = {
    "int8": "in int8",
    "fp16": "in fp16",
    "bf16": "in bf16",
    "fp32": "in float32",
    "fp64": "in float64",
    "quantise": "that quantise or dequantise",
    "cast": "that cast",
    "other": "of shapes and integers",
}
"""With the words that complete "nodes ..."."""
CONTROL_FLOW = frozenset({"If", "Loop", "Scan"})
"""The time of their nodes contains that of the nodes in their subgraphs, which are listed themselves."""
_QUANTISE = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}
_SHAPES = {"Shape", "Size"}
"""Read no elements."""
_TYPES: tuple[tuple[NodeClass, frozenset[str]], ...] = (
    ("int8", frozenset({"int8", "uint8", "int4", "uint4"})),
    ("fp16", frozenset({"float16"})),
    ("bf16", frozenset({"bfloat16"})),
    ("fp64", frozenset({"double"})),
    ("fp32", frozenset({"float"})),
)


def node_class(operator: str, inputs: Sequence[str]) -> NodeClass:
    """Return the class of a node by its operator and its inputs' types, in ONNX Runtime's names.

    One with an input in 8 bits computes in int8: ``QLinearConv`` also has scales in float, and ``MaxPool`` of uint8
    is among them. ``DynamicQuantizeMatMul`` quantises within its kernel.
    """
    if operator in _QUANTISE:
        return "quantise"
    if operator == "Cast":
        return "cast"
    if operator in _SHAPES:
        return "other"
    return next((name for name, types in _TYPES if types & set(inputs)), "other")
