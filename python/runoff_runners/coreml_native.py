"""Core ML through coremltools: the only code of runoff that needs a Mac to verify.

``docs/coreml-checklist.md`` lists the assumptions of this file and the commands that verify them.
"""

from __future__ import annotations

import os
import platform
from contextlib import contextmanager

import coremltools.libcoremlpython  # noqa: F401 (coremltools only warns if it cannot be loaded; this raises the reason)
from coremltools import ComputeUnit, __version__
from coremltools.models import CompiledMLModel, MLModel
from coremltools.models.compute_plan import MLComputePlan
from coremltools.models.utils import compile_model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from runoff_runners.interfaces import Feed

TOOLS = f"coremltools {__version__}"
_DEVICES = {
    "MLCPUComputeDevice": "cpu",
    "MLGPUComputeDevice": "gpu",
    "MLNeuralEngineComputeDevice": "neural-engine",
}


def system() -> tuple[int, ...]:
    """Return the version of macOS, such as (15, 1)."""
    return tuple(int(part) for part in platform.mac_ver()[0].split("."))


def devices() -> set[str]:
    """Return the devices available to Core ML: ``cpu``, ``gpu``, ``neural-engine`` (macOS 14 or later)."""
    return {_device(device) for device in MLModel.get_available_compute_devices()}


def compile_package(package: str, compiled: str) -> None:
    """Compile the package at `package` into the folder `compiled`, which must not exist.

    Raises
    ------
    Exception
        Core ML cannot compile the package; the message may be a printed ``NSError``.
    """
    with _stdout_as_stderr():
        compile_model(package, compiled)


def planned(compiled: str, units: str) -> dict[str, int]:
    """Return the number of operations that Core ML plans for each device (macOS 14.4 or later).

    Constants have no device and are not counted.
    """
    plan = MLComputePlan.load_from_path(compiled, ComputeUnit[units])
    functions = plan.model_structure.program.functions.values()
    usages = [
        plan.get_compute_device_usage_for_mlprogram_operation(operation)
        for function in functions
        for operation in function.block.operations
    ]
    names = [_device(usage.preferred_compute_device) for usage in usages if usage is not None]
    return {name: names.count(name) for name in sorted(set(names))}


class Model:
    """A loaded, compiled model.

    Parameters
    ----------
    compiled
        A folder created by `compile_package`.
    units
        ``ALL``, ``CPU_ONLY``, ``CPU_AND_GPU`` or ``CPU_AND_NE``.

    Raises
    ------
    Exception
        Core ML cannot load the model; the message may be a printed ``NSError``.
    """

    def __init__(self, compiled: str, units: str) -> None:
        with _stdout_as_stderr():
            self._model = CompiledMLModel(compiled, ComputeUnit[units])

    @property
    def units(self) -> str:
        """The compute units of the loaded model."""
        return str(self._model.compute_unit.name)

    def predict(self, feed: Feed) -> Feed:
        """Run the model once; inputs are not copied, outputs are copies."""
        outputs: Feed = self._model.predict(feed)
        return outputs


def _device(device: object) -> str:
    """Return the name of a compute device."""
    return _DEVICES.get(type(device).__name__, "other")


@contextmanager
def _stdout_as_stderr() -> Iterator[None]:
    """Redirect the output of Core ML's compiler to stderr: a runner's stdout is reserved for the protocol."""
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
