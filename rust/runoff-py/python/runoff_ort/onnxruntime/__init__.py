"""A drop-in for code that uses onnxruntime: ``import runoff_ort.onnxruntime as ort``.

Sessions, options, I/O binding and values in host memory have onnxruntime's names, arguments and results. Any other part
of onnxruntime's API raises a `NotImplementedError` that names it. Errors are those of `runoff_ort`: a `ValueError` for
arguments, names and shapes, a `TypeError` for an array of the wrong dtype, a `RuntimeError` for everything else.

If `providers` does not name the CPU's, the entire model runs on the others, or creating the session fails: there is no
fallback to the CPU.

>>> import numpy as np
>>> import runoff_ort.onnxruntime as ort
>>> session = ort.InferenceSession("double.onnx", providers=["CPUExecutionProvider"])
>>> session.run(None, {session.get_inputs()[0].name: np.ones((1, 3), np.float32)})
[array([[2., 2., 2.]], dtype=float32)]
"""

from __future__ import annotations

import os
import threading
import warnings
from typing import TYPE_CHECKING, Any

import runoff_ort

from . import _providers
from ._options import (
    LEVELS,
    ExecutionMode,
    ExecutionOrder,
    GraphOptimizationLevel,
    RunOptions,
    SessionOptions,
)
from ._unsupported import unsupported
from ._values import IOBinding, ModelMetadata, NodeArg, OrtValue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "ExecutionMode",
    "ExecutionOrder",
    "GraphOptimizationLevel",
    "IOBinding",
    "InferenceSession",
    "ModelMetadata",
    "NodeArg",
    "OrtValue",
    "RunOptions",
    "SessionOptions",
    "disable_telemetry_events",
    "get_all_providers",
    "get_available_providers",
    "get_build_info",
    "get_device",
    "get_version_string",
    "preload_dlls",
    "set_default_logger_severity",
    "set_default_logger_verbosity",
]

# attributes of SessionOptions, for sessions that do not set them
_log_defaults: dict[str, int] = {}


class InferenceSession:
    """A loaded model.

    Parameters
    ----------
    path_or_bytes
        An ONNX file, or its content.
    sess_options
        Options; the defaults are onnxruntime's.
    providers, provider_options
        Names in order of preference, or pairs of name and options. Each computes the operations that it supports and
        that those before it left. If none is available, the CPU computes.
    kwargs
        ``disabled_optimizers``, names of optimisers. ``enable_fallback`` is accepted and has no effect.
    """

    def __init__(
        self,
        path_or_bytes: str | bytes | os.PathLike[str],
        sess_options: SessionOptions | None = None,
        providers: Sequence[str | tuple[str, dict[Any, Any]]] | None = None,
        provider_options: Sequence[dict[Any, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        _check_types(path_or_bytes, sess_options)
        for name, value in kwargs.items():
            if value and name not in ("disabled_optimizers", "enable_fallback"):
                unsupported(f"InferenceSession({name}=...)")
        self._model = path_or_bytes
        self._options = SessionOptions() if sess_options is None else sess_options
        self._disabled = ";".join(sorted(kwargs.get("disabled_optimizers") or ()))
        self._load(providers, provider_options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        unsupported(f"InferenceSession.{name}")

    def _load(self, providers: Any, provider_options: Any) -> None:
        if self._options.has_providers():
            if providers or provider_options:
                warnings.warn("SessionOptions.add_provider has no effect: providers was given", stacklevel=4)
            else:
                providers = self._options.added_providers()
        self._providers = _providers.chosen(providers, provider_options)
        arguments = self._options.arguments(_log_defaults)
        if self._disabled:
            arguments["config"]["optimization.disable_specified_optimizers"] = self._disabled
        self._session = runoff_ort.Session(self._model, providers=_providers.own(self._providers), **arguments)
        self._names = [info.name for info in self._session.outputs]

    def run(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        run_options: RunOptions | None = None,
    ) -> list[Any]:
        """Run the model once; return the requested outputs in that order, or all."""
        feeds = {name: value._value if isinstance(value, OrtValue) else value for name, value in input_feed.items()}  # noqa: SLF001
        handle = None if run_options is None else run_options.handle()
        outputs = self._session.run(feeds, output_names or None, options=handle)
        return [outputs[name] for name in output_names or self._names]

    def run_async(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        callback: Callable[[list[Any], Any, str], object],
        user_data: Any,
        run_options: RunOptions | None = None,
    ) -> None:
        """Run the model once in a new thread, which then calls ``callback(outputs, user_data, error)``."""
        missing = [info.name for info in self._session.inputs if info.name not in input_feed]
        if missing:
            message = f"Required inputs ({missing}) are missing from input feed ({list(input_feed)})."
            raise ValueError(message)

        def call() -> None:
            outputs, error = [], ""
            try:
                outputs = self.run(output_names, input_feed, run_options)
            except Exception as failed:  # noqa: BLE001 (as onnxruntime, the callback gets all)
                error = str(failed)
            callback(outputs, user_data, error)

        threading.Thread(target=call, name="runoff-run-async").start()

    def run_with_ort_values(
        self,
        output_names: Sequence[str] | None,
        input_dict_ort_values: Mapping[str, OrtValue],
        run_options: RunOptions | None = None,
    ) -> list[OrtValue]:
        """Run the model once, with `OrtValue` inputs and outputs."""
        return [OrtValue(value) for value in self.run(output_names, input_dict_ort_values, run_options)]

    def io_binding(self) -> IOBinding:
        """Return a binding without inputs and outputs."""
        return IOBinding(self)

    def run_with_iobinding(self, iobinding: IOBinding, run_options: RunOptions | None = None) -> None:
        """Run the model once on the bound inputs and outputs."""
        if iobinding._session is not self:  # noqa: SLF001
            message = "IOBinding must be used with the session that created it."
            raise ValueError(message)
        iobinding.run(self._session, None if run_options is None else run_options.handle())

    def get_inputs(self) -> list[NodeArg]:
        """Return the inputs, in graph order."""
        return [NodeArg.of(info) for info in self._session.inputs]

    def get_outputs(self) -> list[NodeArg]:
        """Return the outputs, in graph order."""
        return [NodeArg.of(info) for info in self._session.outputs]

    def get_overridable_initializers(self) -> list[NodeArg]:
        """Return the initialisers that may be given like inputs."""
        return [NodeArg.of(info) for info in self._session.overridable_initializers]

    def get_modelmeta(self) -> ModelMetadata:
        """Return the metadata stored in the model."""
        found = self._session.metadata
        return ModelMetadata(
            producer_name=found.producer,
            graph_name=found.graph,
            graph_description=found.graph_description,
            domain=found.domain,
            description=found.description,
            version=found.version,
            custom_metadata_map=dict(found.custom),
        )

    def get_session_options(self) -> SessionOptions:
        """Return the options of the session."""
        return self._options

    def get_providers(self) -> list[str]:
        """Return the providers that compute, and the CPU's."""
        return list(self.get_provider_options())

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        """Return the options that were given for each provider."""
        rest = {name: dict(options) for name, options in self._providers.items() if name != _providers.CPU}
        return {**rest, _providers.CPU: {}}

    def set_providers(self, providers: Any = None, provider_options: Any = None) -> None:
        """Load the model again with other providers."""
        self._load(providers, provider_options)

    def enable_fallback(self) -> None:
        """Do nothing: there is no fallback; a failing provider raises an error."""

    def disable_fallback(self) -> None:
        """Do nothing: there is no fallback; a failing provider raises an error."""

    def create_ortvalue_from_shape_and_type(
        self, shape: Sequence[int], element_type: Any, device_type: str, device_id: int = 0, vendor_id: int = -1
    ) -> OrtValue:
        """Create a value in host memory."""
        return OrtValue.ortvalue_from_shape_and_type(shape, element_type, device_type, device_id, vendor_id)

    def end_profiling(self) -> str:
        """Stop profiling and return the path of the profile."""
        return self._session.end_profiling()

    def get_profiling_start_time_ns(self) -> int:
        """Return the time at which profiling started, in nanoseconds; 0 without profiling."""
        return self._session.profiling_start_ns()


def _check_types(model: object, options: object) -> None:
    if not isinstance(model, str | bytes | os.PathLike):
        message = f"Unable to load from type '{type(model)}'"
        raise TypeError(message)
    if not isinstance(options, SessionOptions | None):
        message = f"sess_options is a {SessionOptions.__module__}.SessionOptions, not {type(options)}"
        raise TypeError(message)


def get_available_providers() -> list[str]:
    """Return the providers that can be used on this machine."""
    return _providers.available()


def get_all_providers() -> list[str]:
    """Return the providers that this module supports, available or not."""
    return list(_providers.NAMES)


def get_device() -> str:
    """Return ``GPU`` if a GPU provider is available, else ``CPU``."""
    return "GPU" if {"cuda", "tensorrt"} & set(runoff_ort.providers()) else "CPU"


def get_build_info() -> str:
    """Return the library's description of its build."""
    return runoff_ort.runtime_build()


def get_version_string() -> str:
    """Return the version of the library."""
    return runoff_ort.runtime_version()


def set_default_logger_severity(severity: int) -> None:
    """Set the default log level, from 0 (verbose) to 4 (fatal), for sessions that do not set one."""
    if severity not in range(len(LEVELS)):
        message = f"severity is {severity!r}, not from 0 to {len(LEVELS) - 1}"
        raise ValueError(message)
    _log_defaults["log_severity_level"] = severity


def set_default_logger_verbosity(verbosity: int) -> None:
    """Set how much is logged at the level verbose, for sessions that do not set it."""
    _log_defaults["log_verbosity_level"] = verbosity


def preload_dlls(
    cuda: bool = True,  # noqa: ARG001, FBT001, FBT002 (as onnxruntime)
    cudnn: bool = True,  # noqa: ARG001, FBT001, FBT002
    msvc: bool = True,  # noqa: ARG001, FBT001, FBT002
    directory: str | None = None,
) -> None:
    """Do nothing: NVIDIA's libraries are loaded, from the NVIDIA packages, when a session needs them."""
    if directory:
        unsupported("preload_dlls(directory=...)")


def disable_telemetry_events() -> None:
    """Do nothing: telemetry is always off."""


def __getattr__(name: str) -> str:
    if name == "__version__":
        return runoff_ort.runtime_version()
    if name.startswith("_"):
        raise AttributeError(name)
    return unsupported(name)
