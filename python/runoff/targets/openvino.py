"""OpenVINO on the CPU, from its Python wheel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from runoff.plan.target import Preparation
from runoff.targets.base import OPENCV, importing, python_target

if TYPE_CHECKING:
    from runoff.plan.target import Target

PREPARATION = Preparation("openvino", "openvino-python")


def openvino_python() -> Target:
    """Return the target on the wheel's Python module."""
    target = python_target("openvino-python", "openvino", environment="openvino", prepares=PREPARATION)
    return importing(replace(target, converts=("bf16",)), OPENCV)
