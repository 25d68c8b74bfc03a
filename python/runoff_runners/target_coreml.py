"""Core ML as used from Python: coremltools compiles a package, loads it and predicts."""
# pathlib would add milliseconds to every process, and other systems import nothing:
# ruff: noqa: PTH118

from __future__ import annotations

import atexit
import os
import platform
import re
import shutil
import sys

from runoff_runners.protocol import COMPILED, RunnerError

if not platform.mac_ver()[0]:
    raise RunnerError("needs-macos", "execution not run: needs macOS", "run: nox -s bench, on a Mac")

from runoff_runners import coreml_native as native
from runoff_runners.measure import carry_out
from runoff_runners.model import mismatch, model_path, unreadable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runoff_runners.interfaces import Feed, Fields, Marks, Request, Spec

PACKAGES: tuple[str, ...] = ("mlpackage", "mlpackage-fp16", "mlpackage-flexible", "mlpackage-fp16-flexible")
FORMATS: tuple[str, ...] = (*PACKAGES, COMPILED)
PREPARES = COMPILED
MEASURES: tuple[str, ...] = ("once", "latency", "accuracy", "turns")
SETTINGS: tuple[str, ...] = ("teardown", "prepared", "overlap")
PRECISIONS: tuple[str, ...] = ("fp32", "fp16")
_UNITS = {
    "cpu": "CPU_ONLY",
    "coreml": "ALL",
    "coreml-cpu": "CPU_ONLY",
    "coreml-gpu": "CPU_AND_GPU",
    "coreml-ne": "CPU_AND_NE",
}
_NEEDED = {"CPU_AND_GPU": "gpu", "CPU_AND_NE": "neural-engine"}
"""The device that these compute units need: without it, Core ML silently runs on the CPU."""
_REPORTS_DEVICES, _REPORTS_PLANS = (14,), (14, 4)
"""First versions of macOS that report Core ML's devices, and the planned devices."""
# a printed NSError: { NSLocalizedDescription = "words"; ... }
_DESCRIPTION = re.compile(r'NSLocalizedDescription\s*=\s*("?)(.+?)\1;', re.DOTALL)


def capabilities() -> Fields:
    """Return Core ML's capabilities on this machine."""
    here = _devices()
    providers = [name for name, units in _UNITS.items() if _NEEDED.get(units, "cpu") in here]
    return {**_runtime(), "providers": providers}


def perform(request: Request, phases: Marks) -> Fields:
    """Carry out the request; return the target's fields of the result."""
    _check_settings(request)
    return carry_out(request, phases, lambda: _Session(request, _compiled(request, phases)))


def prepared_key(spec: Spec) -> Fields:  # noqa: ARG001 (a package has its shapes)
    """Return what a compiled package depends on, except the package."""
    return {
        "runtime": ".".join(map(str, native.system())),
        "tools": native.TOOLS,
        "machine": platform.machine(),
    }


def write_prepared(model: str, path: str, spec: Spec) -> None:  # noqa: ARG001 (as above)
    """Compile the package `model` into the folder `path`.

    Raises
    ------
    RunnerError
        ``model-unreadable``.
    """
    try:
        native.compile_package(model, path)
    except Exception as error:  # coremltools raises bare Exceptions, Core ML RuntimeErrors
        raise RunnerError("model-unreadable", f"{model} cannot be compiled: {reason(error)}") from error


class _Session:
    """A compiled model in Core ML."""

    def __init__(self, request: Request, compiled: str) -> None:
        self._requested = request["settings"]["provider"]
        try:
            self._model = native.Model(compiled, _UNITS[self._requested])
        except Exception as error:  # coremltools raises bare Exceptions, Core ML RuntimeErrors
            raise unreadable(request, reason(error)) from error
        self._compiled = compiled
        self._outputs = [spec["name"] for spec in request["model"]["outputs"]]
        # computing the plan takes as long as loading, so it is skipped in timed measures
        self._reports_plan = request["measure"]["kind"] == "accuracy" and native.system() >= _REPORTS_PLANS

    def run(self, feed: Feed) -> Feed:
        """Run the model once."""
        try:
            answer = self._model.predict(feed)
        except Exception as error:  # as above
            raise RunnerError("runtime-failed", reason(error)) from error
        if not set(self._outputs) <= answer.keys():
            raise mismatch(f"model.outputs: names {', '.join(self._outputs)}; the model gives {', '.join(answer)}")
        return {name: answer[name] for name in self._outputs or answer}

    def effective(self) -> Fields:
        """Return the settings in effect, as read back."""
        units = self._model.units
        planned = self._planned(units) if self._reports_plan else None
        found = {
            "language": "python",
            "provider": _provider(self._requested, units),
            "threads": None,
            "planned": planned,
        }
        return {**_runtime(), **found}

    def _planned(self, units: str) -> dict[str, int] | None:
        try:
            return native.planned(self._compiled, units)
        except Exception as error:  # noqa: BLE001 (the answer is right without the plan)
            sys.stderr.write(f"coreml: the planned devices are unknown: {reason(error)}\n")
            return None


def reason(error: Exception) -> str:
    """Return the reason for Core ML's error in one line, extracted from a multi-line ``NSError``."""
    text = str(error)
    found = _DESCRIPTION.search(text)
    return " ".join((found[2] if found else text).split())[:500]


def _check_settings(request: Request) -> None:
    """Check the provider, and that the precision is that of the package."""
    settings, form = request["settings"], request["model"]["format"]
    if settings["provider"] not in _UNITS:
        known = ", ".join(_UNITS)
        message = f"settings.provider: {settings['provider']!r} is not a choice of compute units (available: {known})"
        raise RunnerError("provider-unavailable", message, 'set provider = "coreml"')
    has = "fp16" if "fp16" in form else "fp32"
    if form != COMPILED and settings["precision"] != has:
        message = f"settings.precision: is {settings['precision']}; a model in the format {form} computes in {has}"
        raise RunnerError("bad-request", message, "name the package of that precision")


def _compiled(request: Request, phases: Marks) -> str:
    """Return the folder of the compiled model: the request's own, or one compiled now."""
    path = model_path(request, folder=True)
    if request["model"]["format"] == COMPILED:
        return path
    compiled = os.path.join(request["outputs_dir"], f"compiled-{os.getpid()}.{COMPILED}")
    # at exit, coremltools deletes models compiled by MLModel, but not this one
    atexit.register(shutil.rmtree, compiled, ignore_errors=True)
    try:
        native.compile_package(path, compiled)
    except Exception as error:  # coremltools raises bare Exceptions, Core ML RuntimeErrors
        raise unreadable(request, reason(error)) from error
    phases.end("compile")
    return compiled


def _provider(requested: str, units: str) -> str:
    """Return the provider for `units` on this machine; if several match, the `requested` one."""
    if units in _NEEDED and _NEEDED[units] not in _devices():
        return "coreml-cpu"
    names = [name for name, known in _UNITS.items() if known == units]
    return requested if requested in names else names[-1]


def _devices() -> set[str]:
    """Return the devices; if macOS does not report them, all possible ones."""
    return native.devices() if native.system() >= _REPORTS_DEVICES else {"cpu", *_NEEDED.values()}


def _runtime() -> Fields:
    """Return the version of Core ML, which is that of macOS."""
    version = native.system()
    missing = "" if version >= _REPORTS_PLANS else ", which reports no planned devices (macOS 14.4 does)"
    build = f"{native.TOOLS} on {platform.machine()}{missing}"
    return {"runtime": "coreml", "version": ".".join(map(str, version)), "build": build}
