"""NumPy and OpenCV around PyTorch's networks, compared with segment_anything's predictor and generator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from networks import network, picture_file, request

from runoff_runners.masks import decode, intersection_over_union
from runoff_runners.pictures import read_picture
from runoff_runners.segment_torch import TorchSegmenter
from runoff_runners.segmenting import Decoded, Segmenter

if TYPE_CHECKING:
    from pathlib import Path

LARGE, SMALL, HIGH = (430, 290), (120, 90), (150, 333)


def segmenter(made: Any, spec: Any, *, full: bool = False) -> Segmenter:
    """Return the segmenter around a network in PyTorch, all of whose masks it gets, as from an ONNX file."""

    def embed(tensor: Any) -> Any:
        with torch.inference_mode():
            return made.image_encoder(torch.from_numpy(tensor)).numpy()

    def mask(embedding: Any, points: Any, labels: Any, earlier: Any, size: Any) -> Decoded:
        prompts, count = made.prompt_encoder, len(points)
        given = None if earlier is None else torch.from_numpy(earlier)[None]
        corners = labels[0] >= 2
        inside = labels[0] >= 0
        boxes = torch.from_numpy(points[:, corners].reshape(count, 4)) if corners.any() else None
        plain = inside & ~corners
        pairs = torch.from_numpy(points[:, plain]), torch.from_numpy(labels[:, plain]).int()
        with torch.inference_mode():
            sparse, dense = prompts(pairs if plain.any() or boxes is None else None, boxes, given)
            low, scores = made.mask_decoder.predict_masks(
                torch.from_numpy(embedding), prompts.get_dense_pe(), sparse, dense
            )
            frame = _frame(size, made.image_encoder.img_size)
            large = made.postprocess_masks(low, frame, size).numpy() if full else None
        return Decoded(low.numpy(), scores.numpy(), large)

    return Segmenter(spec, embed, mask)


def _frame(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = side / max(size)
    return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)


def both(made: Any, asked: Any, *, full: bool = False) -> tuple[Any, Any]:
    """Return the segmentations of both, after comparing all but the masks and scores."""
    picture = read_picture(asked, 0)
    reference = TorchSegmenter(asked["segment"], made)
    wanted = reference.run(picture)
    ours = segmenter(made, asked["segment"], full=full)
    found = ours.run(picture)
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].shape == array.shape
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-4)
    for one in (reference, ours):
        assert all(len(ns) == 1 and ns[0] > 0 for ns in one.parts.values())
    return ours.segmentation, reference.segmentation


def compare(ours: Any, theirs: Any) -> None:
    assert ours["raw"] == theirs["raw"]
    assert len(ours["masks"]) == len(theirs["masks"])
    for mine, other in zip(ours["masks"], theirs["masks"], strict=True):
        same = (decode(one["counts"], one["size"]) for one in (mine, other))
        assert intersection_over_union(*same) >= 0.999
        assert mine["point_coords"] == other["point_coords"]
        assert mine["crop_box"] == other["crop_box"]
        assert mine["bbox"] == pytest.approx(other["bbox"], abs=1)
        assert mine["area"] == pytest.approx(other["area"], abs=5)
        for score in ("predicted_iou", "stability_score"):
            assert mine[score] == pytest.approx(other[score], abs=1e-3)


@pytest.mark.parametrize("size", [LARGE, SMALL, HIGH])
@pytest.mark.parametrize("full", [False, True])
def test_everything(size: tuple[int, int], full: bool, tmp_path: Path) -> None:  # noqa: FBT001 (a parameter of the test)
    ours, theirs = both(network(), request(picture_file(tmp_path, *size)), full=full)
    assert theirs["masks"]
    compare(ours, theirs)


@pytest.mark.parametrize(
    "filters",
    [
        {"crop_n_layers": 1},
        {"crop_n_layers": 1, "crop_n_points_downscale_factor": 2, "crop_nms_thresh": 0.3},
        {"min_mask_region_area": 300},
        {"box_nms_thresh": 0.2, "points_per_side": 8},
        {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0},
        {"mask_threshold": 0.5, "stability_score_offset": 0.3},
        {"pred_iou_thresh": 100.0},
    ],
    ids=str,
)
def test_filters(filters: dict[str, Any], tmp_path: Path) -> None:
    compare(*both(network(1), request(picture_file(tmp_path, *LARGE), **filters)))


@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize(
    "prompt",
    [
        {"points": [[100, 60]], "labels": [1]},
        {"points": [[100, 60], [300, 200], [0, 0]], "labels": [1, 0, 1]},
        {"box": [40, 50, 300, 260.5]},
        {"points": [[100, 60]], "labels": [0], "box": [40, 50, 430, 290]},
    ],
    ids=str,
)
def test_prompts(prompt: dict[str, Any], several: bool, tmp_path: Path) -> None:  # noqa: FBT001
    asked = request(picture_file(tmp_path, *LARGE), [prompt, {"box": [1, 2, 30, 40]}], multimask=several)
    ours, theirs = both(network(2), asked)
    assert len(theirs["masks"]) == (6 if several else 2)
    compare(ours, theirs)


def test_an_earlier_mask(tmp_path: Path) -> None:
    logits = np.random.default_rng(0).normal(size=(1, 64, 64)).astype("<f4") * 4
    logits.tofile(tmp_path / "mask.bin")
    file = {"path": str(tmp_path / "mask.bin"), "dtype": "float32", "shape": [1, 64, 64]}
    asked = request(picture_file(tmp_path, *LARGE), [{"points": [[9, 9]], "labels": [1], "mask": file}, {"mask": file}])
    compare(*both(network(3), asked))
