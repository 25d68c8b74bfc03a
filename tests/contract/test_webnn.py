"""What the runners on pywebnn do in their own way: static shapes, threads, what has no equivalent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from runners_under_test import RUNNERS, Runner, execute
from test_any_model import CASES, request_of

if TYPE_CHECKING:
    from pathlib import Path

WEBNN = [runner for runner in RUNNERS if runner.name.startswith("webnn-")]


@pytest.mark.parametrize("runner", WEBNN, ids=lambda runner: runner.name)
def test_an_operator_without_equivalent(runner: Runner, tmp_path: Path) -> None:
    outcome = execute(runner, request_of(CASES["non-max-suppression"], tmp_path), tmp_path)
    outcome.assert_failed("model-unsupported", 3)
    assert (outcome.result.message or "").startswith("operator NonMaxSuppression (node '') has no equivalent in WebNN")


def test_operators_that_are_newer_than_the_conversion(tmp_path: Path) -> None:
    outcome = execute(WEBNN[0], request_of(CASES["new-opset"], tmp_path), tmp_path)
    outcome.assert_failed("model-unreadable", 1)
    assert "opset 99" in (outcome.result.message or "")


@pytest.mark.parametrize("runner", WEBNN, ids=lambda runner: runner.name)
def test_each_shape_of_an_item_has_a_graph(runner: Runner, tmp_path: Path) -> None:
    case = CASES["first-free"]
    outcome = execute(runner, request_of(case, tmp_path), tmp_path)
    assert outcome.exit_code == 0, outcome.stderr
    assert len({written.shape for written in outcome.result.outputs}) > 1
    assert [path.name for path in (tmp_path / "out").glob("webnn-*")] == []
