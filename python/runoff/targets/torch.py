"""PyTorch: eager, as its users write it (``torch``), and an exported program without torchvision (``torch-export``)."""

from __future__ import annotations

from runoff.targets.base import Target, python_target


def torch() -> Target:
    """Return the target of eager PyTorch."""
    return python_target("torch", "torch_runner", model_format="pt")


def torch_export() -> Target:
    """Return the target that loads a ``torch.export`` program: its difference is what importing torchvision costs."""
    return python_target("torch-export", "torch_runner", session="torch", model_format="pt2")
