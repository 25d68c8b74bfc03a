"""Options of sessions and runs, with onnxruntime's names and defaults."""

from __future__ import annotations

import os
from enum import IntEnum
from operator import index
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import runoff_ort

from . import _providers
from ._unsupported import unsupported
from ._values import tensor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ._values import OrtValue

LogLevel: TypeAlias = Literal["verbose", "info", "warning", "error", "fatal"]
LEVELS: tuple[LogLevel, ...] = ("verbose", "info", "warning", "error", "fatal")


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


# the method that a value has if it can be converted to the type of an attribute, as in onnxruntime
CONVERSIONS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    bool: ("__bool__", bool),
    int: ("__index__", index),
    str: ("__fspath__", os.fspath),
}


class _Options:
    """Attributes with defaults, whose type their values have. Those in `FIXED` can be set only to their default."""

    DEFAULTS: ClassVar[dict[str, Any]] = {}
    FIXED: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        object.__setattr__(self, "_values", {**self.DEFAULTS, **self.FIXED})
        object.__setattr__(self, "_config", {})

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("_values", {})
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in values:
            unsupported(f"{type(self).__name__}.{name}")
        return values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        shown = f"{type(self).__name__}.{name}"
        if name not in self._values:
            unsupported(shown)
        value = converted(shown, value, type(self._values[name]))
        if name in self.FIXED and value != self.FIXED[name]:
            unsupported(f"{shown} = {value!r}")
        self._values[name] = value

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._values})


class SessionOptions(_Options):
    """Options of a session."""

    DEFAULTS: ClassVar[dict[str, Any]] = {
        "enable_cpu_mem_arena": True,
        "enable_mem_pattern": True,
        "enable_profiling": False,
        "execution_mode": ExecutionMode.ORT_SEQUENTIAL,
        "graph_optimization_level": GraphOptimizationLevel.ORT_ENABLE_ALL,
        "inter_op_num_threads": 0,
        "intra_op_num_threads": 0,
        "log_severity_level": -1,
        "log_verbosity_level": 0,
        "logid": "",
        "optimized_model_filepath": "",
        "profile_file_prefix": "onnxruntime_profile_",
        "use_deterministic_compute": False,
    }
    FIXED: ClassVar[dict[str, Any]] = {
        "enable_mem_reuse": True,
        "execution_order": ExecutionOrder.DEFAULT,
        "use_per_session_threads": True,
    }
    NAMED: ClassVar[tuple[str, ...]] = (
        "enable_mem_pattern",
        "graph_optimization_level",
        "log_verbosity_level",
        "logid",
        "optimized_model_filepath",
        "use_deterministic_compute",
    )
    """Attributes that `runoff_ort.Session` takes by these names, in ``session_options``."""
    TABLES: ClassVar[tuple[str, ...]] = ("config", "dimensions", "denotations", "initializers", "external_initializers")
    """Arguments of `runoff_ort.Session` that methods fill."""

    def __init__(self) -> None:
        super().__init__()
        for table in self.TABLES:
            object.__setattr__(self, f"_{table}", {})
        object.__setattr__(self, "_libraries", [])
        object.__setattr__(self, "_providers", [])

    def add_session_config_entry(self, key: str, value: str) -> None:
        """Set an entry of the session's configuration."""
        self._config[key] = converted(f"the entry {key}", value, str)

    def get_session_config_entry(self, key: str) -> str:
        """Return an entry set by `add_session_config_entry`."""
        if key not in self._config:
            message = f"SessionOptions does not have configuration with key: {key}"
            raise RuntimeError(message)
        return str(self._config[key])

    def add_free_dimension_override_by_name(self, name: str, value: int) -> None:
        """Fix the size of the dimensions called `name`."""
        self._dimensions[name] = converted(f"the dimension {name}", value, int)

    def add_free_dimension_override_by_denotation(self, denotation: str, value: int) -> None:
        """Fix the size of the dimensions with a denotation, such as ``DATA_BATCH``."""
        self._denotations[denotation] = converted(f"the dimension {denotation}", value, int)

    def add_initializer(self, name: str, ort_value: OrtValue) -> None:
        """Use a tensor in place of the model's initialiser `name`; the session reads its memory."""
        add(self._initializers, [name], [tensor_of(ort_value)])

    def add_external_initializers(self, names: Sequence[str], ort_values: Sequence[OrtValue]) -> None:
        """Use tensors for initialisers that the model stores in other files; the session reads their memory."""
        same_length(names, ort_values)
        add(self._external_initializers, names, map(tensor_of, ort_values))

    def add_external_initializers_from_files_in_memory(
        self, names: Sequence[str], buffers: Sequence[Any], lengths: Sequence[int]
    ) -> None:
        """Use the contents of files, by name, for initialisers that the model stores in them."""
        same_length(names, buffers, lengths)
        contents = [memoryview(buffer).cast("B")[:size] for buffer, size in zip(buffers, lengths, strict=True)]
        add(self._external_initializers, names, contents)

    def add_provider(self, name: str, options: Mapping[str, str]) -> None:
        """Add an available provider for sessions that are created without the argument `providers`."""
        if name not in _providers.available():
            message = f"provider {name!r} is not available: {', '.join(_providers.available())}"
            raise ValueError(message)
        self._providers.append((name, dict(options)))

    def register_custom_ops_library(self, path: str) -> None:
        """Add a shared library with custom operators; it is loaded with the session."""
        self._libraries.append(path)

    def has_providers(self) -> bool:
        """Return whether `add_provider` was called."""
        return bool(self._providers)

    def added_providers(self) -> list[tuple[str, dict[str, str]]]:
        """Return the providers of `add_provider`, with their options."""
        return list(self._providers)

    def arguments(self, defaults: Mapping[str, int]) -> dict[str, Any]:
        """Return the arguments for `runoff_ort.Session`. 0 threads, meaning ONNX Runtime's choice, become None.

        `defaults` are those of attributes that have not been changed.
        """
        changed = {name: value for name, value in self._values.items() if value != self.DEFAULTS.get(name)}
        values = {**defaults, **changed}
        return {
            **{table: dict(getattr(self, f"_{table}")) for table in self.TABLES},
            "session_options": {name: values[name] for name in self.NAMED if name in values},
            "threads": self.intra_op_num_threads or None,
            "inter_threads": self.inter_op_num_threads or None,
            "arena": None if self.enable_cpu_mem_arena else False,
            "execution": "parallel" if self.execution_mode == ExecutionMode.ORT_PARALLEL else "sequential",
            "log_level": level_name(values.get("log_severity_level", -1)),
            "profiling": self.profile_file_prefix if self.enable_profiling else None,
            "custom_op_libraries": list(self._libraries),
        }


class RunOptions(_Options):
    """Options of a run. Setting `terminate` stops all runs in progress with these options."""

    DEFAULTS: ClassVar[dict[str, Any]] = {
        "log_severity_level": -1,
        "log_verbosity_level": 0,
        "logid": "",
        "terminate": False,
    }
    FIXED: ClassVar[dict[str, Any]] = {"only_execute_path_to_fetches": False}

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
        self._config[key] = converted(f"the entry {key}", value, str)
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
            made = runoff_ort.RunOptions(
                config=self._config,
                log_level=level_name(self.log_severity_level),
                tag=self.logid or None,
                log_verbosity=self.log_verbosity_level or None,
            )
            object.__setattr__(self, "_handle", made)
            if self.terminate:
                made.cancel()
        handle: runoff_ort.RunOptions = self._handle
        return handle


def converted(name: str, value: Any, kind: type) -> Any:
    """Return a value for the attribute `name` as its type, or raise a TypeError."""
    if isinstance(value, kind):
        return value
    method, convert = CONVERSIONS.get(kind, ("", kind))
    if not hasattr(type(value), method):
        message = f"{name} is of type {kind.__name__}: {value!r} cannot be used"
        raise TypeError(message)
    return convert(value)


def level_name(level: int) -> LogLevel | None:
    """Return the name of a ``log_severity_level``, or None for the default, -1."""
    if level not in range(-1, len(LEVELS)):
        message = f"log_severity_level is {level!r}, not from -1 to {len(LEVELS) - 1}"
        raise ValueError(message)
    return None if level < 0 else LEVELS[level]


def add(table: dict[str, Any], names: Sequence[str], values: Iterable[Any]) -> None:
    """Add initialisers or files to a table, each name once."""
    for name, value in zip(names, values, strict=True):
        if name in table:
            message = f"{name!r} is given twice"
            raise ValueError(message)
        table[name] = value


def same_length(*lists: Sequence[Any]) -> None:
    """Raise an error for lists of different lengths."""
    if len({len(entries) for entries in lists}) > 1:
        message = f"the lists are of different lengths: {', '.join(str(len(entries)) for entries in lists)}"
        raise ValueError(message)
