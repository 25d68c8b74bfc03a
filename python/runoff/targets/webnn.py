"""WebNN through rustnn's Python package pywebnn: its own ``compute``, and its graph in a session of ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff.targets.base import python_target

if TYPE_CHECKING:
    from runoff.plan.target import Target


def webnn_compute() -> Target:
    """Return the target of ``compute`` as it ships: ONNX Runtime without optimisation, a new session in every call."""
    return python_target("webnn-compute", "webnn_runner", environment="webnn", model_format="onnx")


def webnn_ort() -> Target:
    """Return the target of the same graph, converted once and kept in one session of ONNX Runtime."""
    return python_target("webnn-ort", "webnn_ort_runner", environment="webnn", model_format="onnx")
