"""A run on a real cluster of two Ray nodes on this machine, where a node and the driver are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from running import RUNOFF, environment, runoff

from machine import thorough
from onnx_models import linear
from runoff import paths
from runoff.records.files import read_run

if TYPE_CHECKING:
    from collections.abc import Callable

SUITE = """
[suite]
name = "tiny"
models = ["small"]
targets = ["ort-python", "ort-rust"]
workloads = ["tensor"]
probes = ["life"]
[models.small]
path = "small.onnx"
[measure.blocks]
life = 16
"""
STRUCTURE = """
import sys, yaml
claim, job = yaml.safe_load_all(open(sys.argv[1]))
cluster = job["spec"]["rayClusterSpec"]
(group,) = cluster["workerGroupSpecs"]
assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
assert group["rayStartParams"]["resources"] == '"{\\\\"runoff\\\\": 1}"'
for spec in (group, cluster["headGroupSpec"]):
    (container,) = spec["template"]["spec"]["containers"]
    assert container["resources"]["requests"] == container["resources"]["limits"]
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Return a small suite of a small model."""
    linear(tmp_path / "small.onnx")
    path = tmp_path / "tiny.toml"
    path.write_text(SUITE)
    return path


def processes(*words: str) -> list[int]:
    """Return the processes whose command lines have all of `words`."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if all(word in line for word in words):
            found.append(int(file.parent.name))
    return found


def node(name: str) -> list[int]:
    """Return all processes of a node: the raylet, Ray's workers, runoff and what it measures."""
    (raylet,) = processes("raylet/raylet", name)
    return [raylet, *(child.pid for child in psutil.Process(raylet).children(recursive=True))]


def count(results: Path, machine: str) -> int:
    return sum(len(path.read_bytes().splitlines()) for path in results.glob(f"*/{machine}/raw/*.jsonl"))


def started(suite: Path, results: Path, kill: Callable[[], list[int]]) -> tuple[int, str]:
    """Start a run on two nodes; when both have records, kill processes; return its exit code and output."""
    command = [str(RUNOFF), "bench", str(suite), "--on", "local:2", "--results", str(results)]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    end = time.monotonic() + 120
    while min(count(results, "local-1"), count(results, "local-2")) < 4 and time.monotonic() < end:
        time.sleep(0.2)
    victims = kill()
    assert victims
    for pid in victims:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    out, _ = process.communicate(timeout=200)
    return process.returncode, out


def states(results: Path) -> dict[str, str]:
    files = sorted(results.glob("*/*/machine.json"))
    return {path.parent.name: json.loads(path.read_text())["state"] for path in files}


@thorough
def test_a_node_dies_and_the_run_is_resumed(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    code, _ = started(suite, results, lambda: node("local-1"))
    assert code == 1
    assert states(results) == {"local-1": "lost", "local-2": "finished"}
    (run,) = results.iterdir()
    before = read_run(run / "local-1").records
    assert len(before) >= 4
    assert "local-1: " in (run / "machines.md").read_text()
    again = runoff("bench", "--resume", run)
    assert again.code == 0, again.err
    assert states(results) == {"local-1": "finished", "local-2": "finished"}
    after = read_run(run / "local-1").records
    assert [record.spawn_ns for record in after[: len(before)]] == [record.spawn_ns for record in before]
    assert len(after) == len(read_run(run / "local-2").records)


@thorough
def test_the_driver_dies_and_the_run_is_resumed(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    code, out = started(suite, results, lambda: processes("runoff.cluster.driver", str(results)))
    assert code == 2
    assert "resume with: runoff bench --resume" in out
    (run,) = results.iterdir()
    assert not processes("bench", f"{run.name}-local")
    assert runoff("bench", "--resume", run).code == 0
    assert states(results) == {"local-1": "finished", "local-2": "finished"}
    assert len(read_run(run / "local-1").records) == len(read_run(run / "local-2").records)


@thorough
def test_the_job_for_kuberay_has_its_structure() -> None:
    python = paths.environments() / "ray" / "bin" / "python"
    subprocess.run([python, "-c", STRUCTURE, paths.root() / "docker" / "rayjob.yaml"], check=True)
