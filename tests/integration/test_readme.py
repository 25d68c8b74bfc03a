"""The tested commands of the README and docs/ work as written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from documents import commands_of, python_of, run_as_written

from machine import FULL
from runoff import paths

if TYPE_CHECKING:
    from pathlib import Path

README = paths.root() / "README.md"
OTHERS = {"history.md", "pytest.md"}
"""Tested by test_history_process.py, as its commands need runs of several days, and by test_pytest_fixture.py."""
PAGES = [README, *(page for page in sorted((paths.root() / "docs").glob("*.md")) if page.name not in OTHERS)]


def test_there_are_tested_commands() -> None:
    assert commands_of(README), "mark console blocks with a line <!-- tested -->"
    assert any(python_of(page) for page in PAGES)


@pytest.mark.parametrize("command", [command for page in PAGES for command in commands_of(page)])
@pytest.mark.usefixtures("complete")
def test_a_command_of_a_page(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not FULL:
        # some commands query every target, and those on PyTorch take seconds to start
        for name in ("runoff", "ort-python"):
            (tmp_path / name).symlink_to(paths.environments() / name)
        monkeypatch.setenv("RUNOFF_ENVS", str(tmp_path))
    done = run_as_written(command, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("text", [text for page in PAGES for text in python_of(page)])
def test_python_of_a_page(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(paths.root())
    names: dict[str, object] = {}
    exec(text, names)  # noqa: S102 (what the page tells its readers to do)
    assert len(names["samples"]) > 0  # type: ignore[arg-type]
