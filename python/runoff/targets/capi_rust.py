"""ONNX Runtime's bare C API, called from Rust: the least that a native process costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff.targets.base import onnxruntime_library, rust_target

if TYPE_CHECKING:
    from runoff.plan.target import Target


def capi_rust() -> Target:
    """Return the target."""
    return rust_target("capi-rust", "runoff-capi", onnxruntime_library())
