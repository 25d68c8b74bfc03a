"""The measure `operators`: the nodes of the graph, for runners whose runtime has a profiler."""

from __future__ import annotations

from pathlib import Path

import pytest
from runners_under_test import RUNNERS, execute, golden

from runoff.records.profiles import FORMAT, read_nodes

BY_NAME = {runner.name: runner for runner in RUNNERS}


PROFILING = [name for name in ("ort-python", "ort-rust", "openvino-python", "torch", "tract-rust") if name in BY_NAME]
"""Those in Rust but `ort-rust` are there after ``nox -s engines``."""


@pytest.mark.parametrize("name", PROFILING)
def test_every_node_has_its_time_in_each_inference(name: str, models: Path, tmp_path: Path) -> None:
    runner = BY_NAME[name]
    outcome = execute(runner, golden("operators-tensor", runner, models, tmp_path), tmp_path)
    assert (outcome.exit_code, outcome.result.status) == (0, "ok"), outcome.stderr
    profile = outcome.result.profile
    assert profile is not None
    assert (profile.format, Path(profile.path).parent) == (FORMAT, tmp_path / "out")
    nodes = read_nodes(Path(profile.path).read_bytes(), 3)
    assert {(len(node.kernel_ns), node.calls) for node in nodes} == {(3, 3)}
    assert {node.provider for node in nodes} == {"cpu"}
    convolutions = [node for node in nodes if node.operator.endswith(("Conv", "Convolution", "conv2d", "OptMatMul"))]
    assert len(convolutions) > 40
    assert all(node.inputs[0] == "float" for node in convolutions)
    if name == "torch":
        assert all(node.kernel != node.operator for node in convolutions)
    elif name != "tract-rust":  # it omits the batch of some
        assert all(len(node.shapes[0]) == 4 for node in convolutions)
    if name in ("openvino-python", "tract-rust"):
        assert all(node.sources for node in convolutions)
    if name == "openvino-python":
        assert all(node.kernel for node in convolutions)
    # each event is a part of its inference; both clocks tick in one process
    warm = outcome.result.samples["inference"].warm_ns[-3:]
    if name == "openvino-python":  # it reports rounded means
        assert 0 < sum(ns for node in nodes for ns in node.kernel_ns) <= 1.05 * sum(warm)
    else:
        assert all(0 < sum(node.kernel_ns[place] for node in nodes) <= whole for place, whole in enumerate(warm))
    # samples and outputs are those of any measure
    assert len(outcome.result.samples["inference"].warm_ns) == 3
    assert {item for tensor in outcome.result.outputs for item in tensor.items} == {0, 2}


@pytest.mark.parametrize("name", ["ort-pyo3"])
def test_a_runner_without_a_profiler_refuses(name: str, models: Path, tmp_path: Path) -> None:
    outcome = execute(BY_NAME[name], golden("operators-tensor", BY_NAME[name], models, tmp_path), tmp_path)
    assert (outcome.exit_code, outcome.result.kind) == (2, "bad-request"), outcome.stderr
    assert "measure.kind" in (outcome.result.message or "")
