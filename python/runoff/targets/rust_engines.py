"""Engines other than ONNX Runtime, in Rust: the programs of ``rust/engines``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from runoff import paths
from runoff.plan.target import Preparation
from runoff.targets.base import no_environment, rust_target
from runoff.targets.openvino import PREPARATION

if TYPE_CHECKING:
    from runoff.plan.target import Target

_BUILD = "nox -s engines"


def openvino_rust() -> Target:
    """Return the target of the crate ``openvino``, on the library of ``openvino-python``'s wheel."""
    target = rust_target("openvino-rust", "runoff-openvino", loads_onnxruntime=False, command=_BUILD)
    wheel = paths.environments() / "openvino"
    libraries = sorted(wheel.glob("lib/python3*/site-packages/openvino/libs/libopenvino_c.*"))
    return replace(
        target,
        prepares=PREPARATION,
        env={"RUNOFF_OPENVINO_DYLIB": str(libraries[-1])} if libraries else {},
        environments=("openvino",),
        missing=target.missing or (None if libraries else no_environment("openvino")),
    )


def tract_rust() -> Target:
    """Return the target of the crate ``tract-onnx``."""
    target = rust_target("tract-rust", "runoff-tract", loads_onnxruntime=False, command=_BUILD)
    return replace(target, prepares=Preparation("nnef", "tract-python"))


def rten() -> Target:
    """Return the target of the crate ``rten``."""
    target = rust_target("rten", "runoff-rten", loads_onnxruntime=False, command=_BUILD)
    return replace(target, prepares=Preparation("rten", "rten-convert", environment="rten-convert"))
