"""Runners read the denormal mode back and do not assume it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from runners_under_test import COMPUTING, MODEL, Runner, execute, golden

if TYPE_CHECKING:
    from pathlib import Path

READ_BACK = "from runoff_runners.measure import denormals; print(denormals())"
TORCH = "import torch; torch.set_flush_denormal({flush}); "
ONNXRUNTIME = """import onnxruntime, sys
options = onnxruntime.SessionOptions()
options.add_session_config_entry("session.set_denormal_as_zero", "{flush:d}")
session = onnxruntime.InferenceSession(sys.argv[1], options)
"""


def test_a_runtime_at_its_defaults_keeps_them(computing: Runner, models: Path, tmp_path: Path) -> None:
    result = execute(computing, golden("once-classify", computing, models, tmp_path), tmp_path).result
    assert result.effective is not None
    assert result.effective.denormals == "kept"


@pytest.mark.parametrize("expected", ["flushed", "kept"])
@pytest.mark.parametrize(("name", "script"), [("torch", TORCH), ("ort-python", ONNXRUNTIME)])
def test_the_denormal_mode_of_the_thread_is_read_back(name: str, script: str, expected: str, models: Path) -> None:
    target = next(runner for runner in COMPUTING if runner.name == name).make()
    code = script.format(flush=expected == "flushed") + READ_BACK
    process = subprocess.run(
        [target.command[0], "-c", code, str(models / MODEL / "model.onnx")],
        env=target.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.stdout.strip() == expected, process.stderr
