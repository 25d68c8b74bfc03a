"""ONNX Runtime as used from Python."""

from __future__ import annotations

from functools import partial

import onnxruntime as ort

from runoff_runners.measure import carry_out, opener
from runoff_runners.model import (
    BFLOAT16,
    DTYPES,
    NUMBERS,
    check_inputs,
    check_whole_batches,
    model_path,
    output_names,
    rows_are_batch,
    unreadable,
)
from runoff_runners.process import mapped_library, thread_count
from runoff_runners.protocol import ONNX_PRECISIONS, PREPARED, RunnerError, one_line, ort_reason
from runoff_runners.request import OPTIONAL_SETTINGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from runoff_runners.interfaces import Feed, Fields, Marks, Request, TensorSpec

FORMATS: tuple[str, ...] = ("onnx", "ort")
MEASURES: tuple[str, ...] = ("once", "latency", "accuracy", "turns", "operators", "mappings", "load")
WORKLOADS = ("classify", "tensor", "segment")
PRECISIONS = ONNX_PRECISIONS
SETTINGS: tuple[str, ...] = ("threads", *OPTIONAL_SETTINGS)
# Sends the model to a server instead of running it locally.
_REMOTE = "AzureExecutionProvider"
_COREML = "CoreMLExecutionProvider"
_COREML_UNITS = {
    "coreml": "ALL",
    "coreml-cpu": "CPUOnly",
    "coreml-gpu": "CPUAndGPU",
    "coreml-ne": "CPUAndNeuralEngine",
}
_CUDA = ("cuda", "tensorrt")
_BATCH = "batch"
"""Name of the free dimension in the models that runoff exports."""
_REFUSED = "fallback to CPU EP has been explicitly disabled"
"""ONNX Runtime's message if a provider does not support the entire model."""
_LEVELS = {
    "disable": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_MODES = {"sequential": ort.ExecutionMode.ORT_SEQUENTIAL, "parallel": ort.ExecutionMode.ORT_PARALLEL}
_IN_PLACE = {
    "session.load_model_format": "ORT",
    "session.use_memory_mapped_ort_model": "1",
    "session.use_ort_model_bytes_for_initializers": "1",
}
"""Session configuration entries that map a prepared model and use its weights in place."""
_DTYPES = {"float": "float32", "double": "float64", "string": "str"}


def capabilities() -> Fields:
    """Return the capabilities of this build of ONNX Runtime on this machine."""
    from runoff_runners.ort_cuda import unavailable

    missing = unavailable()
    return {
        "runtime": "onnxruntime",
        "version": ort.__version__,
        "build": ort.get_build_info(),
        # The wheel links the engine into its Python module; the library next to it is for other languages.
        "library": mapped_library("libonnxruntime.", "onnxruntime_pybind11_state"),
        "providers": [name for name in _providers() if name not in missing],
        "lacking": missing,
    }


def perform(request: Request, phases: Marks) -> Fields:
    """Carry out the request; return the target's fields of the result."""
    return carry_out(request, phases, opener(request, _load))


def _load(request: Request) -> Session:
    return _DeviceSession(request) if request["settings"]["provider"] in _CUDA else Session(request)


class Session:
    """A model in ONNX Runtime."""

    DTYPES: AbstractSet[str] = DTYPES
    """Dtypes of inputs and outputs."""

    def __init__(self, request: Request) -> None:
        settings = request["settings"]
        self._requested = settings["provider"]
        providers = _find_providers(self._requested)
        options = _options(request)
        path = model_path(request)
        threads = thread_count()
        try:
            # enable_fallback=0: otherwise the Python layer falls back to the CPU after a failure
            self._session = ort.InferenceSession(path, options, providers, enable_fallback=0)
        except Exception as error:  # ONNX Runtime's exceptions have no other common base
            raise _failure(request, error) from error
        threads_now = thread_count()
        self._threads = None if threads is None or threads_now is None else threads_now - threads + 1
        if self._session.get_providers()[0] != providers[0][0]:
            raise _provider_unavailable(self._requested)
        inputs, outputs = (
            [_spec(node) for node in nodes()] for nodes in (self._session.get_inputs, self._session.get_outputs)
        )
        check_inputs(inputs, request, self.DTYPES)
        self._outputs = output_names(request, outputs, self.DTYPES)
        # without an optional input that is left out
        self.inputs = [spec for spec in inputs if spec["dtype"] in DTYPES]
        """Inputs of the file."""
        self._fetched = [spec for spec in outputs if spec["name"] in self._outputs]
        self._run = self._session.run
        if BFLOAT16 in {spec["dtype"] for spec in (*self.inputs, *self._fetched)}:
            from runoff_runners import ort_bfloat16

            self._run = partial(ort_bfloat16.run, self._session)

    def run(self, feed: Feed) -> Feed:
        """Run the model once."""
        try:
            return dict(zip(self._outputs, self._run(self._outputs, feed), strict=True))
        except Exception as error:  # as above
            raise RunnerError("runtime-failed", one_line(error)) from error

    def end_profile(self) -> str:
        """Return the path of ONNX Runtime's profile; there is nothing to profile afterwards."""
        path: str = self._session.end_profiling()
        return path

    def effective(self) -> Fields:
        """Return the settings in effect, as read back."""
        first = self._session.get_providers()[0]
        return {
            "runtime": "onnxruntime",
            "version": ort.__version__,
            "language": "python",
            # compute units are not reported, but unknown ones would have made creating the session fail
            "provider": self._requested if first == _COREML else _short(first),
            "threads": self._threads,
            "build": ort.get_build_info(),
        }


class _DeviceSession(Session):
    """A model whose inputs and outputs stay in the memory of an NVIDIA GPU."""

    # strings have no fixed size, and buffers are made by NumPy's dtypes
    DTYPES = NUMBERS

    def __init__(self, request: Request) -> None:
        from runoff_runners.ort_cuda import DEVICE, DeviceModel, check_assignment

        super().__init__(request)
        fetched = sorted(self._fetched, key=lambda spec: self._outputs.index(spec["name"]))
        try:
            check_assignment(self._session, self._requested)
            self._model = DeviceModel(self._session, self.inputs, fetched, DEVICE)
        except RunnerError:
            raise
        except Exception as error:  # as above
            raise RunnerError("runtime-failed", one_line(error)) from error
        self.parts = self._model.parts

    def run(self, feed: Feed) -> Feed:
        """Run the model once, including copies to and from the device."""
        try:
            return self._model.run(feed)
        except Exception as error:  # as above
            raise RunnerError("runtime-failed", one_line(error)) from error

    def effective(self) -> Fields:
        """Return the settings in effect, without threads: the driver's cannot be distinguished from ONNX Runtime's."""
        from runoff_runners.cuda_driver import device

        return {**super().effective(), "threads": None, "device": device()}


def _options(request: Request) -> ort.SessionOptions:
    """Return session options; only requested settings differ from the defaults."""
    settings = request["settings"]
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings["threads"]
    if settings["inter_threads"] is not None:
        options.inter_op_num_threads = settings["inter_threads"]
    if settings["optimization"] is not None:
        options.graph_optimization_level = _LEVELS[settings["optimization"]]
    if settings["arena"] is not None:
        options.enable_cpu_mem_arena = settings["arena"]
    if settings["execution"] is not None:
        options.execution_mode = _MODES[settings["execution"]]
    if settings["provider"] in _COREML_UNITS or settings["provider"] in _CUDA:
        check_whole_batches(request)
        if rows_are_batch(request):
            options.add_free_dimension_override_by_name(_BATCH, settings["batch"])
    if request["measure"]["kind"] == "operators":
        options.enable_profiling = True
        options.profile_file_prefix = f"{request['outputs_dir']}/profile"
    for key, value in _entries(request).items():
        options.add_session_config_entry(key, value)
    return options


def _entries(request: Request) -> dict[str, str]:
    """Return the configuration entries of the session."""
    settings = request["settings"]
    entries = dict(_IN_PLACE) if request["model"]["format"] == PREPARED else {}
    if settings["spinning"] is not None:
        value = "1" if settings["spinning"] else "0"
        entries |= {"session.intra_op.allow_spinning": value, "session.inter_op.allow_spinning": value}
    for key in ("spin_duration_us", "spin_backoff_max"):
        if settings[key] is not None:
            value = str(settings[key])
            entries |= {f"session.intra_op.{key}": value, f"session.inter_op.{key}": value}
    if settings["prepacking"] is not None:
        entries["session.disable_prepacking"] = "0" if settings["prepacking"] else "1"
    if request["measure"]["kind"] == "turns" or request["workload"] == "segment":
        # a process that waits for its turn must not take CPU from the active one, nor a session from what makes masks
        entries["session.force_spinning_stop"] = "1"
    if settings["provider"] in _COREML_UNITS or settings["provider"] in _CUDA:
        entries["session.disable_cpu_ep_fallback"] = "1"
    if settings["provider"] == "tensorrt":
        entries["session.record_ep_graph_assignment_info"] = "1"
    return entries


def _providers() -> dict[str, tuple[str, dict[str, str]]]:
    """Return the providers of this build and their options, by short name."""
    here = [name for name in ort.get_available_providers() if name != _REMOTE]
    found: dict[str, tuple[str, dict[str, str]]] = {_short(name): (name, {}) for name in here}
    if _COREML in here:
        program = {"ModelFormat": "MLProgram"}
        found |= {name: (_COREML, {**program, "MLComputeUnits": units}) for name, units in _COREML_UNITS.items()}
    return found


def _short(provider: str) -> str:
    return provider.removesuffix("ExecutionProvider").lower()


def _find_providers(name: str) -> list[tuple[str, dict[str, str]]]:
    """Return ONNX Runtime's provider names and options; it would silently replace a missing provider by the CPU."""
    if name in _CUDA:
        from runoff_runners.ort_cuda import prepare

        return prepare(name)
    provider = _providers().get(name)
    if provider is None:
        raise _provider_unavailable(name)
    return [provider]


def _failure(request: Request, error: Exception) -> RunnerError:
    """Return the failure: a missing provider, a provider that supports only part of the model, or an invalid file."""
    name = request["settings"]["provider"]
    if name in _CUDA:
        from runoff_runners.ort_cuda import failure

        found = failure(name, error)
        if found:
            return found
    if _REFUSED in str(error):
        message = f"settings.provider: {name!r} does not take every operation of this model, and CPU fallback is off"
        return RunnerError("provider-unavailable", message, "use another provider, or the target coreml")
    return unreadable(request, ort_reason(error))


def _provider_unavailable(name: str) -> RunnerError:
    known = ", ".join(_providers())
    message = f"settings.provider: {name!r} is not in this build of ONNX Runtime (it has: {known})"
    return RunnerError("provider-unavailable", message, 'install a build that has it, or set provider = "cpu"')


def _spec(node: ort.NodeArg) -> TensorSpec:
    """Convert an input or output of the model to the protocol's form; named dimensions are dynamic.

    The dtype of what a tensor file cannot hold is ONNX's type.
    """
    element = node.type.removeprefix("tensor(").removesuffix(")")
    dtype = _DTYPES.get(element, element)
    shape = [size if isinstance(size, int) else None for size in node.shape]
    return {"name": node.name, "dtype": dtype if dtype in DTYPES else node.type, "shape": shape}
