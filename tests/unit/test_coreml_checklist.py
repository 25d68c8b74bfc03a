"""The page of what has not run on a Mac lists every line of the one file that only a Mac can prove."""

from __future__ import annotations

import ast
import io
import re
import tokenize

from runoff import paths

PAGE = paths.root() / "docs" / "coreml-checklist.md"
NATIVE = paths.runners() / "coreml_native.py"
HEADING = "## coreml_native.py, line by line"


def code_lines(source: str) -> list[str]:
    """Return the lines of a Python file without comments, docstrings and indentation."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    texts = [node.body[0] for node in ast.walk(ast.parse(source)) if isinstance(node, documented)]
    left_out = {
        number
        for text in texts
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
        for number in range(text.lineno, (text.end_lineno or text.lineno) + 1)
    }
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            lines[token.start[0] - 1] = lines[token.start[0] - 1][: token.start[1]]
    kept = (line.strip() for number, line in enumerate(lines, 1) if number not in left_out)
    return [line for line in kept if line]


def listed_lines(page: str) -> list[list[str]]:
    """Return the code of the first column of each row of the page's table."""
    table = page.split(HEADING, 1)[1].split("\n## ", 1)[0]
    rows = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| `")]
    return [re.findall(r"`([^`]+)`", row) for row in rows]


def test_every_line_of_the_native_file_is_listed_and_no_other() -> None:
    listed = [line for row in listed_lines(PAGE.read_text(encoding="utf-8")) for line in row]
    there = code_lines(NATIVE.read_text(encoding="utf-8"))
    assert [line for line in there if line not in listed] == []
    assert [line for line in listed if line not in there] == []
    # a row holds lines that follow each other, or that are alike: few of them stand twice in the file
    assert len(listed) <= len(there)


def test_every_row_says_what_is_believed_from_where_and_what_proves_it() -> None:
    page = PAGE.read_text(encoding="utf-8")
    commands = set(re.findall(r"^\*\*([A-Z])\. ", page, re.MULTILINE))
    assert commands == set("ABCDEFG")
    table = page.split(HEADING, 1)[1].split("\n## ", 1)[0]
    for line in [line for line in table.splitlines() if line.startswith("| `")]:
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        assert len(cells) == 4, line
        assert all(cells), line
        assert set(re.findall(r"\b([A-Z])\b", cells[3])) & commands, line


def test_a_line_that_is_added_would_be_missed() -> None:
    source = NATIVE.read_text(encoding="utf-8")
    assert code_lines(source + "\nimport this  # why\n") == [*code_lines(source), "import this"]
    assert code_lines('def f():\n    """Words."""\n    # why\n    return 1\n') == ["def f():", "return 1"]


def test_the_file_stays_small() -> None:
    assert len(code_lines(NATIVE.read_text(encoding="utf-8"))) < 80
