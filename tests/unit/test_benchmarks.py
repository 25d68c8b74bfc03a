"""The benchmarks with pytest-benchmark, on synthetic measurements: selection, rounds, JSON and the table."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runoff import paths

if TYPE_CHECKING:
    from collections.abc import Callable

    Benchmark = Callable[..., tuple[str, list[dict[str, Any]]]]


@pytest.fixture
def benchmark_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Benchmark:
    """Return a function that runs the benchmarks with options, and returns what it prints and the JSON."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    # in a worker of pytest-xdist, pytest-benchmark would measure nothing
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)

    def run(*options: str) -> tuple[str, list[dict[str, Any]]]:
        file = tmp_path / "runs.json"
        command = (sys.executable, "-m", "pytest", str(paths.root() / "benchmarks"), "-p", "replayed")
        done = subprocess.run(
            [*command, "-p", "no:cacheprovider", "--benchmark-json", str(file), *options],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        benchmarks: list[dict[str, Any]] = json.loads(file.read_text())["benchmarks"]
        return done.stdout, benchmarks

    return run


def test_each_round_is_a_measured_time(benchmark_runs: Benchmark) -> None:
    printed, found = benchmark_runs("-k", "onnx and layers_10x2", "--benchmark-only")
    assert {one["group"] for one in found} == {f"layers_10x2, {run}" for run in ("cold", "run 2", "warm")}
    assert {one["params"]["target"] for one in found} == {"ort-python", "ort-rust", "ort-pyo3"}
    (cold, _, warm) = (one for one in found if one["params"]["target"] == "ort-python")
    assert (cold["stats"]["rounds"], warm["stats"]["rounds"]) == (6, 6 * 60)
    # 55 ms of loading and 12 ms for the first inference
    assert cold["stats"]["median"] == pytest.approx(0.067, rel=0.1)
    assert cold["extra_info"]["low_s"] < cold["extra_info"]["typical_s"] < cold["extra_info"]["high_s"]
    assert warm["extra_info"]["processes"] == 6
    assert warm["options"]["timer"] == "runner_clock"
    table = printed.partition("layers_10x2, 1 thread, batch 1")[2]
    assert [line.split()[0] for line in table.splitlines() if line.startswith("ort-")] == [
        "ort-python",
        "ort-rust",
        "ort-pyo3",
    ]
    assert "baseline" in table
    assert "torch" not in table


def test_every_model_has_a_table(benchmark_runs: Benchmark) -> None:
    printed, found = benchmark_runs()
    assert len(found) == 3 * 7 * 3
    assert printed.count("slower (") == 3 * 4, "PyTorch and WebNN are slower than the baseline on each model"
