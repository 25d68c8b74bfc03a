"""WebNN through rustnn: the Python package pywebnn, its graph in a session of ONNX Runtime, and the crate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from runoff.targets.base import python_target, rust_target

if TYPE_CHECKING:
    from runoff.plan.target import Target


def webnn_compute() -> Target:
    """Return the target of ``compute`` as it ships: ONNX Runtime without optimisation, a new session in every call."""
    return python_target("webnn-compute", environment="webnn", model_format="onnx")


def webnn_ort() -> Target:
    """Return the target of the same graph, converted once and kept in one session of ONNX Runtime."""
    return python_target("webnn-ort", environment="webnn", model_format="onnx")


def webnn_rust() -> Target:
    """Return the target of the program on the crate rustnn, which keeps a session for a graph."""
    target = rust_target("webnn-rust", "runoff-webnn", loads_onnxruntime=True, command="nox -s webnn-rust")
    library = target.env.get("RUNOFF_ORT_DYLIB")
    # the name by which rustnn finds it
    env = {**target.env, **({"ORT_DYLIB_PATH": library} if library else {})}
    return msgspec.structs.replace(target, env=env, format="onnx")
