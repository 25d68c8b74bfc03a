"""The commands that the pages show work as they stand there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from documents import commands_of, python_of, run_as_written

from runoff import paths

if TYPE_CHECKING:
    from pathlib import Path

README = paths.root() / "README.md"


def test_there_are_tested_commands() -> None:
    assert commands_of(README), "mark console blocks with a line <!-- tested -->"


@pytest.mark.parametrize("command", commands_of(README))
@pytest.mark.usefixtures("complete")
def test_a_command_of_the_readme(command: str, tmp_path: Path) -> None:
    done = run_as_written(command, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("text", python_of(README))
def test_python_of_the_readme(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(paths.root())
    names: dict[str, object] = {}
    exec(text, names)  # noqa: S102 (what the page tells its readers to do)
    assert len(names["samples"]) > 0  # type: ignore[arg-type]


def test_there_is_python_of() -> None:
    assert python_of(README)
