"""ONNX Runtime's Core ML provider: what it is asked for, and that what it does not take never runs on the CPU."""

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

STANDIN = Path(__file__).with_name("ort_coreml_standin.py")
UNITS = {"coreml": "ALL", "coreml-cpu": "CPUOnly", "coreml-gpu": "CPUAndGPU", "coreml-ne": "CPUAndNeuralEngine"}


def standin(provider: str, asked: Path) -> Runner:
    """Return the runner over an ONNX Runtime whose Core ML provider `provider` (takes or refuses) the model."""
    python = ort_python().command[0]
    env = {"PYTHONPATH": str(paths.runners().parent), "STANDIN": provider, "STANDIN_ASKED": str(asked)}
    target = Target(name="ort-python", command=(python, "-P", str(STANDIN)), env=env)
    return Runner("ort-python", lambda: target, "onnx")


def run(how: str, provider: str, models: Path, folder: Path, asked: Path) -> Outcome:
    runner = standin(how, asked)
    request = golden("latency-tensor", runner, models, folder)
    request["settings"] = {"batch": 2, "provider": provider, "prepared": True}
    return execute(runner, request, folder)


@pytest.mark.parametrize("provider", UNITS)
def test_a_session_is_an_ml_program_of_fixed_shape_on_the_units_asked_for(
    provider: str, models: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    asked = tmp_path_factory.mktemp("asked") / "asked.json"
    outcome = run("takes", provider, models, tmp_path, asked)
    assert outcome.result.status == "ok", outcome.result.message
    assert outcome.result.effective is not None
    assert outcome.result.effective.provider == provider
    assert outcome.result.effective.ignored == ("prepared",)
    options = {"ModelFormat": "MLProgram", "MLComputeUnits": UNITS[provider]}
    assert json.loads(asked.read_text()) == {
        "providers": [["CoreMLExecutionProvider", options]],
        "fallback": "1",
        "enable_fallback": 0,
    }


def test_its_batch_is_fixed(models: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The file's own batch is free: a request that says otherwise only fits where it was fixed."""
    asked = tmp_path_factory.mktemp("asked") / "asked.json"
    runner = standin("takes", asked)
    request = golden("latency-tensor", runner, models, tmp_path)
    request["settings"] = {"batch": 2, "provider": "coreml"}
    request["model"]["inputs"][0]["shape"][0] = 3
    outcome = execute(runner, request, tmp_path)
    outcome.assert_failed("model-mismatch", 1)
    assert "in the file [2, 3, 224, 224]" in (outcome.result.message or "")


def test_a_model_that_it_takes_in_part_is_unsupported(
    models: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outcome = run("refuses", "coreml", models, tmp_path, tmp_path_factory.mktemp("asked") / "asked.json")
    outcome.assert_failed("provider-unavailable", 3)
    assert "does not take every operation" in (outcome.result.message or "")


def test_a_build_that_has_it_offers_all_its_units(tmp_path: Path) -> None:
    probe = launch(standin("takes", tmp_path / "asked.json"), "--probe")
    can = msgspec.json.decode(probe.stdout, type=Capabilities)
    assert {"cpu", *UNITS} <= set(can.providers)
    assert "azure" not in can.providers
