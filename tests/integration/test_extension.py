"""The extension ``runoff_ort`` in its own environment, which has no test tools."""

from __future__ import annotations

import json
import subprocess
from functools import cache

import pytest
from extension_checks import CHECKS
from running import MODEL, environment

from machine import skip_because
from runoff import paths

ALONE = ("telemetry_is_not_opened", "import_brings_no_library", "a_panic_is_an_exception")
"""Checks of the first use of the extension in a process."""
TOGETHER = tuple(check.__name__ for check in CHECKS if check.__name__ not in ALONE)


@pytest.mark.parametrize("name", [*ALONE, *TOGETHER])
def test_extension(name: str) -> None:
    found = failures(*([name] if name in ALONE else TOGETHER))
    assert name not in found, found[name]


@cache
def failures(*names: str) -> dict[str, str]:
    """Run checks in one process, in the environment of the target ort-pyo3; return tracebacks by name."""
    python = paths.environments() / "ort-pyo3" / "bin" / "python"
    skip_because("" if python.exists() else "the extension's environment is not installed; run: nox -s ort-pyo3")
    program = paths.root() / "tests" / "integration" / "extension_checks.py"
    command = [str(python), str(program), str(paths.models() / MODEL), *names]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))
