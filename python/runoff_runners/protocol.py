"""Shared parts of the Python runners: failures, phases, the result file.

Standard library only, and as little of it as possible: imports are part of the measured time.
"""
# pathlib would add milliseconds to every process:
# ruff: noqa: PTH105, PTH108, PTH110, PTH119, PTH123

from __future__ import annotations

import json
import os
import sys
from time import monotonic_ns

from runoff_runners.process import peak_bytes, read_mappings, resident_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runoff_runners.interfaces import Fields, Measure

VERSION = 1
ONNX_PRECISIONS = ("fp32", "fp16", "bf16", "int8", "int8-static")
"""Precisions that an ONNX file may be in. The file decides what is computed; the setting names it."""
PREPARED = "ort"
COMPILED = "mlmodelc"
"""Formats of files prepared on the machine that runs them, by ONNX Runtime and Core ML."""
_UNSUPPORTED = ("provider-unavailable", "runtime-missing", "needs-macos", "type-unsupported", "model-unsupported")


class RunnerError(Exception):
    """A failure of a kind that the protocol defines.

    Parameters
    ----------
    kind
        One of the kinds in ``protocol/README.md``.
    message
        Cause, with the file or field at fault; one line.
    hint
        Next step for the user.
    """

    def __init__(self, kind: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.hint = hint

    @property
    def status(self) -> str:
        """Status of the result: ``unsupported`` if something is missing on this machine, else ``error``."""
        return "unsupported" if self.kind in _UNSUPPORTED else "error"

    @property
    def exit_code(self) -> int:
        """Exit code of a runner that fails with this error."""
        if self.kind in _UNSUPPORTED:
            return 3
        return 2 if self.kind == "bad-request" else 1


class Phases:
    """The phases of the process, without gaps: each starts at the end of the previous one.

    Parameters
    ----------
    began_ns
        Time at the first line of the runner's own code, in nanoseconds.
    """

    def __init__(self, began_ns: int) -> None:
        self.done: list[Fields] = []
        self.memory: dict[str, dict[str, Any]] = {}
        """What was read after each phase: fields of the result's `memory`."""
        self._began_ns = began_ns
        self._readings: dict[str, Callable[[], Any]] = {}

    def begin(self, spawn_ns: int | None, readings: dict[str, Callable[[], Any]]) -> None:
        """Apply the request: the time when the process was spawned, and what is read after each phase."""
        self._readings = readings
        self.memory = {name: {} for name in readings}
        if spawn_ns is not None:
            self.done.append({"name": "start", "start_ns": spawn_ns, "end_ns": self._began_ns})
            self._read("start")

    def end(self, name: str) -> int:
        """End the phase `name` now; return the current time in nanoseconds."""
        now = monotonic_ns()
        self.done.append({"name": name, "start_ns": self._began_ns, "end_ns": now})
        self._began_ns = now
        self._read(name)
        return now

    def _read(self, name: str) -> None:
        """Read the memory after the phase `name`."""
        for field, read in self._readings.items():
            found = read()
            if found is not None:
                self.memory[field][name] = found


def memory_readings(measure: Measure) -> dict[str, Callable[[], Any]]:
    """Return what is read after each phase in `measure`, by the field of the result's `memory`."""
    if measure["kind"] == "mappings":
        return {"peak_after": peak_bytes, "mappings": read_mappings}
    return {"after": resident_bytes} if measure.get("memory") else {}


def environment_hint(name: str) -> str:
    """Return the command that makes the environment of the runner called `name` again: that of this interpreter."""
    if sys.prefix != sys.base_prefix:
        name = os.path.basename(sys.prefix)
    return f"make the environment: nox -s {name}, or runoff setup {name}"


def one_line(text: object) -> str:
    """Return the first non-empty line of `text`, truncated to 500 characters."""
    lines = str(text).strip().splitlines() or [""]
    return lines[0].strip()[:500]


def ort_reason(error: object) -> str:
    """Return ONNX Runtime's reason why it does not load a model, without its codes, the path and its source location.

    As in ``[ONNXRuntimeError] : 1 : FAIL : Load model from PATH failed:/src/model.cc:256 Model(int) const Too new``.
    """
    reason = str(error).strip().partition("\n")[0]
    if reason.startswith("[ONNXRuntimeError]"):
        reason = reason.split(" : ", 3)[-1]
    reason = reason.rpartition(" failed:")[2] if reason.startswith("Load model from ") else reason
    location, found, rest = reason.partition(") ")
    return one_line(rest.removeprefix("const ") if found and location.startswith("/") else reason)


def write_json(path: str, fields: Fields) -> None:
    """Write `fields` to a temporary file, then rename it to `path`, so readers never see a partial file."""
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(fields, file)
        os.replace(temporary, path)
    except OSError:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
