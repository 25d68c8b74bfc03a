"""Wheels are built, required and installed for the same platforms; uv resolves them without such machines."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from runoff import __version__, environments, paths

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

RUST_WHEELS = {"runoff-capi": "py3-none", "runoff-programs": "py3-none", "runoff-ort": "cp310-abi3"}
# uv's name of a platform, and what it is in rust/wheel.py
PUBLISHED = {
    "x86_64-manylinux_2_28": ("linux", "x86_64"),
    "aarch64-manylinux_2_28": ("linux", "aarch64"),
    "aarch64-apple-darwin": ("darwin", "arm64"),
}
OTHERS = ("x86_64-apple-darwin", "x86_64-pc-windows-msvc", "riscv64-unknown-linux")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """Return rust/wheel.py as a module."""
    spec = importlib.util.spec_from_file_location("wheel_script", paths.root() / "rust" / "wheel.py")
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def project(folder: str) -> dict[str, Any]:
    """Return the table [project] of a pyproject.toml."""
    text = (paths.root() / folder / "pyproject.toml").read_text()
    return dict(tomllib.loads(text)["project"])


def make_wheel(folder: Path, name: str, tag: str, requires: list[str]) -> None:
    """Write a wheel without modules."""
    stem, python = name.replace("-", "_") + f"-{__version__}", project("")["requires-python"]
    lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {__version__}\nRequires-Python: {python}"]
    files = {
        "METADATA": "\n".join([*lines, *(f"Requires-Dist: {line}" for line in requires), ""]),
        "WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{stem}-{tag}.whl", "w") as archive:
        for file, content in files.items():
            archive.writestr(f"{stem}.dist-info/{file}", content)


@pytest.fixture(scope="module")
def wheels(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of wheels as they are published: runoff with its own dependencies, the others with their tags."""
    folder = tmp_path_factory.mktemp("wheels")
    own = [line for line in project("")["dependencies"] if line.startswith("runoff-")]
    make_wheel(folder, "runoff", "py3-none-any", own)
    for (_, machine), oldest in script.PLATFORMS.items():
        for name, python in RUST_WHEELS.items():
            make_wheel(folder, name, f"{python}-{oldest}_{machine}", [])
    return folder


def resolve(wheels: Path, platform: str, *names: str) -> subprocess.CompletedProcess[str]:
    """Resolve packages for a platform from the folder alone."""
    offline = ("--no-index", "--no-config", "--find-links", str(wheels), "--only-binary", ":all:")
    where = ("--python-platform", platform, "--python", sys.executable, "--target", str(wheels / "target"))
    command = [environments.find_uv(), "pip", "install", "--dry-run", *offline, *where, *names]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def installed(resolved: subprocess.CompletedProcess[str]) -> set[str]:
    """Return the names of the packages that would be installed."""
    assert resolved.returncode == 0, resolved.stderr
    return set(re.findall(r"^ \+ ([a-z-]+)==", resolved.stderr, re.MULTILINE))


@pytest.mark.parametrize("platform", PUBLISHED)
def test_runoff_brings_the_programs_where_they_are_published(wheels: Path, platform: str) -> None:
    assert installed(resolve(wheels, platform, "runoff")) == {"runoff", "runoff-capi", "runoff-programs"}
    assert installed(resolve(wheels, platform, "runoff-ort")) == {"runoff-ort"}


@pytest.mark.parametrize("platform", OTHERS)
def test_elsewhere_runoff_installs_without_them(wheels: Path, platform: str) -> None:
    assert installed(resolve(wheels, platform, "runoff")) == {"runoff"}
    assert "no wheels with a matching" in resolve(wheels, platform, "runoff-ort").stderr


def test_an_older_glibc_takes_no_wheel(wheels: Path) -> None:
    assert resolve(wheels, "aarch64-manylinux_2_17", "runoff-ort").returncode != 0


def test_environments_are_made_where_wheels_are_published(script: ModuleType) -> None:
    assert set(script.PLATFORMS) == set(PUBLISHED.values()) == environments.WHEEL_PLATFORMS


def test_a_machine_without_published_wheels_builds_none(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    monkeypatch.setattr("sys.argv", ["wheel.py", "/nowhere"])
    assert script.main() == script.UNAVAILABLE
    assert capsys.readouterr().out == f"no wheels are published for {sys.platform} on riscv64\n"


@pytest.mark.parametrize("crate", ["runoff-py", "runoff-ort", "runoff-capi"])
def test_every_wheel_names_its_systems(crate: str) -> None:
    systems = {"Operating System :: MacOS", "Operating System :: POSIX :: Linux"}
    assert systems <= set(project(f"rust/{crate}")["classifiers"])
    assert systems <= set(project("")["classifiers"])
