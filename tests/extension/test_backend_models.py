"""ONNX's own test models: the extension passes the same models as onnxruntime, with the same bits."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx
import pytest
import runoff_ort
from backend_cases import Case, disk_cases, light_cases, node_cases
from both import Theirs, save
from comparing import differences

from machine import FULL

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Outcome(NamedTuple):
    """Result of one API for one case: outputs for each set of inputs, and the reason for a failure."""

    answers: list[list[Any]] | None
    reason: str


def ours(path: Path) -> tuple[list[str], Callable[[dict[str, Any]], dict[str, Any]]]:
    session = runoff_ort.Session(path, threads=1)
    return [port.name for port in session.inputs], session.run


def theirs(path: Path) -> tuple[list[str], Callable[[dict[str, Any]], dict[str, Any]]]:
    session = Theirs(path)
    return session.inputs, session.run


def attempt(case: Case, load: Callable[[Path], Any]) -> Outcome:
    try:
        names, run = load(case.path)
        feeds = [dict(zip(names, given, strict=True)) for given, _ in case.sets]
        answers = [list(run(feed).values()) for feed in feeds]
    except Exception as error:  # noqa: BLE001 (whatever it is, it is how this API failed)
        return Outcome(None, f"{type(error).__name__}: {error}")
    return Outcome(answers, case.judge(answers))


def difference(case: Case, own: Outcome, other: Outcome) -> str:
    """Return the difference of the two APIs on a case; "" if none."""
    if bool(own.reason) != bool(other.reason):
        return f"{case.name}\n  runoff_ort:  {own.reason or 'ok'}\n  onnxruntime: {other.reason or 'ok'}"
    if own.answers is None or other.answers is None:
        return ""
    found = differences(own.answers, other.answers)
    return "\n  ".join([case.name, *found]) if found else ""


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    return [*node_cases(tmp_path_factory.mktemp("node")), *disk_cases(), *light_cases()]


def test_the_pass_list_equals_that_of_onnxruntime(cases: list[Case], note: Callable[[str], None]) -> None:
    all_differences = []
    passed = Counter[str]()
    tried = cases if FULL else cases[::10]
    for case in tried:
        own, other = attempt(case, ours), attempt(case, theirs)
        passed.update(name for name, one in (("runoff_ort", own), ("onnxruntime", other)) if not one.reason)
        all_differences.append(difference(case, own, other))
    counts = ", ".join(f"{count} by {name}" for name, count in sorted(passed.items()))
    note(f"{len(tried)} of ONNX's {len(cases)} test models: passed {counts}")
    assert len(cases) > 2000
    assert passed["onnxruntime"] > 0.75 * len(tried)
    assert "\n".join(filter(None, all_differences)) == ""


def test_the_comparison_detects_a_wrong_output(tmp_path: Path) -> None:
    add, mul = (one_node(operator, tmp_path) for operator in ("Add", "Mul"))
    x, y = np.full(3, 2, np.float32), np.full(3, 3, np.float32)
    case = Case("add", add, [([x, y], [x + y])], 1e-3, 1e-7)
    right, wrong = attempt(case, ours), attempt(case._replace(path=mul), ours)
    assert right.reason == ""
    assert "Not equal" in wrong.reason
    assert "onnxruntime: ok" in difference(case, wrong, right)
    assert "bits differ" in difference(case, wrong._replace(reason=""), right)


def one_node(operator: str, folder: Path) -> Path:
    ports = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [3]) for name in ("x", "y", "z")]
    node = onnx.helper.make_node(operator, ["x", "y"], ["z"])
    graph = onnx.helper.make_graph([node], operator, ports[:2], ports[2:])
    opset = [onnx.helper.make_opsetid("", 17)]
    return save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), folder / f"{operator}.onnx")
