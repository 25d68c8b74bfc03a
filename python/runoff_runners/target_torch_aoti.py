"""PyTorch with AOTInductor: an unpacked package of machine code that was compiled on this machine.

https://docs.pytorch.org/docs/stable/user_guide/torch_compiler/torch.compiler_aot_inductor.html
"""
# pathlib would add milliseconds to every process:
# ruff: noqa: PTH107

from __future__ import annotations

import os
from zipfile import ZipFile

import torch
from torch import _inductor as inductor

from runoff_runners import torch_compiled
from runoff_runners.measure import carry_out
from runoff_runners.model import unreadable
from runoff_runners.torch_compiled import CompiledSession, cannot_compile, check_compiler, network_of
from runoff_runners.torch_factory import described

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runoff_runners.interfaces import Fields, Marks, Request, Spec

PREPARES = "aoti"
FORMATS: tuple[str, ...] = (PREPARES,)
MEASURES: tuple[str, ...] = ("once", "latency", "accuracy", "turns", "mappings")
SETTINGS: tuple[str, ...] = ("threads", "inter_threads", "teardown", "prepared", "overlap")
_SUFFIX = ".pt2"
"""That PyTorch requires of a package."""
_OPTIONS = {
    # weights become constants, which are packed for the kernels
    "freezing": True,
    # the package serves any number of threads, not only that of the process which compiled it
    "cpp.dynamic_threads": True,
}

capabilities = torch_compiled.capabilities


def prepared_key(spec: Spec) -> Fields:
    """Return what a package depends on, except the weights."""
    return {**torch_compiled.prepared_key(spec), "options": _OPTIONS, "unpacked": True}


def perform(request: Request, phases: Marks) -> Fields:
    """Carry out the request; return the target's fields of the result."""
    import torch._inductor.package  # noqa: F401 (in the phase of the imports)

    return carry_out(request, phases, lambda: _Session(request))


def write_prepared(model: str, path: str, spec: Spec) -> None:
    """Compile the network with the weights in the file `model` into a package, unpacked to the folder `path`.

    Of an archive, every process would unpack all of it to a temporary folder, and leave it there if it skips its
    teardown.

    Raises
    ------
    RunnerError
        ``runtime-missing``: there is no C++ compiler; ``model-unsupported``.
    """
    check_compiler("AOTInductor")
    network, examples = network_of(model, spec)
    # fused attention is an operation that Inductor would call as it is
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            program = torch.export.export(network, examples)
            inductor.aoti_compile_and_package(program, package_path=path + _SUFFIX, inductor_configs=dict(_OPTIONS))
    except Exception as error:  # the network may be the user's code
        raise cannot_compile(model, error) from error
    with ZipFile(path + _SUFFIX) as package:
        package.extractall(path)
    os.remove(path + _SUFFIX)


class _Session(CompiledSession):
    """A loaded package."""

    folder = True

    def _load(self, path: str, request: Request, builder: Callable[[], torch.nn.Module] | None) -> torch.nn.Module:  # noqa: ARG002 (the package has its code)
        try:
            return inductor.aoti_load_package(path)
        except Exception as error:  # a damaged package raises all kinds of exceptions
            raise unreadable(request, described(error)) from error

    def _moved(self, network: torch.nn.Module) -> torch.nn.Module:
        """Return the package, which stays on the device that it was compiled for."""
        return network

    def _provider(self) -> str | None:
        """Return the device that the package was compiled for, as it says."""
        found: str | None = self._network.get_metadata().get("AOTI_DEVICE_KEY")
        return found
