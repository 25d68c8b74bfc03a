"""ONNX Runtime in Rust, a standalone program on the ``ort`` crate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff.targets.base import onnxruntime_library, rust_target

if TYPE_CHECKING:
    from runoff.plan.target import Target


def ort_rust() -> Target:
    """Return the target."""
    return rust_target("ort-rust", "runoff-ort", onnxruntime_library())
