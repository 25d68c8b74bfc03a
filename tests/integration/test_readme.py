"""The commands that the pages show work as they stand there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from documents import commands_of, run_as_written

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
