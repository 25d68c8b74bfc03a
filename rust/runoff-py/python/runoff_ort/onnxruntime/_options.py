"""Options of sessions and runs, with onnxruntime's names and defaults."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, ClassVar, Literal, NoReturn, TypeAlias

import runoff_ort

LogLevel: TypeAlias = Literal["verbose", "info", "warning", "error", "fatal"]
LEVELS: tuple[LogLevel, ...] = ("verbose", "info", "warning", "error", "fatal")


class UnsupportedError(NotImplementedError, AttributeError):
    """A part of onnxruntime's API that this module does not support."""


def unsupported(name: str) -> NoReturn:
    """Raise an `UnsupportedError` for the attribute `name`."""
    message = f"runoff_ort.onnxruntime has no {name}: use the package onnxruntime for it"
    raise UnsupportedError(message)


class GraphOptimizationLevel(IntEnum):
    """Graph optimisation level."""

    ORT_DISABLE_ALL = 0
    ORT_ENABLE_BASIC = 1
    ORT_ENABLE_EXTENDED = 2
    ORT_ENABLE_LAYOUT = 3
    ORT_ENABLE_ALL = 99


class ExecutionMode(IntEnum):
    """Whether operations run one after another or in parallel."""

    ORT_SEQUENTIAL = 0
    ORT_PARALLEL = 1


class ExecutionOrder(IntEnum):
    """Order of operations in a sequential run; only DEFAULT is supported."""

    DEFAULT = 0
    PRIORITY_BASED = 1
    MEMORY_EFFICIENT = 2


OPTIMIZATIONS = {
    GraphOptimizationLevel.ORT_DISABLE_ALL: "disable",
    GraphOptimizationLevel.ORT_ENABLE_BASIC: "basic",
    GraphOptimizationLevel.ORT_ENABLE_EXTENDED: "extended",
    GraphOptimizationLevel.ORT_ENABLE_ALL: "all",
}


class _Options:
    """Attributes with defaults. Those in `FIXED` can be read, and set only to their default."""

    DEFAULTS: ClassVar[dict[str, Any]] = {}
    FIXED: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        object.__setattr__(self, "_values", {**self.DEFAULTS, **self.FIXED})
        object.__setattr__(self, "_config", {})

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("_values", {})
        if name in values:
            return values[name]
        if name.startswith("_"):
            raise AttributeError(name)
        unsupported(f"{type(self).__name__}.{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.FIXED and value != self.FIXED[name]:
            unsupported(f"{type(self).__name__}.{name} = {value!r}")
        if name not in self._values:
            unsupported(f"{type(self).__name__}.{name}")
        self._values[name] = value

    @property
    def log_level(self) -> LogLevel | None:
        """Name of `log_severity_level`, or None for the default."""
        level = self._values["log_severity_level"]
        if level not in range(-1, len(LEVELS)):
            message = f"log_severity_level is {level!r}, not from -1 to {len(LEVELS) - 1}"
            raise ValueError(message)
        return None if level < 0 else LEVELS[level]


class SessionOptions(_Options):
    """Options of a session."""

    DEFAULTS: ClassVar[dict[str, Any]] = {
        "enable_cpu_mem_arena": True,
        "enable_profiling": False,
        "execution_mode": ExecutionMode.ORT_SEQUENTIAL,
        "graph_optimization_level": GraphOptimizationLevel.ORT_ENABLE_ALL,
        "inter_op_num_threads": 0,
        "intra_op_num_threads": 0,
        "log_severity_level": -1,
        "profile_file_prefix": "onnxruntime_profile_",
    }
    FIXED: ClassVar[dict[str, Any]] = {
        "enable_mem_pattern": True,
        "enable_mem_reuse": True,
        "execution_order": ExecutionOrder.DEFAULT,
        "log_verbosity_level": 0,
        "logid": "",
        "optimized_model_filepath": "",
        "use_deterministic_compute": False,
        "use_per_session_threads": True,
    }

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "_dimensions", {})
        object.__setattr__(self, "_libraries", [])

    def add_session_config_entry(self, key: str, value: str) -> None:
        """Set an entry of the session's configuration."""
        self._config[key] = value

    def get_session_config_entry(self, key: str) -> str:
        """Return an entry set by `add_session_config_entry`."""
        if key not in self._config:
            message = f"SessionOptions does not have configuration with key: {key}"
            raise RuntimeError(message)
        return str(self._config[key])

    def add_free_dimension_override_by_name(self, name: str, value: int) -> None:
        """Fix the size of the dimensions called `name`."""
        self._dimensions[name] = value

    def register_custom_ops_library(self, path: str) -> None:
        """Add a shared library with custom operators; it is loaded with the session."""
        self._libraries.append(path)

    def has_providers(self) -> bool:
        """Return False: providers are passed to the session, not added to its options."""
        return False

    def arguments(self) -> dict[str, Any]:
        """Return the arguments for `runoff_ort.Session`. 0 threads, meaning ONNX Runtime's choice, become None."""
        level = self.graph_optimization_level
        if level not in OPTIMIZATIONS:
            unsupported(f"SessionOptions.graph_optimization_level = {level!r}")
        return {
            "threads": self.intra_op_num_threads or None,
            "inter_threads": self.inter_op_num_threads or None,
            "optimization": OPTIMIZATIONS[level],
            "arena": None if self.enable_cpu_mem_arena else False,
            "execution": "parallel" if self.execution_mode == ExecutionMode.ORT_PARALLEL else "sequential",
            "config": dict(self._config),
            "dimensions": dict(self._dimensions),
            "log_level": self.log_level,
            "profiling": self.profile_file_prefix if self.enable_profiling else None,
            "custom_op_libraries": list(self._libraries),
        }


class RunOptions(_Options):
    """Options of a run. Setting `terminate` stops all runs in progress with these options."""

    DEFAULTS: ClassVar[dict[str, Any]] = {"log_severity_level": -1, "logid": "", "terminate": False}
    FIXED: ClassVar[dict[str, Any]] = {"log_verbosity_level": 0, "only_execute_path_to_fetches": False}

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "_handle", None)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name != "terminate":
            object.__setattr__(self, "_handle", None)
        elif value:
            self.handle().cancel()
        else:
            self.handle().reset()

    def add_run_config_entry(self, key: str, value: str) -> None:
        """Set an entry of the run's configuration."""
        self._config[key] = value
        object.__setattr__(self, "_handle", None)

    def get_run_config_entry(self, key: str) -> str:
        """Return an entry set by `add_run_config_entry`."""
        if key not in self._config:
            message = f"RunOptions does not have configuration with key: {key}"
            raise RuntimeError(message)
        return str(self._config[key])

    def handle(self) -> runoff_ort.RunOptions:
        """Return the extension's own options object, rebuilt after an attribute has changed."""
        if self._handle is None:
            made = runoff_ort.RunOptions(config=self._config, log_level=self.log_level, tag=self.logid or None)
            object.__setattr__(self, "_handle", made)
            if self.terminate:
                made.cancel()
        handle: runoff_ort.RunOptions = self._handle
        return handle
