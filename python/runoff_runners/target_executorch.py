"""ExecuTorch as used from Python: a network lowered to XNNPACK when it was exported, on the CPU.

https://docs.pytorch.org/executorch/stable/backends/xnnpack/xnnpack-overview.html
"""
# pathlib would add milliseconds to every process:
# ruff: noqa: PTH118, PTH123

from __future__ import annotations

import json
import os
from importlib.metadata import version

import torch

# executorch.runtime is a thin layer over this module that also imports the whole exporter, for a class of warnings: 5 s
from executorch.extension.pybindings import _C as bindings  # noqa: N811

from runoff_runners.measure import carry_out
from runoff_runners.model import unreadable
from runoff_runners.torch_compiled import CompiledSession, cannot_compile, network_key, network_of
from runoff_runners.torch_factory import described

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runoff_runners.interfaces import Fields, Marks, Request, Spec

PREPARES = "pte"
FORMATS: tuple[str, ...] = (PREPARES,)
MEASURES: tuple[str, ...] = ("once", "latency", "accuracy", "turns", "mappings")
SETTINGS: tuple[str, ...] = ("threads", "teardown", "prepared", "overlap")
_PROGRAM, _DELEGATED = "program.pte", "delegated.json"
"""Files of a prepared folder: the program, and the operations of the graph by what computes them."""


def capabilities() -> Fields:
    """Return the capabilities of this build of ExecuTorch on this machine."""
    return {**_runtime(), "library": bindings.__file__, "providers": ["cpu"]}


def perform(request: Request, phases: Marks) -> Fields:
    """Carry out the request; return the target's fields of the result."""
    return carry_out(request, phases, lambda: _Session(request))


def prepared_key(spec: Spec) -> Fields:
    """Return what a program depends on, except the weights; it is the same on every CPU."""
    return {**network_key(spec), "converter": version("executorch")}


def write_prepared(model: str, path: str, spec: Spec) -> None:
    """Lower the network with the weights in the file `model` to XNNPACK; write it to the folder `path`.

    Raises
    ------
    RunnerError
        ``bad-request``, ``model-unreadable``, ``model-unsupported``.
    """
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.devtools.backend_debug import get_delegation_info
    from executorch.exir import to_edge_transform_and_lower

    network, examples = network_of(model, spec)
    # fused attention is an operation that XNNPACK does not have
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        program = torch.export.export(network, examples)
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        found = get_delegation_info(lowered.exported_program().graph_module)
        buffer = lowered.to_executorch().buffer
    except Exception as error:  # the network may be the user's code
        raise cannot_compile(model, error) from error
    os.mkdir(path)  # noqa: PTH102
    with open(os.path.join(path, _PROGRAM), "wb") as file:
        file.write(buffer)
    with open(os.path.join(path, _DELEGATED), "w", encoding="utf-8") as file:
        json.dump({"xnnpack": found.num_delegated_nodes, "portable": found.num_non_delegated_nodes}, file)


class _Session(CompiledSession):
    """A loaded program."""

    folder = True

    def _load(self, path: str, request: Request, builder: Callable[[], torch.nn.Module] | None) -> Any:  # noqa: ANN401, ARG002 (the program has its code)
        # the pool is made by the first program, with as many threads as there are cores
        bindings._unsafe_reset_threadpool(self._settings["threads"])  # noqa: SLF001
        try:
            with open(os.path.join(path, _DELEGATED), encoding="utf-8") as file:
                self._delegated = json.load(file)
            self._program = bindings._load_program(os.path.join(path, _PROGRAM))  # noqa: SLF001
            method = self._program.load_method("forward")
        except (RuntimeError, OSError, ValueError) as error:
            raise unreadable(request, described(error)) from error
        return lambda *tensors: method(tensors)

    def _moved(self, network: Any) -> Any:  # noqa: ANN401
        """Return the program, which was lowered for the CPU."""
        return network

    def effective(self) -> Fields:
        """Return the settings in effect, with the operations that XNNPACK computes and those of portable kernels."""
        threads = bindings._threadpool_get_thread_count()  # noqa: SLF001
        found = {"language": "python", "provider": "cpu", "threads": threads, "library": bindings.__file__}
        return {**_runtime(), **found, "planned": self._delegated}


def _runtime() -> Fields:
    """Return the name and version of ExecuTorch, with the PyTorch that its tensors are of."""
    return {"runtime": "executorch", "version": version("executorch"), "build": f"tensors of torch {torch.__version__}"}
