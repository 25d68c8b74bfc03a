"""PyTorch: eager, as its users write it (``torch``), and its other ways to run a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from runoff import paths
from runoff.plan.target import Preparation
from runoff.targets.base import FASTAPI, importing, python_target

if TYPE_CHECKING:
    from runoff.plan.target import Target


def torch() -> Target:
    """Return the target of eager PyTorch."""
    return importing(python_target("torch", model_format="pt"), FASTAPI)


def torch_export() -> Target:
    """Return the target that loads a ``torch.export`` program: the difference is the cost of importing torchvision."""
    return python_target("torch-export", "torch", environment="torch", model_format="pt2")


def torch_compile() -> Target:
    """Return the target of ``torch.compile``."""
    return _with_inductor(python_target("torch-compile", environment="torch", model_format="pt"))


def torchscript() -> Target:
    """Return the target that loads a traced and frozen TorchScript program."""
    return _saved("torchscript")


def torch_aoti() -> Target:
    """Return the target that loads a package that AOTInductor compiled."""
    return _with_inductor(_saved("torch-aoti"))


def _with_inductor(target: Target) -> Target:
    """Return a target that keeps what it compiles, as by default, but in runoff's own folder.

    C++ is compiled without the pool of processes that Inductor would start for kernels of Triton.
    """
    folder = str(paths.prepared() / "inductor")
    return replace(target, env={**target.env, "TORCHINDUCTOR_CACHE_DIR": folder, "TORCH_WARM_POOL": "0"})


def _saved(name: str) -> Target:
    """Return a target that reads nothing but what it wrote on this machine."""
    prepares = Preparation(name.removeprefix("torch-"), always=True)
    return python_target(name, environment="torch", model_format="pt", prepares=prepares)
