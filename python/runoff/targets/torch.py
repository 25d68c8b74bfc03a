"""PyTorch: eager, as its users write it (``torch``), and an exported program without torchvision (``torch-export``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff.targets.base import python_target

if TYPE_CHECKING:
    from runoff.plan.target import Target


def torch() -> Target:
    """Return the target of eager PyTorch."""
    return python_target("torch", "torch_runner", model_format="pt")


def torch_export() -> Target:
    """Return the target that loads a ``torch.export`` program: the difference is the cost of importing torchvision."""
    return python_target("torch-export", "torch_runner", environment="torch", model_format="pt2")
