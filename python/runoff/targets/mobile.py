"""LiteRT and ExecuTorch: made for phones, on a computer's CPU. They read networks that were converted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff.plan.target import Preparation
from runoff.targets.base import python_target

if TYPE_CHECKING:
    from runoff.plan.target import Target


def litert() -> Target:
    """Return the target of LiteRT, whose converter wants another PyTorch, in an environment that only converts."""
    prepares = Preparation("tflite", environment="litert-convert", always=True)
    return python_target("litert", model_format="pt", prepares=prepares)


def executorch() -> Target:
    """Return the target of ExecuTorch."""
    return python_target("executorch", model_format="pt", prepares=Preparation("pte", always=True))
