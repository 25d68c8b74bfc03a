"""The same code in onnxruntime and in the drop-in `runoff_ort.onnxruntime`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import runoff_ort.onnxruntime as drop_in
from comparing import differences
from generated import any_bits, one_node
from onnx import ModelProto, helper

if TYPE_CHECKING:
    from collections.abc import Callable

FLOAT = np.dtype(np.float32)
BOTH = [onnxruntime, drop_in]
CPU = "CPUExecutionProvider"


def adding_model() -> ModelProto:
    """Return a model that adds, with all metadata."""
    made = one_node("Add", FLOAT, 2)
    made.producer_name, made.model_version, made.doc_string = "tests", 7, "adds"
    made.graph.doc_string = "adds once"
    helper.set_model_props(made, {"key": "value"})
    return made


def feeds(rows: int = 3) -> dict[str, Any]:
    """Return arrays for that model."""
    return {"x": any_bits(1, FLOAT, (rows, 4)), "z": any_bits(2, FLOAT, (rows, 4))}


def agree(call: Callable[[Any], Any]) -> Any:
    """Call with both modules; compare what they return."""
    theirs, ours = map(call, BOTH)
    if isinstance(theirs, list):
        assert len(theirs) == len(ours)
        assert [differences(*pair) for pair in zip(theirs, ours, strict=True)] == [[]] * len(theirs)
    else:
        assert ours == theirs
    return ours
