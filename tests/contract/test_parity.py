"""Every runner computes the same output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from runners_under_test import MODEL, PHOTOS, Runner, execute, golden, tensor_request

from runoff_runners.preprocess import preprocess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest
    from numpy.typing import NDArray

    from runoff_runners.interfaces import Preprocess

LARGEST_DIFFERENCE = 1e-4
LABELS = {
    "china": {"palace"},
    "flower": {"daisy"},
    "chelsea": {"tabby", "tiger cat", "Egyptian cat"},  # nearly tied
    "coffee": {"espresso"},
    "rocket": {"missile"},
    "motorcycle": {"moped"},
}
LARGEST_STEP, MEAN_STEP = 2.0 + 1e-3, 0.5
"""In steps of 255, with room for the rounding of float32."""
_SPEC: Preprocess = {
    "resize": 256,
    "crop": 224,
    "interpolation": "bicubic",
    "mean": [127.0, 127.0, 127.0],
    "std": [128.0, 128.0, 128.0],
}


def test_same_tensor_same_logits(implementation: Runner, models: Path, tmp_path: Path) -> None:
    outcome = execute(implementation, tensor_request(implementation, models, tmp_path, *PHOTOS), tmp_path)
    assert outcome.exit_code == 0, outcome.stderr
    assert len(outcome.result.outputs) == len(PHOTOS)
    for name, written in zip(PHOTOS, outcome.result.outputs, strict=True):
        logits = np.fromfile(written.path, "<f4")
        reference = _reference(models, name)
        assert np.abs(logits - reference).max() <= LARGEST_DIFFERENCE, name
        assert np.array_equal(np.argsort(-logits)[:5], np.argsort(-reference)[:5]), name


def test_same_photo_same_class(implementation: Runner, models: Path, tmp_path: Path) -> None:
    request = golden("accuracy-classify", implementation, models, tmp_path)
    request["inputs"] = [{"image": str(models / MODEL / f"{name}.jpg")} for name in PHOTOS]
    request["settings"] = {"batch": len(PHOTOS)}
    outcome = execute(implementation, request, tmp_path)
    assert outcome.exit_code == 0, outcome.stderr
    for name, guesses in zip(PHOTOS, outcome.result.top, strict=True):
        assert guesses[0].label in LABELS[name], name


def test_same_photo_same_tensor(implementation: Runner, models: Path, tmp_path: Path) -> None:
    paths = [models / MODEL / f"{name}.jpg" for name in PHOTOS]
    for written, name in zip(_tensors(implementation, models, tmp_path, paths), PHOTOS, strict=True):
        pillow = np.fromfile(models / MODEL / f"{name}.tensor.bin", np.float32).reshape(written.shape)
        _check_pixels(written, pillow, name)


def test_same_tensor_from_any_kind_of_image(
    implementation: Runner, models: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pictures = _pictures(tmp_path_factory.mktemp("pictures"))
    paths = [path for path in pictures if implementation.reads_image(path.name)]
    for written, path in zip(_tensors(implementation, models, tmp_path, paths), paths, strict=True):
        _check_pixels(written, preprocess([str(path)], _SPEC), path.name)


def test_every_runner_computes_the_references_in_batches(computing: Runner, models: Path, tmp_path: Path) -> None:
    request = tensor_request(computing, models, tmp_path, *PHOTOS)
    request["settings"]["batch"] = 4
    outputs = execute(computing, request, tmp_path).result.outputs
    assert [written.items for written in outputs] == [(0, 1, 2, 3), (4, 5)]
    logits = np.concatenate([np.fromfile(written.path, "<f4").reshape(written.shape) for written in outputs])
    reference = np.stack([_reference(models, name) for name in PHOTOS])
    assert np.abs(logits - reference).max() <= LARGEST_DIFFERENCE
    assert np.array_equal(np.argsort(-logits)[:, :5], np.argsort(-reference)[:, :5])


def _tensors(runner: Runner, models: Path, folder: Path, paths: list[Path]) -> Iterator[NDArray[np.float32]]:
    """Yield the preprocessed tensor of each image, float32 [1, 3, 224, 224]."""
    request = golden("accuracy-classify", runner, models, folder)
    request["inputs"] = [{"image": str(path)} for path in paths]
    request["settings"] = {"batch": 1}
    outcome = execute(runner, request, folder)
    assert outcome.exit_code == 0, outcome.stderr
    for written in outcome.result.tensors:
        yield np.fromfile(written.path, np.float32).reshape(written.shape)


def _check_pixels(tensor: NDArray[np.float32], pillow: NDArray[np.float32], name: str) -> None:
    steps = np.abs(tensor - pillow) * _SPEC["std"][0]
    assert steps.max() <= LARGEST_STEP, name
    assert steps.mean() <= MEAN_STEP, name


def _pictures(folder: Path) -> Iterator[Path]:
    """Make pictures of every orientation and subsampling: coloured gradients with edges and some noise."""
    noise = np.random.default_rng(0)
    for width, height in ((640, 427), (301, 455), (224, 224), (257, 256)):
        across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
        planes = [255 * across, 255 * down, 255 * (np.hypot(across - 0.5, down - 0.5) < 0.3)]
        pixels = np.stack(planes, axis=-1) + noise.normal(0, 8, (height, width, 3))
        image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        for subsampling in (0, 1, 2):
            path = folder / f"{width}x{height}-{subsampling}.jpg"
            image.save(path, quality=90, subsampling=subsampling)
            yield path
        for mode in ("L", "RGB", "RGBA"):
            path = folder / f"{width}x{height}-{mode}.png"
            image.convert(mode).save(path)
            yield path


def _reference(models: Path, name: str) -> NDArray[np.float32]:
    """Return PyTorch's logits of the photo's stored tensor."""
    return np.fromfile(models / MODEL / f"{name}.reference.bin", np.float32)
