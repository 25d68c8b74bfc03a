"""Helpers that build targets: a runner's command line, its environment, and the model format it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from runoff import paths
from runoff.plan.target import Target
from runoff.records.reason import Reason

if TYPE_CHECKING:
    from pathlib import Path


def python_target(name: str, runner: str, session: str | None = None, model_format: str | None = None) -> Target:
    """Return the target of the program `runner` of ``runoff_runners``.

    Its environment is made by the nox `session`, by default of the same name; `model_format` is the only one to use.
    """
    python = paths.environments() / (session or name) / "bin" / "python"
    missing = _missing(python, f"environment not found: {python}", f"nox -s {session or name}")
    return msgspec.structs.replace(runner_in(str(python), name, runner), missing=missing, format=model_format)


def runner_in(python: str, name: str, runner: str) -> Target:
    """Return the target of a program of ``runoff_runners`` on the interpreter `python`."""
    return Target(
        name=name,
        # -P: keep the program's folder off the path, where its neighbours would shadow libraries
        command=(python, "-P", str(paths.runners() / f"{runner}.py")),
        env={"PYTHONPATH": str(paths.runners().parent)},
    )


def rust_target(name: str, binary: str, env: dict[str, str]) -> Target:
    """Return the target of a program built from ``rust/``."""
    path = paths.binaries() / binary
    missing = _missing(path, f"program not found: {path}", "nox -s build")
    return Target(name=name, command=(str(path),), env=env, missing=missing)


def onnxruntime_library() -> dict[str, str]:
    """Return the variable that names the ONNX Runtime library of ``ort-python``'s wheel, for the Rust targets.

    All targets use one release: the wheel links the engine into its Python module and also contains the same build
    as a library for other languages. Empty without that environment; the runner then reports what is missing.
    """
    wheel = paths.environments() / "ort-python"
    libraries = sorted(wheel.glob("lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.*"))
    return {"RUNOFF_ORT_DYLIB": str(libraries[-1])} if libraries else {}


def _missing(path: Path, message: str, command: str) -> Reason | None:
    return None if path.exists() else Reason(kind="not-installed", message=message, hint=f"run: {command}")
