"""Helpers that build targets: a runner's command line, its environment, and the model format it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from runoff import paths
from runoff.environments import setup_command
from runoff.plan.target import Preparation, Target
from runoff.records.reason import Reason

if TYPE_CHECKING:
    from pathlib import Path

OPENCV, FASTAPI = "RUNOFF_OPENCV", "RUNOFF_FASTAPI"
"""Environment variables of the targets that import these."""


def python_target(
    name: str,
    runner: str | None = None,
    environment: str | None = None,
    model_format: str | None = None,
    prepares: Preparation | None = None,
) -> Target:
    """Return the target of the module ``target_RUNNER`` of ``runoff_runners``, or of the file `runner` of a plug-in.

    `runner` and `environment` are by default of the same name as the target; `model_format` is the only one to use.
    """
    environment = environment or name
    python = paths.environments() / environment / "bin" / "python"
    return msgspec.structs.replace(
        runner_in(str(python), name, runner or name),
        environments=(environment,),
        missing=missing_environment(environment),
        format=model_format,
        prepares=prepares,
    )


def runner_in(python: str, name: str, runner: str) -> Target:
    """Return the target of the module ``target_RUNNER`` of ``runoff_runners`` on the interpreter `python`."""
    return Target(
        name=name,
        # -P: keep the program's folder off the path, where its neighbours would shadow libraries
        command=(python, "-P", str(paths.runners() / "runner.py"), runner),
        env={"PYTHONPATH": str(paths.runners().parent)},
    )


def in_environment(target: Target, environment: str) -> Target:
    """Return a target of Python on the interpreter of another environment."""
    python, missing = paths.environments() / environment / "bin" / "python", missing_environment(environment)
    return msgspec.structs.replace(target, command=(str(python), *target.command[1:]), missing=missing)


def at(target: Target, environment: str, folder: Path) -> Target:
    """Return a target that uses the environment in `folder` in place of the one called `environment`."""
    there = str(paths.environments() / environment)

    def moved(text: str) -> str:
        if not text.startswith(there):
            return text
        path = folder / text[len(there) + 1 :]
        # a library has its version in its name
        found = [path] if path.exists() else sorted(path.parent.glob(f"{path.name.partition('.')[0]}.*"))
        return str(found[-1] if found else path)

    env = {name: moved(value) for name, value in target.env.items()}
    return msgspec.structs.replace(target, command=tuple(map(moved, target.command)), env=env)


def importing(target: Target, *variables: str) -> Target:
    """Return a target that imports OpenCV to segment or FastAPI for HTTP; `variables` get their folders, if any."""
    env = dict(target.env)
    for variable in variables:
        environment = paths.environments() / {OPENCV: "opencv", FASTAPI: "fastapi"}[variable]
        found = list(environment.glob("lib/python3*/site-packages"))
        env[variable] = str(found[-1]) if found else ""
    return msgspec.structs.replace(target, env=env)


def rust_target(name: str, binary: str, *, loads_onnxruntime: bool, command: str = "") -> Target:
    """Return the target of a program built from ``rust/``; `command` is what builds one that no wheel has."""
    path = paths.binaries() / binary
    command = command or ("nox -s build" if paths.in_checkout() else "pip install runoff-programs runoff-capi")
    reason = Reason("not-installed", f"program not found: {path}", f"run: {command}")
    target = Target(name=name, command=(str(path),), missing=None if path.exists() else reason)
    return with_onnxruntime(target) if loads_onnxruntime else target


def with_onnxruntime(target: Target) -> Target:
    """Return a Rust target with the variable that names the ONNX Runtime library of ``ort-python``'s wheel.

    All targets use one release: the wheel links the engine into its Python module and also contains the same build
    as a library for other languages.
    """
    wheel = paths.environments() / "ort-python"
    libraries = sorted(wheel.glob("lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.*"))
    library = {"RUNOFF_ORT_DYLIB": str(libraries[-1])} if libraries else {}
    return msgspec.structs.replace(
        target,
        env={**target.env, **library},
        environments=(*target.environments, "ort-python"),
        missing=target.missing or (None if libraries else no_environment("ort-python")),
    )


def missing_environment(name: str) -> Reason | None:
    """Return the reason if the environment `name` is missing."""
    return None if (paths.environments() / name / "bin" / "python").exists() else no_environment(name)


def no_environment(name: str) -> Reason:
    """Return the reason for a target whose environment `name` is missing."""
    folder = paths.environments() / name
    return Reason("not-installed", f"environment not found: {folder}", f"run: {setup_command(name)}")
