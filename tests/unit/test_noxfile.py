"""The noxfile's sessions fit together."""

from __future__ import annotations

import importlib.util
import inspect
import subprocess
from typing import TYPE_CHECKING

import nox.registry
import pytest

from runoff import environments, paths
from runoff.records.errors import RunoffError

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


def module(file: str) -> ModuleType:
    """Return a script of the checkout as a module."""
    spec = importlib.util.spec_from_file_location("script_under_test", paths.root() / file)
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def noxfile() -> ModuleType:
    """Return the noxfile as a module."""
    return module("noxfile.py")


def test_sessions_that_others_need_take_no_arguments(noxfile: ModuleType) -> None:  # noqa: ARG001 (registers them)
    """Nox hands the arguments to every session that it runs, not only to the requested one."""
    sessions = nox.registry.get()
    needed = {name for session in sessions.values() for name in session.requires or ()}
    assert {"export", "build", "extension"} <= needed <= sessions.keys()
    # before a release all tests run, whatever was requested
    needed.discard("tests")
    assert [name for name in sorted(needed) if "posargs" in inspect.getsource(sessions[name].func)] == []


@pytest.mark.parametrize("form", ["--results {}", "--results={}"])
def test_the_new_run_of_the_suite_speed_is_published_if_its_limits_hold(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = module("suites/speed/measure.py")
    monkeypatch.setenv("RUNOFF_RESULTS", str(tmp_path / "results"))
    for folder in (tmp_path / "results", tmp_path / "there"):
        (folder / "speed-older").mkdir(parents=True)
    commands: list[tuple[str, ...]] = []
    failing, measured = "", tmp_path / "there"

    def run(*command: str) -> None:
        commands.append(command)
        if failing in command:
            raise subprocess.CalledProcessError(1, command)
        if "bench" in command and "speed-new" not in [path.name for path in measured.iterdir()]:
            (measured / "speed-new").mkdir()

    monkeypatch.setattr(script, "run", run)
    options = form.format(tmp_path / "there").split()
    script.main(options)
    gate, published = commands[1:]
    assert (gate[1:3], published[-1]) == (("gate", str(tmp_path / "there" / "speed-new")), gate[2])
    assert gate[-2:] == ("--summary", str(tmp_path / "there" / "speed-new" / "gate.md")), "publishing copies it"
    with pytest.raises(SystemExit, match="no new run"):
        script.main(options)
    failing, measured = "gate", tmp_path / "results"
    commands.clear()
    with pytest.raises(subprocess.CalledProcessError):
        script.main([])
    assert len(commands) == 2, "published, though a limit is exceeded"


@pytest.mark.parametrize(("variable", "wanted"), [("1", True), ("0", False), ("", False)])
def test_the_variable_selects_the_gpu_build(
    variable: str,
    wanted: bool,  # noqa: FBT001 (a parameter)
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RUNOFF_CUDA", variable)
    assert environments._pins("ort-python").stem == ("ort-cuda" if wanted else "ort-python")
    assert environments._pins("torch").stem == "torch"


def test_every_environment_has_its_pins(noxfile: ModuleType) -> None:
    """Check the table, and the sessions that install additional packages."""
    sessions = nox.registry.get()
    installed = {*noxfile.PLAIN, "coreml", "webnn", "webnn-rust", "build", "wheel"}
    assert installed <= sessions.keys()
    assert [name for name in sorted(installed) if not paths.requirements(name).is_file()] == []
    assert {*environments._EDITABLE, *environments._WITH_EXTENSION, *noxfile.NEEDS} <= noxfile.PLAIN.keys()
    assert environments.ENVIRONMENTS.keys() <= installed


def test_an_environment_is_synced_again_only_after_its_pins_or_its_wheel_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a checkout, the environment is the one that nox has created."""
    commands: list[list[str]] = []
    fails = False

    def uv(_name: str, _folder: Path, command: list[str], _lock: int) -> None:
        commands.append(command)
        if fails:
            raise RunoffError("failed")

    def synced(content: str) -> list[str]:
        wheel.write_text(content)
        commands.clear()
        environments.install("ort-pyo3", tmp_path / "environment", lambda _: None)
        return [command[1] for command in commands]

    monkeypatch.setattr(environments, "_uv", uv)
    monkeypatch.setenv("RUNOFF_HOME", str(tmp_path))
    python, wheel = tmp_path / "environment" / "bin" / "python", tmp_path / "wheels" / "runoff_ort-1-py3-none-any.whl"
    for file in (python, wheel):
        file.parent.mkdir(parents=True)
        file.touch()
    assert [synced(content) for content in ("first", "first", "second")] == [
        ["sync", "install"],
        [],
        ["sync", "install"],
    ]
    fails = True
    with pytest.raises(RunoffError):
        synced("third")
    fails = False
    assert synced("second") == ["sync", "install"], "a failed sync counts as done"


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
