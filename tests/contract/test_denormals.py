"""Runners read the denormal mode back and do not assume it; `test_golden` checks what they report by default."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from runners_under_test import COMPUTING, MODEL

if TYPE_CHECKING:
    from pathlib import Path

READ_BACK = "from runoff_runners.measure import denormals\n"
TORCH = """import torch
for flush in (True, False):
    torch.set_flush_denormal(flush)
    print(denormals())
"""
# the first session decides for the process
ONNXRUNTIME = """import onnxruntime, sys
options = onnxruntime.SessionOptions()
options.add_session_config_entry("session.set_denormal_as_zero", "{flush:d}")
session = onnxruntime.InferenceSession(sys.argv[1], options)
print(denormals())
"""


@pytest.mark.parametrize(
    ("name", "script", "expected"),
    [
        ("torch", TORCH, "flushed\nkept\n"),
        ("ort-python", ONNXRUNTIME.format(flush=True), "flushed\n"),
        ("ort-python", ONNXRUNTIME.format(flush=False), "kept\n"),
    ],
    ids=["torch", "flushed", "kept"],
)
def test_the_denormal_mode_of_the_thread_is_read_back(name: str, script: str, expected: str, models: Path) -> None:
    target = next(runner for runner in COMPUTING if runner.name == name).make()
    process = subprocess.run(
        [target.command[0], "-c", READ_BACK + script, str(models / MODEL / "model.onnx")],
        env=target.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.stdout == expected, process.stderr
