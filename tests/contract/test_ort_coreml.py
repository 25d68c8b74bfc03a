"""ONNX Runtime's Core ML provider: its options, and no fallback of unsupported nodes to the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from runners_under_test import Outcome, Runner, execute, golden, launch

from runoff import paths
from runoff.plan.target import Target
from runoff.records.protocol import Capabilities
from runoff.targets.onnxruntime import ort_python

FAKE = Path(__file__).with_name("fake_ort_coreml.py")
UNITS = {"coreml": "ALL", "coreml-cpu": "CPUOnly", "coreml-gpu": "CPUAndGPU", "coreml-ne": "CPUAndNeuralEngine"}


def fake_runner(provider: str, session_file: Path) -> Runner:
    """Return the runner over an ONNX Runtime whose Core ML provider takes or refuses the model, as `provider` says."""
    python = ort_python().command[0]
    env = {"PYTHONPATH": str(paths.runners().parent), "FAKE_PROVIDER": provider, "FAKE_SESSION_FILE": str(session_file)}
    target = Target(name="ort-python", command=(python, "-P", str(FAKE)), env=env)
    return Runner("ort-python", lambda: target, "onnx")


def run(how: str, provider: str, models: Path, folder: Path, session_file: Path) -> Outcome:
    runner = fake_runner(how, session_file)
    request = golden("latency-tensor", runner, models, folder)
    request["settings"] = {"batch": 2, "provider": provider, "prepared": True}
    return execute(runner, request, folder)


@pytest.mark.parametrize("provider", UNITS)
def test_a_session_is_an_ml_program_of_fixed_shape_on_the_requested_units(
    provider: str, models: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    session_file = tmp_path_factory.mktemp("session") / "session.json"
    outcome = run("takes", provider, models, tmp_path, session_file)
    assert outcome.result.status == "ok", outcome.result.message
    assert outcome.result.effective is not None
    assert outcome.result.effective.provider == provider
    assert outcome.result.effective.ignored == ("prepared",)
    options = {"ModelFormat": "MLProgram", "MLComputeUnits": UNITS[provider]}
    assert json.loads(session_file.read_text()) == {
        "providers": [["CoreMLExecutionProvider", options]],
        "fallback": "1",
        "enable_fallback": 0,
    }


def test_its_batch_is_fixed(models: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The batch of the file is dynamic; a mismatched request fails only if the session fixed it."""
    session_file = tmp_path_factory.mktemp("session") / "session.json"
    runner = fake_runner("takes", session_file)
    request = golden("latency-tensor", runner, models, tmp_path)
    request["settings"] = {"batch": 2, "provider": "coreml"}
    request["model"]["inputs"][0]["shape"][0] = 3
    outcome = execute(runner, request, tmp_path)
    outcome.assert_failed("model-mismatch", 1)
    assert "in the file [2, 3, 224, 224]" in (outcome.result.message or "")


def test_a_model_taken_in_part_is_unsupported(
    models: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outcome = run("refuses", "coreml", models, tmp_path, tmp_path_factory.mktemp("session") / "session.json")
    outcome.assert_failed("provider-unavailable", 3)
    assert "does not take every operation" in (outcome.result.message or "")


def test_a_build_with_core_ml_reports_all_its_units(tmp_path: Path) -> None:
    probe = launch(fake_runner("takes", tmp_path / "session.json"), "--probe")
    can = msgspec.json.decode(probe.stdout, type=Capabilities)
    assert {"cpu", *UNITS} <= set(can.providers)
    assert "azure" not in can.providers
