"""The noxfile's sessions fit together."""

from __future__ import annotations

import importlib.util
import inspect
from typing import TYPE_CHECKING

import nox.registry
import pytest

from runoff import paths

if TYPE_CHECKING:
    from types import ModuleType


@pytest.fixture(scope="module")
def noxfile() -> ModuleType:
    """Return the noxfile as a module."""
    spec = importlib.util.spec_from_file_location("noxfile_under_test", paths.root() / "noxfile.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_sessions_that_others_need_take_no_arguments(noxfile: ModuleType) -> None:  # noqa: ARG001 (registers them)
    """Nox hands the arguments to every session that it runs, not only to the requested one."""
    sessions = nox.registry.get()
    needed = {name for session in sessions.values() for name in session.requires or ()}
    assert {"export", "build", "extension"} <= needed <= sessions.keys()
    # before a release all tests run, whatever was requested
    needed.discard("tests")
    assert [name for name in sorted(needed) if "posargs" in inspect.getsource(sessions[name].func)] == []


@pytest.mark.parametrize(("variable", "wanted"), [("1", True), ("0", False), ("", False)])
def test_the_variable_selects_the_gpu_build(
    variable: str,
    wanted: bool,  # noqa: FBT001 (a parameter)
    noxfile: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RUNOFF_CUDA", variable)
    assert noxfile.wants_cuda() is wanted
    assert noxfile.pins_of("ort-python").stem == ("ort-cuda" if wanted else "ort-python")
    assert noxfile.pins_of("torch").stem == "torch"


def test_every_environment_has_its_pins(noxfile: ModuleType) -> None:
    """Check the table, and the sessions that install additional packages."""
    sessions = nox.registry.get()
    installed = {*noxfile.PLAIN, "coreml", "build", "wheel"}
    assert installed <= sessions.keys()
    assert [name for name in sorted(installed) if not (paths.root() / "requirements" / f"{name}.txt").is_file()] == []
    assert {*noxfile.EDITABLE, *noxfile.WITH_WHEEL, *noxfile.NEEDS} <= noxfile.PLAIN.keys()


def test_pins_of_the_gpu_build_equal_those_of_pytorch() -> None:
    """Both environments then contain the same CUDA files, shared by hard links."""
    folder = paths.root() / "requirements"
    pins = [
        {name: version for name, _, version in (line.partition(" ")[0].partition("==") for line in lines) if version}
        for lines in ((folder / f"{name}.txt").read_text().splitlines() for name in ("ort-cuda", "torch"))
    ]
    shared = {name for name in pins[0] if name.startswith("nvidia-")} & pins[1].keys()
    assert {"nvidia-cublas", "nvidia-cudnn-cu13", "nvidia-cuda-runtime"} <= shared
    assert {name: pins[0][name] for name in shared} == {name: pins[1][name] for name in shared}
