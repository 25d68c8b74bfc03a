"""ONNX Runtime in Rust, a standalone program on the ``ort`` crate."""

from __future__ import annotations

from runoff.targets.base import Target, onnxruntime_library, rust_target


def ort_rust() -> Target:
    """Return the target."""
    return rust_target("ort-rust", "runoff-ort", onnxruntime_library())
