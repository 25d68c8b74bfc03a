"""``runoff bisect``: bad input, and a real search over releases of ONNX Runtime from the index."""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest
from running import MODEL, only_run, runoff

from machine import thorough
from onnx_models import linear
from runoff import paths
from runoff.targets import find_targets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from running import Ended


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("onnxruntim", "1.31..1.32", MODEL), "no target is known to need the package 'onnxruntim'"),
        (("onnxruntime", "new..old", MODEL), "'new..old' is no release"),
        (("onnx", "1.20.0,1.21.0", MODEL), "no target runs on onnx"),
        (("onnxruntime", "1.32.0,1.32.0", MODEL), "1 found, at least 2 are needed"),
        (("onnxruntime", "1.32.0", MODEL), "1 found, at least 2 are needed"),
        (("onnxruntime", "1.31.0,1.32.0", MODEL, "--target", "torch"), "torch does not run on onnxruntime"),
        (("onnxruntime", "1.31.0,1.32.0", MODEL, "--target", "ort-pyton"), "unknown target 'ort-pyton'"),
        (("onnxruntime", "1.31.0,1.32.0", "nowhere.onnx"), "nowhere.onnx"),
        (("onnxruntime", "1.31.0,1.32.0", MODEL, "--command", "x"), "--command and --build are for a folder"),
        (("./nowhere", "v1..v2", MODEL, "--command", "x"), "no such folder: ./nowhere"),
        (("/", "v1..v2", MODEL), "/: which program is the runner?"),
        (("/", "v1..v2", MODEL, "--command", "x"), "no commit 'v1' in /"),
        (("/", "v1..v2", MODEL, "--command", "'x"), "--command: No closing quotation"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], words: str, start: Callable[..., Ended], tmp_path: Path
) -> None:
    ended = start("bisect", *arguments, "--results", tmp_path)
    assert ended.code == 2
    assert words in ended.err
    assert "Traceback" not in ended.err
    assert not list(tmp_path.iterdir())


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, list[str]]:
    """Return a folder with a runner in a repository, and its commits: the third does not build, the fourth is slow."""
    target = find_targets(["ort-python"], {}, tmp_path)["ort-python"]
    folder, commits = tmp_path / "my tools" / "runner", []
    folder.mkdir(parents=True)
    lines = [f"export {name}={shlex.quote(value)}" for name, value in target.env.items()]
    script = ["#!/bin/sh", 'sleep "$(cat "$(dirname "$0")/built")"', *lines, f'exec {shlex.join(target.command)} "$@"']
    (folder / "run").write_text("\n".join(script))
    (folder / "run").chmod(0o755)
    identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
    git = ("git", "-C", folder.parent, *identity)
    subprocess.run([*git, "init", "--quiet"], check=True)
    for number, delay in enumerate(("0", "0", "", "0.3", "0.3")):
        (folder / "delay").write_text(delay)
        (folder / "number").write_text(str(number))
        subprocess.run([*git, "add", "--all"], check=True)
        subprocess.run([*git, "commit", "--quiet", "--message", delay or "broken"], check=True)
        shown = subprocess.run([*git, "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True)
        commits.append(shown.stdout.strip())
    return folder, commits


@thorough
def test_a_commit_of_the_users_runner_is_found(repository: tuple[Path, list[str]], tmp_path: Path) -> None:
    linear(tmp_path / "net.onnx")
    folder, commits = repository
    model, results = tmp_path / "net.onnx", tmp_path / "results"
    build = ("--build", "test -s delay && cp delay built", "--command", "./run")
    command = ("bisect", folder, f"{commits[0]}..HEAD", model, *build, "--metric", "cold", "--results", results)
    ended = runoff(*command, "--json", RUNOFF_HOME=str(tmp_path / "home"), RUNOFF_ENVS=str(paths.environments()))
    assert ended.code == 0, ended.out + ended.err
    made = json.loads(ended.out)
    assert (made["outcome"], made["before"], made["after"]) == ("found", commits[1], commits[3])
    assert made["releases"] == commits
    assert f"{commits[2]}: '{build[1]}' failed" in made["failures"][commits[2]]
    assert "slower" in made["sentence"]
    assert [file.name for file in folder.iterdir() if file.name == "built"] == []


@thorough
def test_releases_that_cannot_be_installed_are_named(tmp_path: Path) -> None:
    linear(tmp_path / "net.onnx")
    ended = runoff(
        "bisect", "onnxruntime", "1.31.0,9.9.9", tmp_path / "net.onnx", "--results", tmp_path / "results", "--json"
    )
    made = json.loads(ended.out)
    assert (ended.code, made["outcome"], made["after"]) == (0, "found", "9.9.9")
    assert "cannot install onnxruntime-9.9.9" in made["sentence"]


@thorough
@pytest.mark.parametrize("target", ["ort-python", "ort-rust"])
def test_releases_are_installed_and_measured_side_by_side(target: str, tmp_path: Path) -> None:
    linear(tmp_path / "net.onnx")
    command = ("bisect", "onnxruntime", "1.30.0,1.31.0,1.32.0", tmp_path / "net.onnx", "--target", target, "--all")
    ended = runoff(*command, "--results", tmp_path / "results", "--json")
    assert ended.code == 0, ended.out + ended.err
    made, run = json.loads(ended.out), only_run(tmp_path / "results")
    assert list(made["trend"]) == ["1.30.0", "1.31.0", "1.32.0"]
    versions = {name: can.version for name, can in run.info.capabilities.items()}
    assert {versions[f"{target}-{release}"] for release in made["trend"]} == set(made["trend"])
    assert {record.status for record in run.records} == {"ok"}
    assert {"bisect.json", "bisect.svg"} <= {file.name for file in run.folder.iterdir()}
