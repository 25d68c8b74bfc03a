"""The page of what has not run on a GPU lists every line that only a GPU can prove, and no other."""

from __future__ import annotations

import ast
import re

import pytest
from test_coreml_checklist import code_lines

from runoff import paths

PAGE = (paths.root() / "docs" / "cuda-checklist.md").read_text(encoding="utf-8")
FILES = {"cuda_driver.py": (), "ort_cuda.py": (), "target_torch.py": ("_CudaSession", "_cuda_lack")}
"""Of the last, only what is CUDA's."""
COMMANDS = set("ABCDEFG")


def rows_of(file: str) -> list[list[str]]:
    """Return the rows of the table of a file, in cells."""
    table = re.split(r"\n##+ ", PAGE.split(f"\n### {file}\n", 1)[1])[0]
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    return [re.split(r" (?<!\\)\| ", line.removeprefix("| ").removesuffix(" |")) for line in lines]


def code_of(file: str) -> list[str]:
    """Return the lines of code that the page has to list; strings that document a name are none."""
    source = (paths.runners() / file).read_text(encoding="utf-8")
    lines = code_lines(source)
    if FILES[file]:
        nodes = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
        parts = [ast.get_source_segment(source, nodes[name]) or "" for name in FILES[file]]
        lines = [line for part in parts for line in code_lines(part)]
    return [line for line in lines if not line.startswith('"""')]


@pytest.mark.parametrize("file", FILES)
def test_every_line_is_listed_and_no_other(file: str) -> None:
    listed = [line.replace("\\|", "|") for row in rows_of(file) for line in re.findall(r"`([^`]+)`", row[0])]
    assert sorted(listed) == sorted(code_of(file))


@pytest.mark.parametrize("file", FILES)
def test_every_row_says_what_is_believed_from_where_and_what_proves_it(file: str) -> None:
    for row in rows_of(file):
        assert len(row) == 4, row
        assert all(row), row
        assert set(re.findall(r"\b([A-Z])\b", row[3])) & COMMANDS, row


def test_every_command_is_there() -> None:
    assert set(re.findall(r"^\*\*([A-Z])\. ", PAGE, re.MULTILINE)) == COMMANDS
