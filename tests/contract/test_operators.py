"""The measure `operators`: the nodes of the graph, for runners whose runtime has a profiler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runners_under_test import RUNNERS, execute, golden

if TYPE_CHECKING:
    from pathlib import Path

ORT = next(runner for runner in RUNNERS if runner.name == "ort-python")


def test_every_node_has_its_time_in_each_inference(models: Path, tmp_path: Path) -> None:
    outcome = execute(ORT, golden("operators-tensor", ORT, models, tmp_path), tmp_path)
    assert (outcome.exit_code, outcome.result.status) == (0, "ok"), outcome.stderr
    nodes = outcome.result.nodes
    assert {(len(node.kernel_ns), node.calls) for node in nodes} == {(3, 3)}
    assert {node.provider for node in nodes} == {"cpu"}
    convolutions = [node for node in nodes if node.operator.endswith("Conv")]
    assert len(convolutions) > 40
    assert all(node.inputs[0] == "float" for node in convolutions)
    # each event is a part of its inference; both clocks tick in one process
    warm = outcome.result.samples["inference"].warm_ns[-3:]
    for place, whole in enumerate(warm):
        assert 0 < sum(node.kernel_ns[place] for node in nodes) <= whole
    # samples and outputs are those of any measure
    assert len(outcome.result.samples["inference"].warm_ns) == 3
    assert {item for tensor in outcome.result.outputs for item in tensor.items} == {0, 2}


def test_a_runner_without_a_profiler_refuses(models: Path, tmp_path: Path) -> None:
    for runner in RUNNERS:
        if runner.name in ("torch", "ort-rust"):
            outcome = execute(runner, golden("operators-tensor", runner, models, tmp_path), tmp_path)
            assert (outcome.exit_code, outcome.result.kind) == (2, "bad-request"), outcome.stderr
            assert "measure.kind" in (outcome.result.message or "")
