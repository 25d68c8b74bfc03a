"""Shared by PyTorch's ways to compile a network: ``torch.compile``, TorchScript, AOTInductor. On the CPU only."""

from __future__ import annotations

import os
from shutil import which

import torch

from runoff_runners import target_torch as eager
from runoff_runners.model import check_cpu
from runoff_runners.protocol import RunnerError
from runoff_runners.target_torch import Session, load_weights
from runoff_runners.torch_factory import described, find_builder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runoff_runners.interfaces import Fields, Request, Spec


class CompiledSession(Session):
    """A network that was compiled for the CPU."""

    def __init__(self, request: Request, builder: Callable[[], torch.nn.Module] | None = None) -> None:
        check_cpu(request, "this runner compiles for the CPU")
        super().__init__(request, builder)


def capabilities() -> Fields:
    """Return the capabilities of this build of PyTorch on the CPU."""
    return {**eager.capabilities(), "providers": ["cpu"], "lacking": {}}


def check_compiler(what: str) -> None:
    """Check that there is the C++ compiler that Inductor calls.

    Raises
    ------
    RunnerError
        ``runtime-missing``.
    """
    compiler = os.environ.get("CXX", "g++")
    if which(compiler) is None:
        message = f"{what} needs a C++ compiler, and {compiler} is not on the PATH"
        raise RunnerError("runtime-missing", message, "install one (apt install g++), or set CXX")


def network_of(model: str, spec: Spec) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """Return the network with the weights in the file `model`, and inputs of the shapes in `spec`.

    Raises
    ------
    RunnerError
        ``bad-request``, ``model-unreadable``.
    """
    request: Any = {
        "model": {"path": model, "builder": spec["builder"], "builder_folder": spec["builder_folder"]},
        "settings": {"prepared": None},
    }
    network = load_weights(model, request, find_builder(request))
    examples = [torch.zeros(one["shape"], dtype=getattr(torch, one["dtype"])) for one in spec["inputs"]]
    return network, tuple(examples)


def prepared_key(spec: Spec) -> Fields:
    """Return what a compiled network depends on, except its weights."""
    return {**network_key(spec), "cpu": torch.backends.cpu.get_cpu_capability()}


def network_key(spec: Spec) -> Fields:
    """Return what an exported network depends on, except its weights."""
    return {
        "runtime": torch.__version__,
        "builder": spec["builder"],
        "code": _code(spec),
        "inputs": [[one["dtype"], *one["shape"]] for one in spec["inputs"]],
        "batch": spec["batch"],
        "provider": "cpu",
        "precision": "fp32",
    }


def cannot_compile(model: str, error: Exception) -> RunnerError:
    """Return the failure for a network that PyTorch cannot compile."""
    return RunnerError("model-unsupported", f"{model} cannot be compiled: {described(error)}", "use the target torch")


def _code(spec: Spec) -> str | None:
    """Return the SHA-256 of the user's module that builds the network; what it imports is not known."""
    folder, name = spec["builder_folder"], (spec["builder"] or "").partition(":")[0]
    if folder is None:
        return None
    import hashlib
    from pathlib import Path

    place = Path(folder, *name.split("."))
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    whole = hashlib.sha256()
    for file in files:
        whole.update(file.read_bytes() if file.is_file() else b"")
    return whole.hexdigest()
