"""The Rust core called from Python: the extension ``runoff_ort``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from runoff.targets.base import onnxruntime_library, python_target

if TYPE_CHECKING:
    from runoff.plan.target import Target


def ort_pyo3() -> Target:
    """Return the target. It loads the same library file as the other ONNX Runtime targets."""
    target = python_target("ort-pyo3", "ort_pyo3_runner")
    return msgspec.structs.replace(target, env={**target.env, **onnxruntime_library()})
