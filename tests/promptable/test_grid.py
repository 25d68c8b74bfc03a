"""Grids, crops and filters, compared with segment_anything's and torchvision's, on random values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from segment_anything.utils import amg
from torchvision.ops.boxes import batched_nms

from runoff_runners import grid, masks

SEEDS = range(20)


def blobs(seed: int) -> np.ndarray:
    """Return smooth logits, float32 [height, width], with islands and holes."""
    rng = np.random.default_rng(seed)
    height, width = (int(value) for value in rng.integers(20, 90, 2))
    small = torch.from_numpy(rng.normal(size=(1, 1, 9, 11)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(small, (height, width), mode="bicubic")[0, 0].numpy()
    noise = rng.normal(size=(height, width)) * (rng.random((height, width)) < 0.02) * 9
    logits: np.ndarray = (smooth + noise).astype(np.float32)
    return logits


@pytest.mark.parametrize("seed", SEEDS)
def test_run_lengths_boxes_and_areas(seed: int) -> None:
    mask = blobs(seed) > 0.3
    (theirs,) = amg.mask_to_rle_pytorch(torch.from_numpy(mask)[None])
    ours = masks.encode(mask)
    assert ours == theirs["counts"]
    assert sum(ours[1::2]) == amg.area_from_rle(theirs)
    assert list(masks.box_of(mask)) == amg.batched_mask_to_box(torch.from_numpy(mask)).tolist()
    assert (masks.decode(ours, mask.shape) == mask).all()
    assert (masks.decode(ours, mask.shape) == amg.rle_to_mask(theirs)).all()


@pytest.mark.parametrize("full", [True, False])
def test_run_lengths_of_uniform_masks(full: bool) -> None:  # noqa: FBT001 (a parameter of the test)
    mask = np.full((3, 4), full)
    (theirs,) = amg.mask_to_rle_pytorch(torch.from_numpy(mask)[None])
    assert masks.encode(mask) == theirs["counts"]
    assert list(masks.box_of(mask)) == amg.batched_mask_to_box(torch.from_numpy(mask)).tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_stability(seed: int) -> None:
    logits = blobs(seed)
    for threshold, offset in ((0.0, 1.0), (0.2, 0.5)):
        theirs = amg.calculate_stability_score(torch.from_numpy(logits)[None], threshold, offset)
        assert grid.stability(logits, threshold, offset) == theirs[0].numpy()


def test_stability_of_an_empty_mask_is_a_number() -> None:
    assert grid.stability(np.full((3, 3), -9, np.float32), 0.0, 1.0) == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_duplicates_by_boxes_with_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 200))
    corners = rng.integers(0, 60, (count, 2))
    boxes = np.concatenate([corners, corners + rng.integers(0, 40, (count, 2))], axis=1)
    scores = rng.integers(0, 12, count).astype(np.float32) / 12
    kept = batched_nms(torch.from_numpy(boxes).float(), torch.from_numpy(scores), torch.zeros(count), iou_threshold=0.7)
    assert grid.best_boxes(boxes.tolist(), scores.tolist(), 0.7) == kept.tolist()


@pytest.mark.parametrize("layers", range(4))
@pytest.mark.parametrize(("height", "width"), [(480, 640), (333, 1000), (77, 50)])
def test_crops(height: int, width: int, layers: int) -> None:
    boxes, numbers = amg.generate_crop_boxes((height, width), layers, 512 / 1500)
    ours = grid.crop_boxes(height, width, layers, 512 / 1500)
    assert [list(box) for box, _ in ours] == boxes
    assert [layer for _, layer in ours] == numbers


def test_points() -> None:
    theirs = amg.build_all_layer_point_grids(32, 3, 2)
    for layer, points in enumerate(theirs):
        assert (grid.points_in_layer(32, layer, 2) == points).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_boxes_that_a_crop_cuts_off(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = 200, 300
    crop = (0, 40, 180, 200) if seed % 2 else (100, 0, 300, 150)
    for _ in range(50):
        x, y = rng.integers(0, crop[2] - crop[0], 2), rng.integers(0, crop[3] - crop[1], 2)
        box = (int(x.min()), int(y.min()), int(x.max()), int(y.max()))
        theirs = amg.is_box_near_crop_edge(torch.tensor([box]), list(crop), [0, 0, width, height])
        assert grid.is_cut_off(box, crop, height, width) == bool(theirs)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("holes", [True, False])
@pytest.mark.parametrize("least", [1, 8, 60, 5000])
def test_small_regions(seed: int, holes: bool, least: int) -> None:  # noqa: FBT001 (a parameter of the test)
    mask = blobs(seed) > 0.3
    theirs, changed = amg.remove_small_regions(mask, least, "holes" if holes else "islands")
    ours, different = grid.without_small(mask, least, holes=holes)
    assert (ours == theirs).all()
    assert different == changed
