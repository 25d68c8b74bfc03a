"""The checklists for a GPU and a Mac: every assumption names a command of the page."""

from __future__ import annotations

import re

import pytest

from runoff import paths


@pytest.mark.parametrize("name", ["cuda", "coreml"])
def test_every_assumption_names_a_command(name: str) -> None:
    page = (paths.root() / "docs" / f"{name}-checklist.md").read_text(encoding="utf-8")
    commands = set(re.findall(r"^\*\*([A-Z])\. ", page, re.MULTILINE))
    assert commands == set("ABCDEFG")
    rows = [re.split(r" (?<!\\)\| ", line.strip("| ")) for line in page.splitlines() if line.startswith("| `")]
    assert rows
    for row in rows:
        assert all(row), row
        named = set(re.findall(r"\b([A-Z])\b", row[-1]))
        assert named & commands or "test" in row[-1] or "runoff" in row[-1] or "Rust" in row[-1], row
