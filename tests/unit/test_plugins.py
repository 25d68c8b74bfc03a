"""Targets of installed packages: found by their entry point, late; a broken one is a line that names its package."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import runoff_tract
from runoff import environments, paths
from runoff.cli.listing import _targets
from runoff.cli.setup import _environments
from runoff.environments import describe, find_environment
from runoff.measure import discovery
from runoff.plan.suite import CustomTarget
from runoff.plugins import GROUP, plugins
from runoff.records.errors import RunoffError
from runoff.targets import BUILT_IN, all_targets, find_targets, make_all_targets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODULES = {
    "working": """
from runoff.plugins import Environment, Plugin
from runoff.plan.target import Target
def plugin():
    make = lambda: Target(name="mine", command=("/bin/true",))
    return Plugin({"mine": make, "torch": make}, {"mine": Environment("mine", 7)})
""",
    "raising": "def plugin():\n    raise ValueError('the engine\\nis not here')\n",
    "missing": "import no_such_module_at_all\n",
    "failing": """
from runoff.plugins import Plugin
def plugin():
    return Plugin({"its-target": lambda: 1 / 0}, {})
""",
    "wrong": "def plugin():\n    return {'mine': None}\n",
}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Return a function that installs a plug-in of `MODULES`."""

    def add(name: str) -> None:
        (tmp_path / f"{name}_plugin.py").write_text(MODULES[name])
        info = tmp_path / f"{name}_plugin-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-plugin\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {name}_plugin:plugin\n")

    monkeypatch.syspath_prepend(tmp_path)
    plugins.cache_clear()
    yield add
    plugins.cache_clear()
    for name in MODULES:
        sys.modules.pop(f"{name}_plugin", None)


def test_a_target_of_a_plugin_is_found_by_name(install: Callable[[str], None], tmp_path: Path) -> None:
    install("working")
    assert find_targets(["mine"], {}, tmp_path)["mine"].command == ("/bin/true",)
    assert "mine" in all_targets()
    assert find_environment("mine") is not None
    table = CustomTarget(command=("python", "-c", "pass"), environment="mine")
    assert find_targets(["own"], {"own": table}, tmp_path)["own"].command == ("/bin/true", "-c", "pass")


def test_a_plugin_does_not_replace_a_built_in_target(install: Callable[[str], None], tmp_path: Path) -> None:
    install("working")
    assert find_targets(["torch"], {}, tmp_path)["torch"].command[0] != "/bin/true"
    assert all_targets()["torch"] is BUILT_IN["torch"]


def test_built_in_names_load_no_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins.cache_clear()
    monkeypatch.setattr(metadata, "entry_points", lambda **_: pytest.fail("looked for plug-ins"))
    find_targets(["ort-python", "torch@new"], {}, tmp_path)
    assert environments.setup_command("torch")
    assert describe("torch")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("raising", "the engine is not here"),
        ("missing", "No module named 'no_such_module_at_all'"),
        ("wrong", "wrong_plugin:plugin returns dict, not a runoff.plugins.Plugin"),
    ],
)
def test_a_broken_plugin_is_one_line_that_names_its_package(
    name: str, words: str, install: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(name)
    install("working")
    line = f"plug-in {name}-plugin is broken: {words}"
    assert plugins().broken == {f"{name}-plugin": line}
    assert "mine" in all_targets(), "the other one works"
    with pytest.raises(RunoffError) as caught:
        find_targets(["its-target"], {}, tmp_path)
    assert caught.value.hint.startswith(line)
    monkeypatch.setattr(discovery, "discover", lambda _targets, _spawner: {})
    (row,) = _targets()
    assert (row["target"], row["runtime"]) == (f"{name}-plugin", f"unavailable: {line}")


def test_a_target_that_cannot_be_made_is_unavailable(install: Callable[[str], None]) -> None:
    install("failing")
    missing = make_all_targets()["its-target"].missing
    assert missing is not None
    assert missing.message == "its plug-in is broken: division by zero"


def test_the_plugin_for_tract_is_installed_with_its_pins() -> None:
    environment = find_environment("tract")
    assert environment is not None
    assert environment.pins == Path(runoff_tract.__file__).with_name("requirements.txt")
    assert environments._pins("tract") == environment.pins
    assert describe("tract").startswith("tract: tract 0.23")
    assert _environments("tract-python") == ("tract",)


def test_the_runner_of_a_plugin_is_a_file_outside_the_path_of_the_process() -> None:
    target = find_targets(["tract-python"], {}, Path())["tract-python"]
    python, *_, program, runner = target.command
    assert python == str(paths.environments() / "tract" / "bin" / "python")
    assert program == str(paths.runners() / "runner.py")
    assert runner == str(Path(runoff_tract.__file__).with_name("target_tract.py"))
    assert target.env["PYTHONPATH"] == str(paths.runners().parent)


def test_pins_of_a_plugin_are_given_to_the_program_that_nox_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nox's own interpreter has no plug-ins."""
    commands: list[list[str]] = []
    monkeypatch.setattr(environments, "_uv", lambda _name, _folder, command, _lock: commands.append(command))
    monkeypatch.setattr(environments, "ENVIRONMENTS", {})
    pins = tmp_path / "requirements.txt"
    pins.write_text("engine==1.0 --hash=sha256:00\n")
    (tmp_path / "engine").mkdir()
    assert environments.main("engine", tmp_path / "engine", pins) == 0
    assert commands == [["pip", "sync", "--require-hashes", str(pins)]]


def test_the_page_quotes_the_files_of_the_example() -> None:
    page = (paths.root() / "docs" / "add-an-engine.md").read_text(encoding="utf-8")
    quoted = dict(re.findall(r"^`(python/\S+)`:\n\n```\w+\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    assert [Path(name).name for name in quoted] == ["pyproject.toml", "__init__.py"]
    for name, text in quoted.items():
        assert text == (paths.root() / name).read_text(encoding="utf-8")
