"""ONNX Runtime: in Python, in Rust, the Rust core called from Python, and the bare C API. One library file for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from runoff.targets.base import onnxruntime_library, python_target, rust_target

if TYPE_CHECKING:
    from runoff.plan.target import Target


def ort_python() -> Target:
    """Return the target on the wheel's Python module."""
    return python_target("ort-python", "ort_python_runner")


def ort_rust() -> Target:
    """Return the target of the standalone program on the ``ort`` crate."""
    return rust_target("ort-rust", "runoff-ort", onnxruntime_library())


def ort_pyo3() -> Target:
    """Return the target of the extension ``runoff_ort``."""
    target = python_target("ort-pyo3", "ort_pyo3_runner")
    return msgspec.structs.replace(target, env={**target.env, **onnxruntime_library()})


def capi_rust() -> Target:
    """Return the target on the bare C API, without a crate: the lower bound for a native process."""
    return rust_target("capi-rust", "runoff-capi", onnxruntime_library())
