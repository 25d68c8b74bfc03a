"""ONNX Runtime on an NVIDIA GPU: its libraries, its providers, and inferences in GPU memory."""

from __future__ import annotations

import ctypes
import io
import os
from contextlib import redirect_stdout, suppress
from time import monotonic_ns

import numpy as np
import onnxruntime as ort

from runoff_runners import cuda_driver
from runoff_runners.process import mapped_library
from runoff_runners.protocol import RunnerError, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runoff_runners.interfaces import Feed, TensorSpec

    Kinds = dict[str, tuple[list[int | None], str]]
    Providers = list[tuple[str, dict[str, str]]]

DEVICE = "cuda"
"""ONNX Runtime's name for the memory of an NVIDIA GPU."""
_FAILED = "Failed to load "
_WITHOUT = {
    "fallback to CPU EP has been explicitly disabled": ("cuda", "tensorrt"),
    "Please install TensorRT libraries": ("tensorrt",),
}
"""ONNX Runtime's messages if a provider is missing, and the providers. TensorRT is requested before CUDA."""
_FAILURE = " failure "
_GPU = " ; GPU="
_FULL = "Failed to allocate memory for requested buffer of size "
_NO_MEMORY = ("out of memory", _FULL)
_NO_ENGINE = "TensorRT EP "
"""Prefix of messages of TensorRT's provider: ``TensorRT EP failed to create engine from network ...``."""
_FATAL = 4
_NAMES = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
_WORDS = {"cuda": "CUDA", "tensorrt": "TensorRT"}
# Keep full float32: TF32 rounds the inputs of a product to 10 bits. TensorRT has no such option; runoff sets
# NVIDIA_TF32_OVERRIDE=0 for every runner instead.
_OPTIONS = {"use_tf32": "0"}
_CUDNN = "libcudnn.so.9"
_TENSORRT = ("libnvinfer.so.10", "libnvonnxparser.so.10")
_PLUGINS = "libnvinfer_plugin.so.10"
"""Optional: most models need no plugins."""
_TENSORRT_WHEEL = os.path.join("..", "tensorrt_libs")  # noqa: PTH118 (pathlib would cost milliseconds)


def unavailable() -> dict[str, str]:
    """Return the reasons why ``cuda`` and ``tensorrt`` are unavailable on this machine, by provider.

    Available providers are not included; their libraries are loaded.
    """
    found = {provider: unavailable_reason(provider) for provider in _NAMES}
    return {provider: reason for provider, reason in found.items() if reason}


def unavailable_reason(provider: str) -> str | None:
    """Return why `provider` is unavailable on this machine; None if it is available, with its libraries loaded."""
    if _NAMES[provider] not in ort.get_available_providers():
        return f"this build of ONNX Runtime has no {_WORDS[provider]} provider"
    missing = cuda_driver.unavailable_reason(ort.cuda_version)
    if missing:
        return missing
    names = _load_cuda() or (_load_tensorrt() if provider == "tensorrt" else [])
    return f"{', '.join(names)} not found" if names else None


def prepare(provider: str) -> Providers:
    """Load the libraries of `provider`; return the providers and options for a session.

    TensorRT is followed by CUDA, which runs the operations that TensorRT does not support. The CPU is never included.

    Raises
    ------
    RunnerError
        ``provider-unavailable``, with the reason.
    """
    reason = unavailable_reason(provider)
    if reason:
        raise _unavailable(provider, reason)
    # failures are raised; ONNX Runtime would also log them to stderr
    ort.set_default_logger_severity(_FATAL)
    own: Providers = [(_NAMES[provider], {})] if provider == "tensorrt" else []
    return [*own, (_NAMES["cuda"], _OPTIONS)]


def _load_cuda() -> list[str]:
    """Load the CUDA and cuDNN libraries of NVIDIA's wheels, or the system's; return the names of missing ones."""
    printed = io.StringIO()
    with redirect_stdout(printed):  # preload_dlls prints the names of missing libraries
        ort.preload_dlls()
    lines = [line for line in printed.getvalue().splitlines() if line.startswith(_FAILED)]
    names = [os.path.basename(line.removeprefix(_FAILED).partition(":")[0]) for line in lines]  # noqa: PTH119
    # preload_dlls does not report this one
    cudnn = [] if mapped_library(_CUDNN) else [_CUDNN]
    return list(dict.fromkeys(names + cudnn))


def _load_tensorrt() -> list[str]:
    """Load TensorRT's libraries, the system's or those of its wheel; return the names of missing ones."""
    wheel = os.path.join(os.path.dirname(ort.__file__), _TENSORRT_WHEEL)  # noqa: PTH118, PTH120
    wanted = (_TENSORRT[0], _PLUGINS, _TENSORRT[1])
    missing = [name for name in wanted if not (_loads(name) or _loads(os.path.join(wheel, name)))]  # noqa: PTH118
    return [name for name in missing if name != _PLUGINS]


def _loads(library: str) -> bool:
    with suppress(OSError):
        ctypes.CDLL(library)
        return True
    return False


def failure(provider: str, error: Exception) -> RunnerError | None:
    """Return the failure if `provider` caused the `error` while a session was created, else None."""
    text = str(error)
    library = _not_loaded(provider, text)
    if library:
        return _unavailable(provider, _why_not_loaded(library))
    detail = _short_reason(text)
    if detail is None:
        return None
    if any(words in detail for words in _NO_MEMORY):
        return RunnerError(
            "runtime-failed", f"settings.provider: {provider!r}: {detail}", "see what uses it: nvidia-smi"
        )
    hint = 'set provider = "cuda"' if detail.startswith(_NO_ENGINE) else cuda_driver.HINT
    return _unavailable(provider, detail, hint)


def _short_reason(text: str) -> str | None:
    """Return an error of the GPU or TensorRT, without ONNX Runtime's source locations; None for other errors."""
    for words in (_FULL, _NO_ENGINE):
        _, found, more = text.partition(words)
        if found:
            return one_line(f"{found}{more}")
    # such as "... CUDA failure 2: out of memory ; GPU=0 ; hostname=... ; file=..."
    before, _, after = text.partition(_FAILURE)
    words, failed, _ = after.partition(_GPU)
    return f"{before.split()[-1]}{_FAILURE}{one_line(words)}" if failed else None


def _not_loaded(provider: str, text: str) -> str | None:
    """Return the provider library that ONNX Runtime failed to load; None if `text` is another message.

    ONNX Runtime only logs a library that fails to load. The error comes later, from the missing provider.
    """
    names = [name for words, names in _WITHOUT.items() if words in text for name in names if name in ("cuda", provider)]
    libraries = [f"libonnxruntime_providers_{name}.so" for name in names]
    return next((library for library in libraries if not mapped_library(library)), None)


def _why_not_loaded(library: str) -> str:
    try:
        ctypes.CDLL(os.path.join(os.path.dirname(ort.__file__), "capi", library))  # noqa: PTH118, PTH120
    except OSError as error:
        return one_line(error)
    return f"ONNX Runtime did not load {library}"


def _unavailable(provider: str, reason: str, hint: str = cuda_driver.HINT) -> RunnerError:
    message = f"settings.provider: {provider!r} cannot be used: {reason}"
    return RunnerError("provider-unavailable", message, hint)


def check_assignment(session: ort.InferenceSession, provider: str) -> None:
    """If `provider` is TensorRT, check that it runs part of the model; CUDA runs the rest.

    Raises
    ------
    RunnerError
        ``provider-unavailable``: CUDA would run the entire model.
    """
    if provider != "tensorrt":
        return
    if all(part.ep_name != _NAMES[provider] for part in session.get_provider_graph_assignment_info()):
        message = f"settings.provider: {provider!r} takes no operation of this model, and CUDA must not replace it"
        raise RunnerError("provider-unavailable", message, 'set provider = "cuda"')


class DeviceModel:
    """A session whose inputs and outputs stay in the memory of a device. Copies are timed separately.

    Parameters
    ----------
    session
        The loaded model.
    inputs
        The model's inputs. If their shapes are known, the buffers are allocated here. Otherwise the first inference
        allocates them. They are allocated again whenever shapes change.
    outputs
        The requested outputs. ONNX Runtime allocates outputs of unknown shape in each inference.
    device
        ONNX Runtime's name for the device: ``cuda``; in tests ``cpu``.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        device: str,
    ) -> None:
        self.parts: dict[str, list[int]] = {"copy_in": [], "compute": [], "copy_out": []}
        self._session, self._outputs, self._device = session, outputs, device
        self._kinds: Kinds = {}
        if all(None not in (spec["shape"] or [None]) for spec in inputs):
            self._allocate(inputs)

    def run(self, feed: Feed) -> Feed:
        """Run the model once, with host arrays as inputs and outputs; the device is idle when this returns."""
        began = monotonic_ns()
        specs: list[TensorSpec] = [
            {"name": name, "dtype": array.dtype.name, "shape": [*array.shape]} for name, array in feed.items()
        ]
        if self._kinds != _kinds(specs):
            self._allocate(specs)
        for name, array in feed.items():
            self._inputs[name].update_inplace(array)
            # an input that a GPU operation reads on the host is copied to the host only when it is bound
            self._binding.bind_ortvalue_input(name, self._inputs[name])
        self._binding.synchronize_inputs()
        copied = monotonic_ns()
        for name in self._free:
            # otherwise this run would have to fill the output of the previous one
            self._binding.bind_output(name, self._device)
        self._session.run_with_iobinding(self._binding)
        self._binding.synchronize_outputs()
        computed = monotonic_ns()
        outputs = self._binding.copy_outputs_to_cpu()
        done = monotonic_ns()
        for name, took in zip(self.parts, (copied - began, computed - copied, done - computed), strict=True):
            self.parts[name].append(took)
        return {spec["name"]: output for spec, output in zip(self._outputs, outputs, strict=True)}

    def _allocate(self, inputs: Sequence[TensorSpec]) -> None:
        """Allocate buffers on the device for these inputs, and for the outputs of known shape."""
        # without dimensions, it may be a scalar, or of unknown rank
        self._free = [spec["name"] for spec in self._outputs if None in (spec["shape"] or [None])]
        self._binding = self._session.io_binding()
        self._inputs = {spec["name"]: self._buffer(spec) for spec in inputs}
        self._kinds = _kinds(inputs)
        for spec in self._outputs:
            if spec["name"] in self._free:
                self._binding.bind_output(spec["name"], self._device)
            else:
                self._binding.bind_ortvalue_output(spec["name"], self._buffer(spec))

    def _buffer(self, spec: TensorSpec) -> ort.OrtValue:
        return ort.OrtValue.ortvalue_from_shape_and_type(spec["shape"], np.dtype(spec["dtype"]).type, self._device)


def _kinds(specs: Sequence[TensorSpec]) -> Kinds:
    """Return shapes and dtypes by name: a buffer cannot be reused for another dtype."""
    return {spec["name"]: (spec["shape"], spec["dtype"]) for spec in specs}
