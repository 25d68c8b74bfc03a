"""The runner of the target `coreml` on any system: the real coremltools over a fake of its one native class.

The fake computes with ONNX Runtime, on the ``model.onnx`` next to the package, so its times are never results. The
variables FAKE_MACOS and FAKE_DEVICES describe the Mac that it imitates.
"""
# The clock is read before anything is imported:
# ruff: noqa: E402

from time import monotonic_ns

BEGAN_NS = monotonic_ns()

import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from runoff_runners.program import main

if TYPE_CHECKING:
    from runoff_runners.interfaces import Target

VERSION = os.environ.get("FAKE_MACOS", "15.1")
DEVICES = os.environ.get("FAKE_DEVICES", "cpu gpu neural-engine").split()
SOURCE = "source.json"
NS_ERROR = '{{\n    NSLocalizedDescription = "{}";\n    NSUnderlyingError = "Error Domain=com.apple.CoreML";\n}}'


class _MLModelProxy:
    """The part of Core ML that the runner uses."""

    def __init__(self, path: str, units: str, *_: object) -> None:
        import onnxruntime

        os.write(1, b"loading for " + units.encode() + b"\n")
        try:
            self._source = json.loads(Path(path, SOURCE).read_bytes())
        except OSError:
            raise RuntimeError(NS_ERROR.format(f"{path} is not a valid .mlmodelc file.")) from None
        self._session = onnxruntime.InferenceSession(self._source["onnx"])

    def predict(self, data: dict[str, Any], _state: object) -> dict[str, Any]:
        """Compute; arrays must fit coremltools' C++, and outputs have custom strides."""
        import numpy as np

        for name, array in data.items():
            if array.dtype != np.float32 or not array.flags.writeable:
                raise ValueError(f"array {name} is not writeable float32")
            if len(array) > 1 and not self._source["flexible"]:
                raise RuntimeError(NS_ERROR.format("MultiArray shape does not match the shape in the description."))
        names = [output.name for output in self._session.get_outputs()]
        wanted = {spec.name for spec in self._session.get_inputs()}
        if wanted != data.keys():
            raise RuntimeError(NS_ERROR.format(f"Feature {wanted} is\n required but not specified."))
        answers = self._session.run(names, data)
        return {name: _strided(answer, half=self._source["half"]) for name, answer in zip(names, answers, strict=True)}

    @staticmethod
    def compileModel(path: str) -> str:  # noqa: N802 (coremltools' own name)
        """Compile a package into a separate folder, printing to stdout as Core ML does."""
        package = Path(path)
        os.write(1, b"compiling\n")
        if not (package / "Manifest.json").is_file():
            raise RuntimeError(NS_ERROR.format(f"Failed to open the package\n at {path}."))
        made = Path(tempfile.mkdtemp(), f"{package.stem}.mlmodelc")
        made.mkdir()
        words = package.stem.split("-")
        source = {"onnx": str(package.parent / "model.onnx"), "flexible": "flexible" in words, "half": "fp16" in words}
        (made / SOURCE).write_text(json.dumps(source))
        return str(made)

    @staticmethod
    def get_available_compute_devices() -> list[object]:
        """Return the devices of this Mac."""
        return [_device(name) for name in DEVICES]

    @staticmethod
    def get_compute_plan(_path: str, units: str) -> object:
        """Return a plan: a constant, and two operations for the best device that `units` allow."""
        from coremltools.models.compute_plan import MLComputePlan

        return MLComputePlan(_MLComputePlanProxy(units))


class _MLModelAssetProxy:
    pass


class _MLCPUComputeDeviceProxy:
    pass


class _MLGPUComputeDeviceProxy:
    pass


class _MLNeuralEngineComputeDeviceProxy:
    pass


class _MLComputePlanProxy:
    def __init__(self, units: str) -> None:
        if tuple(map(int, VERSION.split("."))) < (14, 4):
            raise RuntimeError("MLComputePlan is only available on macOS >= 14.4")
        self._best = {"ALL": DEVICES[-1], "CPU_ONLY": "cpu", "CPU_AND_GPU": "gpu", "CPU_AND_NE": "neural-engine"}[units]

    @property
    def model_structure(self) -> object:
        from coremltools.models import compute_plan as plan

        operations = [
            plan.MLModelStructureProgramOperation(inputs={}, operator_name=name, outputs=[], blocks=[], __proxy__=None)
            for name in ("const", "conv", "linear")
        ]
        block = plan.MLModelStructureProgramBlock(inputs=[], operations=operations, output_names=[])
        function = plan.MLModelStructureProgramFunction(inputs=[], block=block)
        program = plan.MLModelStructureProgram(functions={"main": function})
        return plan.MLModelStructure(neuralnetwork=None, program=program, pipeline=None)

    def get_compute_device_usage_for_mlprogram_operation(self, operation: Any) -> object:
        from coremltools.models.compute_plan import MLComputePlanDeviceUsage

        if operation.operator_name == "const":
            return None
        device = _device(self._best)
        return MLComputePlanDeviceUsage(preferred_compute_device=device, supported_compute_devices=[device])


def _device(name: str) -> object:
    from coremltools.models import compute_device as devices

    made: object = {
        "cpu": lambda: devices.MLCPUComputeDevice(_MLCPUComputeDeviceProxy()),
        "gpu": lambda: devices.MLGPUComputeDevice(_MLGPUComputeDeviceProxy()),
        "neural-engine": lambda: devices.MLNeuralEngineComputeDevice(_MLNeuralEngineComputeDeviceProxy()),
    }[name]()
    return made


def _strided(answer: Any, *, half: bool) -> Any:
    """Return the output with padded rows; rounded to half precision if the package computes in it."""
    import numpy as np

    wide = np.zeros((answer.shape[0], answer.shape[1] + 8), np.float32)
    wide[:, : answer.shape[1]] = answer.astype(np.float16) if half else answer
    return wide[:, : answer.shape[1]]


def load_target() -> "Target":
    """Install the fake as coremltools' native module, and import the runtime."""
    native = ModuleType("coremltools.libcoremlpython")
    proxies = (_MLModelProxy, _MLModelAssetProxy, _MLCPUComputeDeviceProxy, _MLGPUComputeDeviceProxy)
    for proxy in (*proxies, _MLNeuralEngineComputeDeviceProxy, _MLComputePlanProxy):
        setattr(native, proxy.__name__, proxy)
    sys.modules[native.__name__] = native
    # not in the environment of the target either; coremltools would import them
    sys.modules |= dict.fromkeys(("torch", "sklearn"))  # type: ignore[arg-type]
    numbers = tuple(map(int, VERSION.split(".")))
    patch.object(platform, "mac_ver", lambda: (VERSION, ("", "", ""), "arm64")).start()
    for module in ("coremltools.models.utils", "coremltools.models._compiled_model"):
        patch(f"{module}._macos_version", lambda: numbers).start()
    from runoff_runners import target_coreml

    return target_coreml


if __name__ == "__main__":
    if sys.argv[1:2] == ["prepare"]:
        from runoff_runners.prepare import prepare

        sys.exit(prepare("coreml", sys.argv[2:], load_target))
    sys.exit(main("coreml", load_target, BEGAN_NS))
