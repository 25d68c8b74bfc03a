"""PyTorch with ``torch.compile``: TorchInductor turns the network into C++ when it is first called.

https://docs.pytorch.org/docs/stable/generated/torch.compile.html
"""

from __future__ import annotations

import numpy as np
import torch
import torch._inductor.config as inductor

from runoff_runners import torch_compiled
from runoff_runners.measure import carry_out
from runoff_runners.model import BFLOAT16, input_shapes
from runoff_runners.tensors import BITS
from runoff_runners.torch_compiled import CompiledSession, check_compiler
from runoff_runners.torch_factory import find_builder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runoff_runners.interfaces import Array, Fields, Marks, Request

FORMATS: tuple[str, ...] = ("pt",)
MEASURES: tuple[str, ...] = ("once", "latency", "accuracy", "turns", "mappings")
SETTINGS: tuple[str, ...] = ("threads", "inter_threads", "optimization", "prepacking", "teardown", "overlap")
APPLIED = {"optimization": ("all",)}


def capabilities() -> Fields:
    """Return the capabilities of PyTorch's compiler on this machine."""
    check_compiler("torch.compile")
    return torch_compiled.capabilities()


def perform(request: Request, phases: Marks) -> Fields:
    """Carry out the request; return the target's fields of the result."""
    check_compiler("torch.compile")
    # in the phase of the imports
    builder = find_builder(request)

    def open_session() -> _Session:
        session = _Session(request, builder)
        session.compile(request)
        return session

    return carry_out(request, phases, open_session, "compile")


class _Session(CompiledSession):
    """A network that is compiled when it is called."""

    def _load(self, path: str, request: Request, builder: Callable[[], torch.nn.Module] | None) -> torch.nn.Module:
        network = super()._load(path, request, builder)
        # weights become constants, which are packed for the kernels
        inductor.freezing = self._settings["prepacking"] is True
        mode = "max-autotune" if self._settings["optimization"] == "all" else None
        return torch.compile(network, mode=mode)

    def compile(self, request: Request) -> None:
        """Compile the network by a call with zeros, in the shapes of the first batch."""
        pairs = zip(request["model"]["inputs"], max(input_shapes(request)), strict=True)
        self.run({spec["name"]: _zeros(shape, spec["dtype"]) for spec, shape in pairs})


def _zeros(shape: tuple[int, ...], dtype: str) -> Array:
    return np.zeros(shape, BITS if dtype == BFLOAT16 else dtype)
