"""Preprocessing in Python: the fast path equals resize, then crop."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from runners_under_test import MODEL, PHOTOS

from runoff_runners.preprocess import crop_box, preprocess

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from runoff_runners.interfaces import Preprocess

SIZES = [(640, 427), (427, 640), (256, 256), (301, 300), (2000, 257), (100, 90), (224, 1000)]
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("interpolation", FILTERS)
def test_equals_resize_then_crop(size: tuple[int, int], interpolation: str, tmp_path: Path) -> None:
    spec = _spec(interpolation)
    picture = _noise(size)
    path = tmp_path / "picture.png"
    picture.save(path)
    whole = _resize_then_crop(picture, spec)
    steps = preprocess([str(path)], spec)[0] * 128 + 127
    difference = np.abs(steps.transpose(1, 2, 0) - whole)
    # Pillow rounds between its two passes, and their order depends on the sizes.
    assert difference.max() <= 2
    assert difference.mean() < 0.35


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("interpolation", FILTERS)
def test_box_is_the_part_that_the_crop_keeps(size: tuple[int, int], interpolation: str) -> None:
    """Without rounding, in floating point, both paths are equal."""
    spec = _spec(interpolation)
    picture = _noise(size).convert("F")
    box = crop_box(*size, spec["resize"], spec["crop"])
    part = picture.resize((spec["crop"], spec["crop"]), FILTERS[interpolation], box=box)
    assert np.abs(np.asarray(part) - _resize_then_crop(picture, spec)).max() < 0.01


def test_normalises_each_channel_separately(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    Image.new("RGB", (300, 300), (10, 100, 200)).save(path)
    spec: Preprocess = {**_spec("bicubic"), "mean": [1.0, 2.0, 3.0], "std": [2.0, 4.0, 8.0]}
    batch = preprocess([str(path), str(path)], spec)
    assert batch.shape == (2, 3, 224, 224)
    assert batch.dtype == np.float32
    for channel, value in enumerate([4.5, 24.5, 24.625]):
        assert (batch[:, channel] == value).all()


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_every_kind_of_picture_becomes_rgb(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("picture.jpg" if mode == "CMYK" else "picture.png")
    _noise((300, 280)).convert(mode).save(path)
    assert np.isfinite(preprocess([str(path)], _spec("bilinear"))).all()


def test_stored_tensors_are_reproduced(models: Path) -> None:
    manifest: dict[str, Any] = json.loads((models / MODEL / "manifest.json").read_bytes())
    spec: Preprocess = manifest["preprocess"]
    for name in PHOTOS:
        tensor = preprocess([str(models / MODEL / f"{name}.jpg")], spec)
        stored = np.fromfile(models / MODEL / f"{name}.tensor.bin", "<f4").reshape(tensor.shape)
        assert np.abs(tensor - stored).max() <= 1.001 / min(spec["std"]), name


def test_box_stays_inside_the_picture() -> None:
    for width in range(1, 400, 7):
        for height in range(1, 400, 11):
            left, upper, right, lower = crop_box(width, height, 256, 256)
            assert 0 <= left < right <= width
            assert 0 <= upper < lower <= height


def _spec(interpolation: str) -> Preprocess:
    return {
        "resize": 256,
        "crop": 224,
        "interpolation": interpolation,
        "mean": [127.0] * 3,
        "std": [128.0] * 3,
    }


def _noise(size: tuple[int, int]) -> Image.Image:
    """Return a smooth picture with noise on it."""
    width, height = size
    random = np.random.default_rng(0)
    ramp = np.linspace(0, 200, width)[None, :, None] + np.linspace(0, 30, height)[:, None, None]
    pixels = ramp + random.integers(0, 25, (height, width, 3))
    return Image.fromarray(pixels.astype(np.uint8))


def _resize_then_crop(picture: Image.Image, spec: Preprocess) -> NDArray[np.float32]:
    width, height = picture.size
    shorter = min(width, height)
    size = (spec["resize"] * width // shorter, spec["resize"] * height // shorter)
    resized = picture.resize(size, FILTERS[spec["interpolation"]])
    left, upper = (size[0] - spec["crop"]) // 2, (size[1] - spec["crop"]) // 2
    cut = resized.crop((left, upper, left + spec["crop"], upper + spec["crop"]))
    return np.asarray(cut, np.float32)
