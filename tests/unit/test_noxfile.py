"""The noxfile's sessions fit together."""

from __future__ import annotations

import importlib.util
import inspect
from typing import TYPE_CHECKING

import nox.registry
import pytest

from runoff import paths

if TYPE_CHECKING:
    from pathlib import Path
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


class Speed:
    """A session that measures nothing: it adds a run to `folder`, unless it is None, and fails at the command `bad`."""

    def __init__(self, folder: Path | None, bad: str, *posargs: str) -> None:
        self.posargs = posargs
        self.commands: list[tuple[str, ...]] = []
        self._folder, self._bad = folder, bad

    def run(self, *command: str, **_: object) -> None:
        """Record a command."""
        self.commands.append(command)
        if self._bad in command:
            raise RuntimeError(self._bad)
        if "bench" in command and self._folder:
            (self._folder / "speed-new").mkdir(parents=True)
            (self._folder / "speed-new" / "gate.md").write_text("the new one")

    def error(self, message: str) -> None:
        """End the session."""
        raise RuntimeError(message)


@pytest.mark.parametrize("form", ["--results {}", "--results={}"])
def test_the_new_run_of_the_suite_speed_is_published_if_its_limits_hold(
    form: str, noxfile: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noxfile, "ROOT", tmp_path)
    (tmp_path / "results" / "reference" / "speed").mkdir(parents=True)
    for folder in (tmp_path / "results", tmp_path / "there"):
        (folder / "speed-older").mkdir(parents=True)
    speed = nox.registry.get()["speed"].func
    options = form.format(tmp_path / "there").split()
    session = Speed(tmp_path / "there", "", *options)
    speed(session)
    gate, published = session.commands[1:]
    assert (gate[1:3], published[-1]) == (("gate", str(tmp_path / "there" / "speed-new")), gate[2])
    assert (tmp_path / "results" / "reference" / "speed" / "gate.md").read_text() == "the new one"
    failing = Speed(tmp_path / "results", "gate")
    with pytest.raises(RuntimeError, match="gate"):
        speed(failing)
    assert len(failing.commands) == 2, "published, though a limit is exceeded"
    with pytest.raises(RuntimeError, match="no new run"):
        speed(Speed(None, "", *options))


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
