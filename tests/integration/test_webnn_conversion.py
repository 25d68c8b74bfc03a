"""The conversion from ONNX to WebNN: every operator against ONNX Runtime, and what it refuses."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import onnx_files
import pytest
from onnx_files import FLOAT
from running import only_run, reasons, runoff

from machine import skip_because
from runoff import paths
from runoff.targets.webnn import webnn_compute

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 1e-5
SUITE = """
[suite]
name = "tiny"
models = ["strange"]
targets = ["ort-python", "webnn-compute"]
workloads = ["tensor"]
probes = ["life"]
[measure.blocks]
life = 1
"""
REFUSED = {
    "AveragePool of padding": "count_include_pad counts its padding",
    "Cast to bool": "it casts to bool",
    "Gelu by tanh": "it is approximated by tanh",
    "MaxPool 1-D": "its input has the shape [2, 3, 8], and WebNN has only 2-D windows",
    "MaxPool indices": "it has 2 outputs",
    "Mod": "it is unknown to this conversion",
    "Pad less": "mode 'constant', axes, or negative padding",
    "Pow 3": "its exponent is not 0.5, 1 or 2",
    "Reshape of a computed shape": "its input 1 is not a constant",
    "Softmax 11 of several axes": "in opset 11 it runs over several axes",
}


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the findings of `webnn_checks`."""
    target = webnn_compute()
    skip_because(str(target.missing or ""))
    checks = paths.root() / "tests" / "integration" / "webnn_checks.py"
    command = [target.command[0], "-P", str(checks), str(tmp_path_factory.mktemp("webnn"))]
    done = subprocess.run(command, env=target.environment(), capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_every_operator_computes_what_onnx_runtime_does(findings: dict[str, Any]) -> None:
    """Check pywebnn's compute and its converted graph."""
    assert findings["untested"] == []
    converted = {name: found for name, found in findings["cases"].items() if name not in REFUSED}
    assert len(converted) > 100
    assert {name: found for name, found in converted.items() if isinstance(found, str) or max(found) > LARGEST} == {}


def test_what_webnn_lacks_is_refused_with_the_operator_and_the_node(findings: dict[str, Any]) -> None:
    for name, reason in REFUSED.items():
        operator = name.partition(" ")[0]
        wanted = f"operator {operator} (node 'the node') has no equivalent in WebNN: {reason}"
        assert findings["cases"][name] == wanted


def test_a_bench_reports_the_operator_without_equivalent(tmp_path: Path) -> None:
    skip_because(str(webnn_compute().missing or ""))
    nodes = [("Trilu", ["x"], ["y"])]
    model = onnx_files.write(tmp_path / "strange.onnx", nodes, {"x": (4, 4)}, {"y": (FLOAT, (4, 4))})
    suite = tmp_path / "tiny.toml"
    suite.write_text(f'{SUITE}[models.strange]\npath = "{model}"\n', encoding="utf-8")
    ended = runoff("bench", suite, "--results", tmp_path / "results")
    assert ended.code == 0, ended.err
    found = reasons(only_run(tmp_path / "results"))
    assert found == {"webnn-compute": ("unsupported", "model-unsupported")}
