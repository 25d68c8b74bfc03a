"""The extension ``runoff_ort`` in its own environment, which has no test tools."""

from __future__ import annotations

import json
import subprocess
import tomllib

import pytest
from extension_checks import CHECKS
from running import MODEL, environment

from machine import skip_because
from runoff import paths

# decided by a program, not by a session
OF_PROGRAMS = {"prepared", "overlap", "teardown"}


@pytest.mark.parametrize("name", [check.__name__ for check in CHECKS])
def test_extension(name: str) -> None:
    check(name)


def test_profiles_equal_the_files() -> None:
    folder = paths.root() / "python" / "runoff" / "profiles"
    files = {file.stem: tomllib.loads(file.read_text(encoding="utf-8")) for file in folder.glob("*.toml")}
    expected = {
        name: {key: value for key, value in settings.items() if key not in OF_PROGRAMS}
        for name, settings in files.items()
    }
    assert json.loads(check("profiles_are_printed")) == expected


def check(name: str) -> str:
    """Run one check in the environment of the target ort-pyo3; return its output."""
    python = paths.environments() / "ort-pyo3" / "bin" / "python"
    skip_because("" if python.exists() else "the extension's environment is not installed; run: nox -s ort-pyo3")
    program = str(paths.root() / "tests" / "integration" / "extension_checks.py")
    done = subprocess.run(
        [python, program, name, paths.models() / MODEL], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
