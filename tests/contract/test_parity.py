"""Every runner computes the same answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from runners_under_test import MODEL, PHOTOS, Runner, execute, golden, tensor_request

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LARGEST_DIFFERENCE = 1e-4


def test_same_tensor_same_logits(computing: Runner, models: Path, tmp_path: Path) -> None:
    outcome = execute(computing, tensor_request(computing, models, tmp_path, *PHOTOS), tmp_path)
    assert outcome.exit_code == 0, outcome.stderr
    assert len(outcome.result.outputs) == len(PHOTOS)
    for name, written in zip(PHOTOS, outcome.result.outputs, strict=True):
        logits = np.fromfile(written.path, "<f4")
        reference = _reference(models, name)
        assert np.abs(logits - reference).max() <= LARGEST_DIFFERENCE, name
        assert np.array_equal(np.argsort(-logits)[:5], np.argsort(-reference)[:5]), name


def test_same_photo_same_class(computing: Runner, models: Path, tmp_path: Path) -> None:
    request = golden("accuracy-classify", computing, models, tmp_path)
    request["inputs"] = [{"image": str(models / MODEL / f"{name}.jpg")} for name in PHOTOS]
    request["settings"] = {"batch": len(PHOTOS)}
    outcome = execute(computing, request, tmp_path)
    manifest: dict[str, Any] = json.loads((models / MODEL / "manifest.json").read_bytes())
    expected = {example["name"]: example["top1"] for example in manifest["examples"]}
    assert [guesses[0].label for guesses in outcome.result.top] == [expected[name] for name in PHOTOS]


def test_a_batch_gives_what_its_items_give(computing: Runner, models: Path, tmp_path: Path) -> None:
    request = tensor_request(computing, models, tmp_path, *PHOTOS)
    request["settings"]["batch"] = 4
    outputs = execute(computing, request, tmp_path).result.outputs
    assert [written.items for written in outputs] == [(0, 1, 2, 3), (4, 5)]
    logits = np.concatenate([np.fromfile(written.path, "<f4").reshape(written.shape) for written in outputs])
    reference = np.stack([_reference(models, name) for name in PHOTOS])
    assert np.abs(logits - reference).max() <= LARGEST_DIFFERENCE


def _reference(models: Path, name: str) -> NDArray[np.float32]:
    """Return PyTorch's logits of the photo's stored tensor."""
    return np.fromfile(models / MODEL / f"{name}.reference.bin", np.float32)
