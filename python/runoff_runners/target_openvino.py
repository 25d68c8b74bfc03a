"""OpenVINO as used from Python, on the CPU: its default precision, threads and caches are pinned."""
# pathlib would add milliseconds to every process, and telemetry is to be off before the import:
# ruff: noqa: E402, PTH123

from __future__ import annotations

import sys
from functools import partial
from time import monotonic_ns

# Importing the package sends an event to Google Analytics unless this module is missing, or the user has opted out in
# a file: https://docs.openvino.ai/2026/about-openvino/additional-resources/telemetry.html
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import numpy as np
import openvino as ov

from runoff_runners.measure import carry_out, opener
from runoff_runners.model import NUMBERS, check_cpu, check_inputs, input_shapes, model_path, output_names, unreadable
from runoff_runners.process import mapped_library
from runoff_runners.protocol import RunnerError, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runoff_runners.interfaces import Array, Feed, Fields, Marks, Request, Shapes, Spec, TensorSpec
    from runoff_runners.openvino_profile import Profile

PREPARES = "openvino"
FORMATS: tuple[str, ...] = ("onnx", PREPARES)
MEASURES: tuple[str, ...] = ("once", "latency", "accuracy", "turns", "operators", "mappings")
WORKLOADS = ("classify", "tensor", "segment")
SETTINGS: tuple[str, ...] = ("threads", "teardown", "prepared", "overlap")
PRECISIONS = ("fp32", "bf16", "int8", "int8-static")
_DEVICE = "CPU"
_HINTS = {"fp32": "f32", "bf16": "bf16"}
"""OpenVINO's name of a precision. What is quantised computes in integers, whatever the hint."""
_PRECISIONS = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}
_NEEDS = {"bf16": "BF16"}
"""The capability of the device that a precision needs: without it, OpenVINO would silently use float32."""
_DTYPES = {"f16": "float16", "f32": "float32", "f64": "float64", "boolean": "bool", "bf16": "bfloat16", "string": "str"}
_INTEGERS = {"i": "int", "u": "uint"}
_MAPPED: list[Array] = []
"""Prepared files in use: OpenVINO does not keep them mapped by itself."""
_UNSUPPORTED = (
    "does not support the following ONNX operations",
    "No conversion rule found for operations",
    "Model wasn't fully converted",
)


def capabilities() -> Fields:
    """Return the capabilities of this build of OpenVINO on this machine."""
    known = _device_capabilities(ov.Core())
    precisions = [name for name in PRECISIONS if name not in _NEEDS or _NEEDS[name] in known]
    return {**_runtime(), "library": _library(), "providers": ["cpu"], "precisions": precisions}


def perform(request: Request, phases: Marks) -> Fields:
    """Carry out the request; return the target's fields of the result."""
    return carry_out(request, phases, opener(request, Session))


def prepared_key(spec: Spec) -> Fields:
    """Return what a compiled model depends on, except the model's file."""
    core = ov.Core()
    return {
        "runtime": ov.get_version(),
        "cpu": core.get_property(_DEVICE, "FULL_DEVICE_NAME"),
        "capabilities": sorted(_device_capabilities(core)),
        "shapes": [one["shape"] for one in spec["inputs"]],
        "batch": spec["batch"],
        "provider": "cpu",
        "precision": "fp32",
    }


def write_prepared(model: str, path: str, spec: Spec) -> None:
    """Compile the ONNX file `model` for the shapes of `spec`, and export it to `path`.

    Raises
    ------
    RunnerError
        ``model-unreadable``.
    """
    core = ov.Core()
    try:
        read = core.read_model(model)
        read.reshape({one["name"]: one["shape"] for one in spec["inputs"]})
        exported = core.compile_model(read, _DEVICE, _config(1, "f32")).export_model()
    except RuntimeError as error:
        raise RunnerError("model-unreadable", f"{model} cannot be compiled: {_reason(error)}") from error
    with open(path, "wb") as file:
        file.write(exported.getbuffer())


class Session:
    """A model in OpenVINO, compiled for each set of input shapes of the request."""

    def __init__(self, request: Request) -> None:
        settings = request["settings"]
        self._core = ov.Core()
        check_cpu(request, "this runner uses OpenVINO on the CPU")
        _check_precision(settings["precision"], self._core)
        self._config = _config(settings["threads"], _HINTS.get(settings["precision"], "f32"))
        # the outputs stay in OpenVINO's memory until the next inference: a segmentation keeps those of several
        self._shares_outputs = settings["profile"] == "latency" and request["workload"] != "segment"
        self._precision = settings["precision"]
        self._profile_path = f"{request['outputs_dir']}/profile.json"
        self._profile: Profile | None = None
        if request["measure"]["kind"] == "operators":
            from runoff_runners.openvino_profile import Profile

            self._profile = Profile()
            self._config["PERF_COUNT"] = True
        self._requests: dict[Shapes, Any] = {}
        self._compile_later: Callable[[Shapes], Any] | None = None
        self._path = model_path(request)
        try:
            self._load(request)
        except RuntimeError as error:
            raise _failure(request, error) from error

    def _load(self, request: Request) -> None:
        """Make an infer request for each set of shapes."""
        if request["model"]["format"] == PREPARES:
            # its weights are used in place
            _MAPPED.append(np.memmap(self._path, np.uint8, "c"))
            compiled = self._core.import_model(ov.Tensor(_MAPPED[-1], shared_memory=True), _DEVICE, self._config)
            self._read_ports(request, compiled)
            shapes = tuple(tuple(port.get_shape()) for port in (compiled.inputs[place] for place in self._inputs))
            self._requests[shapes] = compiled.create_infer_request()
            return
        model = self._core.read_model(self._path)
        self._read_ports(request, model)
        for shapes in _shapes_at_load(request):
            self._requests[shapes] = self._compile(model, shapes)
        if request["workload"] == "segment":
            # the number of prompts of a call is only known when it comes
            self._compile_later = partial(self._compile, model)

    def _compile(self, model: Any, shapes: Shapes) -> Any:  # noqa: ANN401 (a Model; an InferRequest)
        """Compile the model for `shapes`: as its users do, since it is then optimised further."""
        model.reshape(dict(zip(self._inputs, map(list, shapes), strict=True)))
        return self._core.compile_model(model, _DEVICE, self._config).create_infer_request()

    def _read_ports(self, request: Request, model: Any) -> None:  # noqa: ANN401 (a Model or a CompiledModel)
        """Check inputs and outputs against the request; keep their places."""
        inputs, outputs = ([_spec(port, request) for port in ports] for ports in (model.inputs, model.outputs))
        check_inputs(inputs, request, NUMBERS)
        names = output_names(request, outputs, NUMBERS)
        places = {spec["name"]: place for place, spec in enumerate(outputs)}
        self._outputs = {name: places[name] for name in names}
        found = {spec["name"]: place for place, spec in enumerate(inputs)}
        self._inputs = [found[spec["name"]] for spec in request["model"]["inputs"]]
        self.inputs = [inputs[place] for place in self._inputs]
        """Inputs of the file, in the request's order."""

    def run(self, feed: Feed) -> Feed:
        """Run the model once."""
        shapes = tuple(array.shape for array in feed.values())
        try:
            if self._compile_later and shapes not in self._requests:
                self._requests[shapes] = self._compile_later(shapes)
            request, begun_ns = self._requests[shapes], monotonic_ns() if self._profile else 0
            found = request.infer(
                dict(zip(self._inputs, feed.values(), strict=True)),
                share_inputs=True,
                share_outputs=self._shares_outputs,
            )
            if self._profile:
                self._profile.add(request, begun_ns)
        except KeyError:
            raise RunnerError("model-mismatch", f"the compiled model is for other shapes than {shapes}") from None
        except RuntimeError as error:
            raise RunnerError("runtime-failed", one_line(error)) from error
        return {name: found[place] for name, place in self._outputs.items()}

    def end_profile(self) -> str:
        """Return the path of the profile of all inferences."""
        profile: Profile = self._profile  # type: ignore[assignment]  # only requested with the measure
        return profile.write(self._profile_path)

    def effective(self) -> Fields:
        """Return the settings in effect, as read back."""
        compiled = next(iter(self._requests.values())).get_compiled_model()
        hint = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        precision = _PRECISIONS.get(hint, hint) if self._precision in _HINTS else None
        devices = compiled.get_property("EXECUTION_DEVICES")
        return {
            **_runtime(),
            "language": "python",
            "provider": ",".join(devices).lower(),
            # two more threads wait: the caller, and one that would call back
            "threads": compiled.get_property("INFERENCE_NUM_THREADS"),
            "library": _library(),
            "precision": precision,
        }


def _shapes_at_load(request: Request) -> set[Shapes]:
    """Return the shapes of the inputs that are known before the first inference."""
    if request["workload"] != "segment":
        return input_shapes(request)
    shapes = tuple(tuple(spec["shape"]) for spec in request["model"]["inputs"])
    return set() if any(None in shape for shape in shapes) else {shapes}  # type: ignore[arg-type]  # no None


def _config(threads: int, hint: str) -> dict[str, Any]:
    """Return the properties of a model.

    https://docs.openvino.ai/2026/openvino-workflow/running-inference/inference-devices-and-modes/cpu-device.html
    """
    return {
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        # as in all other runtimes; its constants lose their denormal numbers all the same
        "CPU_DENORMALS_OPTIMIZATION": False,
    }


def _check_precision(precision: str, core: ov.Core) -> None:
    """Check that this device computes in the precision.

    Raises
    ------
    RunnerError
        ``provider-unavailable``.
    """
    needed = _NEEDS.get(precision)
    if needed and needed not in _device_capabilities(core):
        message = f"settings.precision: OpenVINO does not compute in {precision!r} on this CPU"
        raise RunnerError("provider-unavailable", message, 'set precision = "fp32"')


def _device_capabilities(core: ov.Core) -> list[str]:
    found: list[str] = core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
    return found


def _spec(port: Any, request: Request) -> TensorSpec:  # noqa: ANN401 (an Output)
    """Convert an input or output to the protocol's form; of several names it has the one that the request uses."""
    names = port.get_names()
    wanted = {spec["name"] for kind in ("inputs", "outputs") for spec in request["model"][kind]}
    name = next(iter(sorted(names & wanted)), None) or port.get_any_name()
    element = port.get_element_type().get_type_name()
    integer = _INTEGERS.get(element[:1]) if element[1:].isdigit() else None
    shape = port.get_partial_shape()
    known = [] if shape.rank.is_dynamic else [size.get_length() if size.is_static else None for size in shape]
    dtype = _DTYPES.get(element) or (f"{integer}{element[1:]}" if integer else element)
    return {"name": name, "dtype": dtype, "shape": known}


def _failure(request: Request, error: RuntimeError) -> RunnerError:
    """Return the failure: an operator that OpenVINO does not have, or an invalid file."""
    reason = _reason(error)
    if any(words in reason for words in _UNSUPPORTED):
        return RunnerError("model-unsupported", f"OpenVINO {reason}", "use the target ort-python")
    return unreadable(request, reason)


def _reason(error: RuntimeError) -> str:
    """Return OpenVINO's reason in one line, without the places in its source."""
    lines = [line.strip() for line in str(error).splitlines()]
    reasons = [line for line in lines if line and not line.startswith(("Exception from ", "Check '", "[ "))]
    return " ".join(reasons or lines)[:500]


def _library() -> str | None:
    return mapped_library("libopenvino.so")


def _runtime() -> Fields:
    """Return the name, version and build of OpenVINO."""
    build = ov.get_version()
    return {"runtime": "openvino", "version": build.partition("-")[0], "build": build}
