"""The tested commands of a page."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

from running import environment

from runoff import paths

if TYPE_CHECKING:
    from pathlib import Path

_TESTED = re.compile(r"^<!-- tested -->\n+```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)

_TESTED_PYTHON = re.compile(r"^<!-- tested -->\n+```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands_of(page: Path) -> list[str]:
    """Return the ``$`` lines of the console blocks that follow ``<!-- tested -->``, in order.

    A line that ends in a backslash continues on the next line.
    """
    blocks = _TESTED.findall(page.read_text(encoding="utf-8"))
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def python_of(page: Path) -> list[str]:
    """Return the texts of the Python blocks that follow ``<!-- tested -->``."""
    return _TESTED_PYTHON.findall(page.read_text(encoding="utf-8"))


def blocks(page: Path, language: str) -> list[str]:
    """Return the texts of the page's fenced blocks in `language`."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def run_as_written(command: str, results: Path) -> subprocess.CompletedProcess[str]:
    """Run `command` in the checkout, with runoff on the PATH; runs are written to `results`."""
    path = f"{paths.environments() / 'runoff' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["sh", "-c", command],
        env=environment(PATH=path, RUNOFF_RESULTS=str(results)),
        cwd=paths.root(),
        capture_output=True,
        text=True,
        check=False,
    )
