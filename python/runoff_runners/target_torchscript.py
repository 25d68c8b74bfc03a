"""PyTorch with TorchScript: a program that was traced, frozen and saved on this machine.

https://docs.pytorch.org/docs/stable/generated/torch.jit.freeze.html
"""

from __future__ import annotations

import torch

from runoff_runners import torch_compiled
from runoff_runners.measure import carry_out
from runoff_runners.model import unreadable
from runoff_runners.torch_compiled import CompiledSession, cannot_compile, network_of
from runoff_runners.torch_factory import described

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runoff_runners.interfaces import Fields, Marks, Request, Spec

PREPARES = "torchscript"
FORMATS: tuple[str, ...] = (PREPARES,)
MEASURES: tuple[str, ...] = ("once", "latency", "accuracy", "turns", "mappings")
SETTINGS: tuple[str, ...] = ("threads", "inter_threads", "optimization", "teardown", "prepared", "overlap")
APPLIED = {"optimization": ("all",)}

capabilities = torch_compiled.capabilities
prepared_key = torch_compiled.prepared_key


def perform(request: Request, phases: Marks) -> Fields:
    """Carry out the request; return the target's fields of the result."""
    return carry_out(request, phases, lambda: _Session(request))


def write_prepared(model: str, path: str, spec: Spec) -> None:
    """Trace and freeze the network with the weights in the file `model`; save the program to `path`.

    Raises
    ------
    RunnerError
        ``model-unsupported``.
    """
    network, examples = network_of(model, spec)
    try:
        with torch.no_grad():
            torch.jit.save(torch.jit.freeze(torch.jit.trace(network, examples)), path)
    except Exception as error:  # the network may be the user's code
        raise cannot_compile(model, error) from error


class _Session(CompiledSession):
    """A saved program."""

    def _load(self, path: str, request: Request, builder: Callable[[], torch.nn.Module] | None) -> torch.nn.Module:  # noqa: ARG002 (the program has its code)
        try:
            program = torch.jit.load(path, map_location="cpu")
        except Exception as error:  # a damaged archive raises all kinds of exceptions
            raise unreadable(request, described(error)) from error
        return torch.jit.optimize_for_inference(program) if self._settings["optimization"] == "all" else program

    def _provider(self) -> str | None:
        """Return the device that the program was loaded to: its weights are constants."""
        return self._device
