"""Environments made by uv from pins with hashes: once, by one process, and completely."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import zipfile
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from runoff import __version__, environments, paths
from runoff.cli.setup import clean, setup
from runoff.environments import ENVIRONMENTS, ensure_environments
from runoff.plan.suite import parse_suite
from runoff.records.errors import ExitCode, RunoffError
from runoff.targets import BUILT_IN, needed_environments

if TYPE_CHECKING:
    from pathlib import Path

NAME, PACKAGE = "hyperfine", "astral_dev_toolchain_hyperfine"
NOWHERE = "http://127.0.0.1:9/simple"
CHECKOUT = paths.root()


def make_wheel(folder: Path, text: str = "first") -> None:
    """Write a wheel of one module into `folder`, and the pin that it has as the only file of requirements."""
    wheel, info = folder / f"{PACKAGE}-2.0.0-py3-none-any.whl", f"{PACKAGE}-2.0.0.dist-info"
    files = {
        f"{PACKAGE}.py": f"TEXT = {text!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 2.0.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(content)}")
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr(f"{info}/RECORD", "\n".join([*lines, f"{info}/RECORD,,", ""]))
    (folder / "requirements").mkdir(exist_ok=True)
    pin = f"{PACKAGE.replace('_', '-')}==2.0.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
    (folder / "requirements" / f"{NAME}.txt").write_text(pin)


def test_npm_runs_no_scripts_and_downloads_only_pinned_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(environments, "_run", lambda *call: calls.append((call[1], call[3])))
    environments._npm("web", tmp_path, 0)
    ((command, variables),) = calls
    assert {"ci", "--ignore-scripts"} <= set(command)
    assert variables["ONNXRUNTIME_NODE_INSTALL"] == "skip"
    lock = json.loads((tmp_path / "web" / "package-lock.json").read_bytes())["packages"]
    pinned = json.loads((tmp_path / "web" / "package.json").read_bytes())["dependencies"]
    assert {name: lock[f"node_modules/{name}"]["version"] for name in pinned} == pinned
    packages = [package for name, package in lock.items() if name]
    assert all("integrity" in package and "resolved" not in package for package in packages)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a runoff that is no checkout, with the pins and the wheel of one environment."""
    root = tmp_path / "a folder"
    root.mkdir()
    make_wheel(root)
    for name in ("RUNOFF_ENVS", "RUNOFF_BIN", "RUNOFF_RESULTS", "UV_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RUNOFF_ROOT", str(root))
    monkeypatch.setenv("RUNOFF_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    settings = {"UV_NO_INDEX": "1", "UV_HTTP_RETRIES": "0", "UV_FIND_LINKS": root.name, "UV_PYTHON": "/nowhere/python"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return root


def text_in(folder: Path) -> str:
    """Return what the module says that is installed in an environment."""
    command = [str(folder / "bin" / "python"), "-c", f"import {PACKAGE}; print({PACKAGE}.TEXT)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def ensure() -> list[str]:
    """Make the environment; return what was announced."""
    said: list[str] = []
    ensure_environments([NAME, NAME], said.append)
    return said


def test_an_environment_is_made_once_and_again_when_its_pins_change(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = paths.environments() / NAME
    assert ensure() == ["installing hyperfine: hyperfine 2.0.0, 2 MB"]
    assert text_in(folder) == "first"
    make_wheel(installed, "second")
    assert len(ensure()) == 1
    assert text_in(folder) == "second"
    monkeypatch.setattr(environments, "_uv", None)
    began = time.perf_counter()
    assert ensure() == []
    assert time.perf_counter() - began < 0.05
    shutil.rmtree(folder / "bin")
    with pytest.raises(TypeError, match="not callable"):
        ensure()


def start() -> subprocess.Popen[str]:
    """Start a process that makes the environment."""
    command = [sys.executable, "-m", "runoff.environments", NAME, str(paths.environments() / NAME)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


@pytest.mark.usefixtures("installed")
def test_of_two_processes_one_installs() -> None:
    both = [start(), start()]
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sum("installing" in output for output in outputs) == 1, outputs
    assert text_in(paths.environments() / NAME) == "first"


@pytest.mark.usefixtures("installed")
def test_a_killed_installation_is_done_again() -> None:
    folder = paths.environments() / NAME
    killed = start()
    deadline = time.monotonic() + 30
    while not folder.exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    # uv, killed too, keeps the lock until the kernel has ended it
    with folder.with_name(f".{NAME}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
    assert not (folder / ".installed").exists()
    assert len(ensure()) == 1
    assert text_in(folder) == "first"


def failure() -> RunoffError:
    """Return the error of an installation that fails."""
    with pytest.raises(RunoffError) as caught:
        ensure()
    assert "\n" not in caught.value.message
    assert not (paths.environments() / NAME / ".installed").exists()
    return caught.value


@pytest.mark.usefixtures("installed")
def test_without_network_the_error_names_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV_FIND_LINKS")
    monkeypatch.delenv("UV_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", NOWHERE)
    error = failure()
    assert error.message.startswith("cannot install hyperfine: ")
    assert f"{NOWHERE}/astral-dev-toolchain-hyperfine/" in error.message
    assert error.message.endswith("Connection refused (os error 111)")
    assert error.hint.endswith("then run: runoff setup hyperfine")
    assert error.code == ExitCode.NOTHING_RUNS_HERE


@pytest.mark.usefixtures("installed")
def test_an_environment_may_need_another_python(monkeypatch: pytest.MonkeyPatch) -> None:
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    for version, hint in (("3.99", "install Python 3.99, then run: runoff setup hyperfine"), (here, "")):
        monkeypatch.setitem(ENVIRONMENTS, NAME, ENVIRONMENTS[NAME]._replace(python=version))
        monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
        if hint:
            error = failure()
            assert error.hint == hint
            assert "3.99" in error.message
        else:
            assert len(ensure()) == 1
            assert (paths.environments() / NAME / "bin" / f"python{version}").exists()


def test_other_content_than_pinned_is_refused(installed: Path) -> None:
    pins = (installed / "requirements" / f"{NAME}.txt").read_text()
    make_wheel(installed, "second")
    (installed / "requirements" / f"{NAME}.txt").write_text(pins)
    assert "ash" in failure().message


@pytest.mark.usefixtures("installed")
def test_without_space_nothing_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    assert re.fullmatch(r"hyperfine needs 2 MB in /.*, which has 1 MB left", failure().message)


@pytest.mark.usefixtures("installed")
def test_a_home_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RUNOFF_HOME", str(tmp_path / "file"))
    with pytest.raises(RunoffError, match=r"Not a directory.*set RUNOFF_HOME to another folder"):
        ensure()


@pytest.mark.usefixtures("installed")
def test_setup_and_clean(capsys: pytest.CaptureFixture[str]) -> None:
    setup((NAME,))
    assert "ready: hyperfine (" in capsys.readouterr().out
    for folder in (paths.prepared(), paths.models()):
        folder.mkdir()
        (folder / "file").write_bytes(bytes(3 * 10**6))
    clean(everything=False)
    assert re.search(r"removed [345] MB from ", capsys.readouterr().out)
    assert [path.name for path in paths.home().iterdir()] == ["models"]
    clean(everything=True)
    assert "removed 3 MB from" in capsys.readouterr().out
    clean(everything=True)
    setup(("null-python",))
    assert capsys.readouterr().out.endswith(
        "removed 0 MB from " + f"{paths.home()}\nnothing to install for null-python on this machine\n"
    )
    with pytest.raises(RunoffError, match=r"unknown target 'hyperfin' \(did you mean 'hyperfine'"):
        setup(("hyperfin",))


@pytest.mark.usefixtures("installed")
def test_hints_name_the_command_of_an_installed_runoff() -> None:
    hints = {name: make().missing for name, make in BUILT_IN.items()}
    assert hints["ort-rust"]
    assert hints["ort-rust"].hint in ("run: pip install runoff-programs runoff-capi", "run: runoff setup ort-python")
    for name, environment in {"torch-export": "torch", "ort-pyo3": "ort-pyo3"}.items():
        assert str(hints[name]).endswith(f"(run: runoff setup {environment})")


def test_in_a_checkout_nox_makes_them() -> None:
    said: list[str] = []
    ensure_environments(ENVIRONMENTS, said.append)
    assert said == []
    with pytest.raises(RunoffError, match=r"run: nox -s ort-python hyperfine\)$"):
        setup(("ort-rust", "ort-python", "hyperfine"))


def test_gigabytes_are_installed_only_for_a_suite_of_the_user(tmp_path: Path) -> None:
    text = (paths.suites() / "quick.toml").read_text()
    quick = parse_suite(text, "quick")
    light = {"ort-python", "ort-pyo3", "hyperfine"}
    assert set(needed_environments(quick, paths.suites())) == light
    assert set(needed_environments(quick, tmp_path)) == light | {"torch"}


def test_the_announcement_of_torch_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNOFF_TORCH_INDEX", raising=False)
    assert re.fullmatch(r"torch: torch [\d.]+, 5\.5 GB; RUNOFF_TORCH_INDEX=URL .*", environments.describe("torch"))
    monkeypatch.setenv("RUNOFF_TORCH_INDEX", "http://index")
    for name in ("torch", "export"):
        assert "from http://index" in environments.describe(name)
    monkeypatch.setenv("RUNOFF_CUDA", "1")
    assert "onnxruntime-gpu" in environments.describe("ort-python")


def test_every_wheel_has_the_version_of_runoff() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    cargo = tomllib.loads((CHECKOUT / "Cargo.toml").read_text())["workspace"]["package"]
    assert project["version"] == cargo["version"] == __version__
    exact = [line for line in project["dependencies"] if "==" in line.partition(";")[0]]
    assert [line.partition(";")[0] for line in exact] == [
        f"runoff-{name}=={__version__}" for name in ("capi", "programs")
    ]
