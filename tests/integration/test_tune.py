"""``runoff tune`` on a small model: the run, the profile, and what loads it."""

from __future__ import annotations

import json
import subprocess
import tomllib
from typing import TYPE_CHECKING

import msgspec
import pytest
from running import environment, only_run, runoff

from machine import skip_because, thorough
from onnx_models import linear
from runoff import paths
from runoff.plan.settings import resolve
from runoff.probes.process import HYPERFINE
from runoff.targets import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from running import Ended


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty folder, if this machine has what the tests need."""
    python = paths.environments() / "inspect" / "bin" / "python"
    skip_because("" if python.exists() else f"{python} is missing; run: nox -s inspect")
    missing = BUILT_IN["ort-rust"]().missing
    skip_because(str(missing) if missing else "")
    return tmp_path


@pytest.mark.clock
@thorough
def test_tune_finds_a_profile_that_others_load(folder: Path) -> None:
    skip_because("" if HYPERFINE.find() else "hyperfine is missing; run: nox -s hyperfine")
    linear(folder / "net.onnx")
    options = ("--time", "12s", "--write", "tuned.toml", "--results", folder / "results", "--json")
    ended = runoff(
        "tune", "net.onnx", "--objective", "cold", *options, "--limit", "memory < 2GB", cwd=folder,
        RUNOFF_HOME=str(folder / "home"),
    )  # fmt: skip
    assert ended.code == 0, ended.out + ended.err
    made, run = json.loads(ended.out), only_run(folder / "results")
    assert made["settings"] == tomllib.loads((folder / "tuned.toml").read_text())
    resolved = msgspec.structs.asdict(resolve({"profile": str(folder / "tuned.toml")}))
    assert {key: resolved[key] for key in made["settings"]} == made["settings"]
    assert made["objective"] == "cold"
    assert made["tried"]
    assert {record.probe for record in run.records} == {"accuracy", "process"}
    assert "ort-rust+teardown-skip" in {case.target for case in run.info.cases}
    assert {record.status for record in run.records} == {"ok"}
    assert {"tune.json", "tuned.toml"} <= {file.name for file in run.folder.iterdir()}


def test_the_rust_program_loads_a_profile(folder: Path) -> None:
    linear(folder / "net.onnx")
    (folder / "tuned.toml").write_text('threads = 2\nspinning = false\nprepared = true\nteardown = "skip"\n')
    target = BUILT_IN["ort-rust"]()

    def bench(profile: str) -> subprocess.CompletedProcess[str]:
        command = [
            *target.command,
            "bench",
            "net.onnx",
            "--profile",
            profile,
            "--samples",
            "5",
            "--min-time",
            "0",
            "--json",
        ]
        return subprocess.run(
            command, cwd=folder, env=environment(**target.env), capture_output=True, text=True, check=False
        )

    ended = bench("tuned.toml")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["threads"] == 2
    assert "not applied: prepared = true" in ended.stderr
    (folder / "bad.toml").write_text("spining = false\n")
    for name, what in (
        ("bad.toml", "unknown field `spining`"),
        ("none.toml", "none.toml: "),
        ("warm", "no settings profile"),
    ):
        ended = bench(name)
        assert ended.returncode == 2
        assert what in ended.stderr
        assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--objective", "cold", "--limit", "memory > 1MB"), "bounded from above"),
        (("--objective", "cold", "--time", "5"), "is not a duration"),
        (("--objective", "cold", "--write", "tuned.json"), "not a .toml file"),
        (("--objective", "cold", "--target", "ort-rusty"), "did you mean 'ort-rust'"),
        (("--objective", "energie"), "energie"),
    ],
)
def test_bad_input_is_one_line(
    options: tuple[str, ...], what: str, start: Callable[..., Ended], tmp_path: Path
) -> None:
    ended = start("tune", "net.onnx", *options, "--results", tmp_path, cwd=tmp_path)
    assert ended.code == 2
    assert what in ended.err


def test_a_target_that_computes_nothing_is_refused(tmp_path: Path) -> None:
    options = ("--objective", "cold", "--target", "null-python", "--results", tmp_path)
    ended = runoff("tune", "efficientnet-lite0", *options)
    assert ended.code == 2
    assert "null-python has no settings to tune" in ended.err
