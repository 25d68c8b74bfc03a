"""The Rust core, `runoff_ort`, called from Python: no Pillow and no ONNX Runtime module."""

from __future__ import annotations

from time import monotonic_ns

import runoff_ort

from runoff_runners.measure import begin_prefetch, measure
from runoff_runners.model import (
    BFLOAT16,
    DTYPES,
    NUMBERS,
    check_inputs,
    check_whole_batches,
    model_path,
    output_names,
    unsupported,
)
from runoff_runners.protocol import ONNX_PRECISIONS, RunnerError, one_line
from runoff_runners.request import OPTIONAL_SETTINGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from typing import Any

    from runoff_runners.interfaces import Array, Feed, Fields, Images, Marks, Request, Session, TensorSpec
    from runoff_runners.segment_pyo3 import ExtensionSegmenter

FORMATS: tuple[str, ...] = ("onnx", "ort")
MEASURES: tuple[str, ...] = ("once", "latency", "accuracy", "turns", "mappings", "load")
WORKLOADS = ("classify", "tensor", "segment")
PRECISIONS = ONNX_PRECISIONS
SETTINGS: tuple[str, ...] = ("threads", *OPTIONAL_SETTINGS)

# settings that the program applies, not the session
_OWN = ("teardown", "prepared", "overlap")
_CUDA = ("cuda", "tensorrt")
_OPTIONS = (*(name for name in SETTINGS if name not in _OWN), "provider", "precision", "batch")


def capabilities() -> Fields:
    """Return the capabilities of the Rust core's ONNX Runtime on this machine."""
    try:
        runoff_ort.load_runtime()
    except runoff_ort.RunoffOrtError as error:
        raise _failure(error) from error
    found = {
        "image_decoder": runoff_ort.JPEG_DECODER,
        "providers": runoff_ort.providers(),
        "lacking": runoff_ort.unavailable_providers(),
    }
    return {**_runtime(), "library": runoff_ort.library_path(), **found}


def perform(request: Request, phases: Marks) -> Fields:
    """Carry out the request; return the target's fields of the result."""
    if request["workload"] == "segment":
        import runoff_runners.segment_pyo3  # noqa: F401 (in the phase of the imports)
    phases.end("imports")
    images = _images(request)
    prefetch = begin_prefetch(request, images)
    try:
        runoff_ort.load_runtime()
        phases.end("runtime")
        runoff_ort.create_environment()
        phases.end("environment")
        session: Session
        if request["workload"] == "segment":
            session = segmenter = _segmenter(request)
            images = segmenter.read
        else:
            session = _DeviceSession(request) if request["settings"]["provider"] in _CUDA else _Session(request)
        phases.end("load")
        fields = measure(request, session, images, phases, prefetch)
    except runoff_ort.RunoffOrtError as error:
        raise _failure(error) from error
    if images is not None:
        fields["effective"]["image_decoder"] = runoff_ort.JPEG_DECODER
    return fields


def _segmenter(request: Request) -> ExtensionSegmenter:
    from runoff_runners.segment_pyo3 import ExtensionSegmenter

    provider = request["settings"]["provider"]
    return ExtensionSegmenter(request, _session_options(request), lambda threads: _effective(provider, threads))


def _session_options(request: Request) -> dict[str, Any]:
    """Return the keyword arguments of a session."""
    options: dict[str, Any] = {name: request["settings"][name] for name in _OPTIONS}  # type: ignore[literal-required]
    # a process that waits for its turn must not take CPU from the active one, nor a session from what makes masks
    stop = request["measure"]["kind"] == "turns" or request["workload"] == "segment"
    return {**options, "force_spinning_stop": stop}


def _effective(provider: str, threads: int | None) -> Fields:
    """Return the settings in effect, as read back."""
    found = {"language": "python", "provider": provider, "threads": threads}
    return {**_runtime(), **found, "library": runoff_ort.library_path()}


class _Session:
    """A model in the Rust core."""

    DTYPES: AbstractSet[str] = DTYPES
    """Dtypes of inputs and outputs."""

    def __init__(self, request: Request) -> None:
        self._session = runoff_ort.Session(model_path(request), **_session_options(request))
        # without this provider, creating the session fails
        self._provider = request["settings"]["provider"]
        check_inputs([_spec(info) for info in self._session.inputs], request, self.DTYPES)
        outputs = [_spec(info) for info in self._session.outputs]
        self._outputs = output_names(request, outputs, self.DTYPES)
        # all of them are fetched fastest
        self._fetched = self._outputs if len(self._outputs) < len(outputs) else None

    def run(self, feed: Feed) -> Feed:
        """Run the model once."""
        try:
            outputs = self._session.run(feed, self._fetched)
        except runoff_ort.RunoffOrtError as error:
            raise _failure(error) from error
        return {name: outputs[name] for name in self._outputs}

    def effective(self) -> Fields:
        """Return the settings in effect, as read back."""
        return _effective(self._provider, self._session.threads)


class _DeviceSession(_Session):
    """A model in the Rust core whose inputs and outputs stay in the memory of an NVIDIA GPU."""

    # strings have no fixed size
    DTYPES = NUMBERS | {BFLOAT16}

    def __init__(self, request: Request) -> None:
        check_whole_batches(request)
        super().__init__(request)
        for info in self._session.outputs:
            if info.dtype not in self.DTYPES:
                raise unsupported("output", info.name, info.dtype, "on a device every output is fetched")
        self._binding = self._session.on_device()
        self.parts: dict[str, list[int]] = {"copy_in": [], "compute": [], "copy_out": []}

    def run(self, feed: Feed) -> Feed:
        """Run the model once, including copies to and from the device."""
        began = monotonic_ns()
        self._binding.copy_in(feed)
        copied = monotonic_ns()
        self._binding.compute()
        computed = monotonic_ns()
        outputs = self._binding.copy_out()
        done = monotonic_ns()
        for name, took in zip(self.parts, (copied - began, computed - copied, done - computed), strict=True):
            self.parts[name].append(took)
        return {name: outputs[name] for name in self._outputs}

    def effective(self) -> Fields:
        """Return the settings in effect, without threads: the driver's cannot be distinguished from ONNX Runtime's."""
        return {**super().effective(), "threads": None, "device": self._session.device}


def _images(request: Request) -> Images | None:
    """Return the function that preprocesses images in Rust (`classify` only)."""
    if request["workload"] != "classify":
        return None
    spec = request["preprocess"]

    def load(sources: list[str | bytes]) -> Array:
        try:
            batch: Array = runoff_ort.preprocess(sources, **spec)
        except runoff_ort.RunoffOrtError as error:
            raise _failure(error) from error
        return batch

    return load


def _spec(info: runoff_ort.TensorInfo) -> TensorSpec:
    return {"name": info.name, "dtype": info.dtype, "shape": list(info.shape)}


def _runtime() -> Fields:
    """Return the name, version and build of the runtime."""
    version, build = runoff_ort.runtime_version(), runoff_ort.runtime_build()
    return {"runtime": "onnxruntime", "version": version, "build": build}


def _failure(error: runoff_ort.RunoffOrtError) -> RunnerError:
    """Convert the Rust core's error to a failure of the protocol."""
    return RunnerError(error.kind, one_line(error.message), error.hint)
