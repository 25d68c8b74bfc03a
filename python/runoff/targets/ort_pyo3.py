"""The Rust core called from Python: the extension ``runoff_ort``."""

from __future__ import annotations

import msgspec

from runoff.targets.base import Target, onnxruntime_library, python_target


def ort_pyo3() -> Target:
    """Return the target. It loads the same library file as the other ONNX Runtime targets."""
    target = python_target("ort-pyo3", "ort_pyo3_runner")
    return msgspec.structs.replace(target, env={**target.env, **onnxruntime_library()})
