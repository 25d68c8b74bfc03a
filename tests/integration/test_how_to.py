"""The how-to for bringing a runner: its program equals the file, its commands work as written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest
from documents import blocks, commands_of, run_as_written
from running import only_run

from runoff import paths

if TYPE_CHECKING:
    import subprocess

    Answers = tuple[Path, dict[str, subprocess.CompletedProcess[str]]]

PROTOCOL = paths.root() / "protocol"
PAGE = PROTOCOL / "bring-your-own-runner.md"
EXAMPLES = PROTOCOL / "examples"


def schema(name: str) -> dict[str, object]:
    return dict(json.loads((PROTOCOL / f"{name}.schema.json").read_text()))


def test_the_page_quotes_the_files_verbatim() -> None:
    assert blocks(PAGE, "sh") == [(EXAMPLES / "runner.sh").read_text()]
    assert blocks(PAGE, "toml") == [(EXAMPLES / "suite.toml").read_text()]
    assert os.access(EXAMPLES / "runner.sh", os.X_OK)


def test_its_links_resolve() -> None:
    targets = [part.split(")")[0] for part in PAGE.read_text().split("](")[1:]]
    assert [target for target in targets if not (PROTOCOL / target).exists()] == []


@pytest.fixture(scope="module")
def answers(complete: None, tmp_path_factory: pytest.TempPathFactory) -> Answers:  # noqa: ARG001 (checked before)
    """Return the folder of the run, and the outcome of each command of the page."""
    folder = tmp_path_factory.mktemp("how-to")
    return folder, {command: run_as_written(command, folder) for command in commands_of(PAGE)}


def test_its_commands_work_as_written(
    answers: Answers,
) -> None:
    _, ended = answers
    assert len(ended) == 4
    for command, done in ended.items():
        assert done.returncode == 0, command + done.stdout + done.stderr
    probe, once, shown, _ = ended.values()
    assert once.stdout == ""
    jsonschema.validate(json.loads(probe.stdout), schema("capabilities"))
    jsonschema.validate(json.loads(shown.stdout), schema("result"))


@pytest.mark.usefixtures("hyperfine")
def test_the_runner_is_measured_with_the_others(
    answers: Answers,
) -> None:
    folder, _ = answers
    run = only_run(folder)
    for target in ("mine", "ort-python"):
        for probe in ("process", "life"):
            records = [one for one in run.records if one.probe == probe and f".{target}." in one.case]
            assert [record.status for record in records] == ["ok"] * 3
    assert run.info.capabilities["mine"].language == "shell"
    assert Path(run.folder / "report.md").read_text().count("mine") > 1
