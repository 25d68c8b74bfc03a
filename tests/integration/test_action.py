"""The steps of ``action.yml``, run as they stand in a fresh repository: a slower change fails, an equal one passes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from running import MODEL, RUNOFF, environment

from machine import thorough
from runoff import paths

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.clock, thorough]

ACTION = paths.root() / "action.yml"
CALL = "        return dict(zip(names, self._session.run(names, feed), strict=True))\n"
TWICE = "        self._session.run(names, feed)\n"
SUITE = f"""
[suite]
name = "pull-request"
models = ["{MODEL}"]
targets = ["base", "change"]
baselines = ["base"]
workloads = ["tensor"]
probes = ["latency"]
[measure.blocks]
latency = 3
[measure.latency]
min_samples = 20
[targets.base]
environment = "ort-python"
command = ["python", "../../base/runner.py"]
[targets.change]
environment = "ort-python"
command = ["python", "../runner.py"]
"""
LIMITS = '[[limit]]\nfail_on = "latency.median > +50%"\ntargets = ["change"]\n'


def steps() -> list[str]:
    """Return the commands of the action."""
    lines = re.findall(r"\brun: (.+?)(?:\}|, env: .*)?$", ACTION.read_text(), re.MULTILINE)
    return [json.loads(line) if line.startswith('"') else line for line in lines]


def git(repository: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=ann", "-c", "user.email=ann@example.com")
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository with a runner, a suite and limits, whose base is committed."""
    folder = tmp_path / "a folder" / "service"
    shutil.copytree(paths.root() / "docs" / "gate", folder)
    (folder / "ci").mkdir()
    (folder / "ci" / "suite.toml").write_text(SUITE)
    (folder / "ci" / "gate.toml").write_text(LIMITS)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "Base")
    return folder


@pytest.mark.usefixtures("complete")
@pytest.mark.parametrize(("slower", "code", "outcome"), [(True, 1, "**exceeded**"), (False, 0, "passed")])
def test_the_action(*, slower: bool, code: int, outcome: str, repository: Path, tmp_path: Path) -> None:
    base = git(repository, "rev-parse", "HEAD")
    service = repository / "service.py"
    if slower:
        service.write_text(service.read_text().replace(CALL, TWICE + CALL))
    summary = tmp_path / "summary.md"
    env = environment(
        PATH=f"{RUNOFF.parent}{os.pathsep}{os.environ['PATH']}",
        RUNNER_TEMP=str(tmp_path),
        GITHUB_STEP_SUMMARY=str(summary),
        BASE=base,
        SUITE="ci/suite.toml",
        LIMITS="ci/gate.toml",
    )
    shell = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c"]
    ended = [subprocess.run([*shell, step], cwd=repository, env=env, check=False).returncode for step in steps()]
    assert ended == [0, 0, 0, code]
    assert outcome in summary.read_text()
