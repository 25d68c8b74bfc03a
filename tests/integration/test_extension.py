"""The extension ``runoff_ort`` in its own environment, where no test tool is installed."""

from __future__ import annotations

import subprocess

import pytest
from extension_checks import CHECKS
from running import MODEL, environment

from runoff import paths


@pytest.mark.parametrize("name", [check.__name__ for check in CHECKS])
def test_extension(name: str) -> None:
    python = paths.environments() / "ort-pyo3" / "bin" / "python"
    assert python.exists(), "its environment is not made; run: nox -s ort-pyo3"
    program = str(paths.root() / "tests" / "integration" / "extension_checks.py")
    done = subprocess.run(
        [python, program, name, paths.models() / MODEL], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
