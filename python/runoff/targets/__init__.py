"""The targets, one file per runtime, and those of plug-ins. docs/add-an-engine.md adds one."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import msgspec

from runoff import paths
from runoff.environments import ENVIRONMENTS, find_environment
from runoff.plan.target import Target
from runoff.plugins import plugins
from runoff.probes import PROBES
from runoff.records.errors import RunoffError, did_you_mean
from runoff.records.reason import Reason
from runoff.targets.base import FASTAPI, OPENCV
from runoff.targets.coreml import coreml
from runoff.targets.mobile import executorch, litert
from runoff.targets.null import null_python, null_rust
from runoff.targets.onnxruntime import capi_rust, ort_pyo3, ort_python, ort_rust
from runoff.targets.openvino import openvino_python
from runoff.targets.rust_engines import openvino_rust, rten, tract_rust
from runoff.targets.torch import torch, torch_aoti, torch_compile, torch_export, torchscript
from runoff.targets.web import WEB_TARGETS
from runoff.targets.webnn import webnn_compute, webnn_ort, webnn_rust

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from runoff.plan.suite import CustomTarget, Suite

BUILT_IN: dict[str, Callable[[], Target]] = {
    "torch": torch,
    "torch-export": torch_export,
    "torch-compile": torch_compile,
    "torchscript": torchscript,
    "torch-aoti": torch_aoti,
    "ort-python": ort_python,
    "ort-rust": ort_rust,
    "ort-pyo3": ort_pyo3,
    "capi-rust": capi_rust,
    "openvino-python": openvino_python,
    "openvino-rust": openvino_rust,
    "litert": litert,
    "executorch": executorch,
    "tract-rust": tract_rust,
    "rten": rten,
    "coreml": coreml,
    "webnn-compute": webnn_compute,
    "webnn-ort": webnn_ort,
    "webnn-rust": webnn_rust,
    "null-python": null_python,
    "null-rust": null_rust,
    **WEB_TARGETS,
}


def all_targets() -> dict[str, Callable[[], Target]]:
    """Return all targets by name, those of plug-ins last; a plug-in cannot replace a built-in one."""
    return {**BUILT_IN, **{name: make for name, make in plugins().targets.items() if name not in BUILT_IN}}


def make_all_targets() -> dict[str, Target]:
    """Return all targets, made; one of a plug-in that fails is unavailable, with the reason."""

    def made(name: str, make: Callable[[], Target]) -> Target:
        try:
            return make()
        except Exception as error:  # noqa: BLE001 (the code of others)
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            missing = Reason("broken-plugin", f"its plug-in is broken: {reason}", "update the plug-in")
            return Target(name=name, command=(), missing=missing)

    return {name: made(name, make) for name, make in all_targets().items()}


def target_maker(name: str) -> Callable[[], Target] | None:
    """Return what makes the target called `name`, of runoff or of a plug-in; None if there is none."""
    return BUILT_IN.get(name) or plugins().targets.get(name)


def unknown_target(name: str, own: Iterable[str] = (), where: str = "") -> RunoffError:
    """Return the error for a target that does not exist; a broken plug-in may be the one that has it."""
    hint = did_you_mean(name, [*all_targets(), *own])
    return RunoffError(f"{where}unknown target {name!r}", "; ".join([*plugins().broken.values(), hint]))


def find_targets(names: Iterable[str], own: Mapping[str, CustomTarget], folder: Path) -> dict[str, Target]:
    """Return the targets called `names`: the suite's `own`, else the built-in ones, else those of plug-ins.

    ``ort-python@NAME`` is the target ``ort-python`` on the version NAME of a model. Relative commands start at
    `folder`, the suite's.

    Raises
    ------
    RunoffError
        If a name is unknown or a command is not found.
    """
    targets = {}
    for name in names:
        runner, _, version = name.partition("@")
        make = None if runner in own else target_maker(runner)
        if make is None and runner not in own:
            raise unknown_target(name, own)
        target = make() if make else _custom_target(runner, own[runner], folder)
        if version:
            target = msgspec.structs.replace(target, name=name, format=f"onnx@{version}")
        targets[name] = target
    return targets


def needed_environments(suite: Suite, folder: Path) -> list[str]:
    """Return the environments that a suite needs, for its targets and for the tools of its probes.

    Environments of gigabytes are among them only if the suite, in `folder`, is the user's own, and not only of ONNX
    files, which need none of them: who starts a suite of runoff has not asked for each of its targets.
    """
    targets = find_targets(suite.names("targets"), suite.targets, folder)
    probes = [PROBES[name] for name in dict.fromkeys(probe for group in suite.groups for probe in group.probes or ())]
    segments = any("segment" in (group.workloads or ()) for group in suite.groups)
    serves = any("http" in str(group.load.get("transport")) for group in suite.groups)
    needed = [name for target in targets.values() for name in environments_of(target, segments=segments, serves=serves)]
    needed += [probe.environment for probe in probes if probe.environment]
    needed += [probe.tool.name for probe in probes if probe.tool and probe.tool.name in ENVIRONMENTS]
    files = [own for own in suite.models.values() if not own.network]
    all_needed = folder != paths.suites() and len(files) < len(suite.names("models"))
    return [name for name in needed if all_needed or ((found := find_environment(name)) and found.automatic)]


def environments_of(target: Target, *, segments: bool, serves: bool = False) -> list[str]:
    """Return the environments of a target; to segment also OpenCV's, to serve HTTP FastAPI's, if it imports that."""
    others = {"opencv": segments and OPENCV in target.env, "fastapi": serves and FASTAPI in target.env}
    return [*target.environments, *(name for name, needed in others.items() if needed)]


def _custom_target(name: str, table: CustomTarget, folder: Path) -> Target:
    program, *arguments = table.command
    resolved = [str((folder / word).absolute()) if (folder / word).is_file() else word for word in arguments]
    host = _host(name, table)
    executable = host.command[0] if host and program == "python" else _find_program(name, program, folder)
    return Target(
        name=name,
        command=(executable, *resolved),
        env={**(host.env if host else {}), **table.env},
        environments=host.environments if host else (),
        missing=host.missing if host else None,
    )


def _host(name: str, table: CustomTarget) -> Target | None:
    """Return the target that provides the environment of a custom target; None if it names none."""
    if table.environment is None:
        return None
    make = target_maker(table.environment)
    if make is None:
        raise unknown_target(table.environment, where=f"[targets.{name}] environment: ")
    return make()


def _find_program(name: str, program: str, folder: Path) -> str:
    local = "/" in program
    path = shutil.which(str((folder / program).absolute()) if local else program)
    if path is None:
        where = f"{folder / program} is not a program that can be run" if local else f"{program} is not on the PATH"
        raise RunoffError(
            f"[targets.{name}] command: {where}", "a relative path starts at the suite's folder; chmod +x it"
        )
    return path
