"""ONNX Runtime: in Python, in Rust, the Rust core called from Python, and the bare C API. One library file for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff.targets.base import FASTAPI, OPENCV, importing, python_target, rust_target, with_onnxruntime

if TYPE_CHECKING:
    from runoff.plan.target import Target


def ort_python() -> Target:
    """Return the target on the wheel's Python module."""
    return importing(python_target("ort-python"), OPENCV, FASTAPI)


def ort_rust() -> Target:
    """Return the target of the standalone program on the ``ort`` crate."""
    return rust_target("ort-rust", "runoff-ort", loads_onnxruntime=True)


def ort_pyo3() -> Target:
    """Return the target of the extension ``runoff_ort``."""
    return importing(with_onnxruntime(python_target("ort-pyo3")), FASTAPI)


def capi_rust() -> Target:
    """Return the target on the bare C API, without a crate: the lower bound for a native process."""
    return rust_target("capi-rust", "runoff-capi", loads_onnxruntime=True)
