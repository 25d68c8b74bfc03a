"""The segmenter: masks of grids, crops and prompts against NumPy, what reaches the decoder, and errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import runoff_ort
from onnx import helper
from PIL import Image
from segmenting import (
    F32,
    GRID,
    INPUTS,
    LOW,
    MASKS,
    SIZE,
    blobs,
    encoder,
    generate,
    inputs,
    lookup,
    save_model,
    tensor,
    upscale,
)

if TYPE_CHECKING:
    from pathlib import Path

STEADY = {"points_per_side": GRID, "points_per_batch": 5}


def picture(height: int, width: int) -> Any:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


def segmenter(folder: Path, decoder: Path, **settings: Any) -> runoff_ort.Segmenter:
    return runoff_ort.Segmenter(encoder(folder / "encoder.onnx"), decoder, size=SIZE, **settings)


def probe(path: Path, *more: str) -> Path:
    """Save a decoder whose predicted IoUs are the sums of coordinates, labels, and the mask if there is one."""
    nodes = [
        helper.make_node("ReduceSum", ["point_coords", "axes"], ["a"], keepdims=0),
        helper.make_node("ReduceSum", ["point_labels", "axis"], ["b"], keepdims=0),
        helper.make_node("Mul", ["mask_input", "has_mask_input"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "all"], ["c"], keepdims=0),
        *(helper.make_node("Unsqueeze", [name, "axis"], [f"{name}1"]) for name in "abc"),
        helper.make_node("Concat", ["a1", "b1", "c1"], ["iou_predictions"], axis=1),
    ]
    outputs = [tensor("iou_predictions", 1, 3), tensor("low_res_masks", 1, 3, LOW, LOW)]
    axes = {"axes": np.array([1, 2]), "axis": np.array([1]), "all": np.array([1, 2, 3])}
    extra = [tensor(name, 1) for name in more]
    return save_model(path, nodes, inputs() + extra, outputs, low_res_masks=np.zeros((1, 3, LOW, LOW), F32), **axes)


def check_equal(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(found) == len(expected)
    for own, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(own["segmentation"], other["segmentation"])
        left, top, right, bottom = other["box"]
        assert own["bbox"] == [left, top, right - left, bottom - top]
        assert own["area"] == other["segmentation"].sum()
        left, top, right, bottom = other["crop"]
        assert own["crop_box"] == [left, top, right - left, bottom - top]
        for name in ("predicted_iou", "stability_score", "point_coords"):
            np.testing.assert_allclose(own[name], other[name], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (45, 97), (150, 100), (1, 70)])
def test_masks_of_a_grid_are_those_of_numpy(tmp_path: Path, height: int, width: int) -> None:
    low, ious = blobs(height)
    made = segmenter(tmp_path, lookup(tmp_path / "decoder.onnx", low, ious), threads=2)
    made.set_image(picture(height, width))
    found = made.generate(**STEADY)
    check_equal(found, generate(low, ious, height, width))
    assert found or height == 1
    assert made.raw_masks == GRID * GRID * MASKS
    # the same again, from another place in the buffers
    check_equal(made.generate(points_per_side=GRID), generate(low, ious, height, width))


@pytest.mark.parametrize("least", [0, 40, 3000])
def test_crops_and_small_regions(tmp_path: Path, least: int) -> None:
    pytest.importorskip("cv2")
    low, ious = blobs(7)
    # noise, which makes holes and islands
    low += np.random.default_rng(1).normal(0, 4, low.shape).astype(F32)
    made = segmenter(tmp_path, lookup(tmp_path / "decoder.onnx", low, ious))
    made.set_image(picture(120, 170))
    own = {"stability_score_thresh": 0.95, "min_mask_region_area": least}
    found = made.generate(**STEADY, **own, crop_n_layers=1)
    expected = generate(low, ious, 120, 170, layers=1, least=least)
    check_equal(found, expected)
    assert made.raw_masks == 5 * GRID * GRID * MASKS
    assert found


def test_masks_as_runs(tmp_path: Path) -> None:
    low, ious = blobs(5)
    made = segmenter(tmp_path, lookup(tmp_path / "decoder.onnx", low, ious))
    made.set_image(picture(50, 70))
    for mask, rle in zip(made.generate(**STEADY), made.generate(**STEADY, output_mode="uncompressed_rle"), strict=True):
        counts = rle["segmentation"]["counts"]
        values = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
        np.testing.assert_array_equal(values.reshape(70, 50).T, mask["segmentation"])
        assert rle["segmentation"]["size"] == [50, 70]


def test_masks_of_a_prompt(tmp_path: Path) -> None:
    low, ious = blobs(9)
    made = segmenter(tmp_path, lookup(tmp_path / "decoder.onnx", low, ious))
    made.set_image(picture(90, 60))
    masks, scores, logits = made.predict(points=np.array([[10, 20]]), labels=np.array([1]))
    # 10 and 20 pixels of 90 are 7.1 and 14.2 of 64, in the first of four cells
    np.testing.assert_array_equal(masks, upscale(low[0], 90, 60) > 0)
    np.testing.assert_array_equal(scores, ious[0])
    np.testing.assert_array_equal(logits, low[0])
    masks, scores, logits = made.predict([[10, 20]], [1], multimask=False)
    np.testing.assert_array_equal(masks, upscale(low[0, :1], 90, 60) > 0)
    assert (scores.shape, logits.shape) == ((1,), (1, LOW, LOW))
    assert made.raw_masks == MASKS + 1


def test_a_decoder_that_scales_masks_itself(tmp_path: Path) -> None:
    node = helper.make_node("Tile", ["row", "repeats"], ["masks"])
    size = [
        helper.make_node("Cast", ["orig_im_size"], ["sides"], to=7),
        helper.make_node("Concat", ["ones", "sides"], ["repeats"], axis=0),
    ]
    outputs = [
        tensor("masks", 1, 1, "h", "w"),
        tensor("iou_predictions", 1, 1),
        tensor("low_res_masks", 1, 1, LOW, LOW),
    ]
    weights = {
        "row": np.full((1, 1, 1, 1), 3, F32),
        "ones": np.array([1, 1]),
        "iou_predictions": np.full((1, 1), 0.5, F32),
        "low_res_masks": np.full((1, 1, LOW, LOW), -3, F32),
    }
    names = ("image_embeddings", "point_coords", "point_labels")
    given = [*inputs(*names), tensor("orig_im_size", 2)]
    made = segmenter(tmp_path, save_model(tmp_path / "decoder.onnx", [*size, node], given, outputs, **weights))
    made.set_image(picture(30, 40))
    masks, _, _ = made.predict(box=[0, 0, 40, 30])
    assert masks.shape == (1, 30, 40)
    assert masks.all()
    with pytest.raises(runoff_ort.RunoffOrtError, match="mask_input") as caught:
        made.predict(mask=np.zeros((LOW, LOW), F32))
    assert caught.value.kind == "model-unsupported"


def test_what_reaches_the_decoder(tmp_path: Path) -> None:
    made = segmenter(tmp_path, probe(tmp_path / "decoder.onnx"))
    made.set_image(picture(32, 32))

    def sums(**prompt: Any) -> list[float]:
        found: list[float] = made.predict(**prompt)[1].tolist()
        return found

    # coordinates are doubled; a box has the labels 2 and 3, and no padding with the label -1
    assert sums(points=[[1, 2], [3, 4]], labels=[1, 0]) == [20, 0, 0]
    assert sums(points=[[1, 2]], labels=[1], box=[5, 6, 7, 8]) == [58, 6, 0]
    assert sums(box=(5, 6, 7, 8)) == [52, 5, 0]
    assert sums(mask=np.full((1, LOW, LOW), 0.5, F32)) == [0, -1, 128]
    assert sums(box=(5, 6, 7, 8)) == [52, 5, 0]


def test_pictures_are_arrays_or_files(tmp_path: Path) -> None:
    made = segmenter(tmp_path, probe(tmp_path / "decoder.onnx"), mean=[0, 0, 0], std=[1, 1, 1])
    pixels = picture(64, 32)
    made.set_image(pixels)
    means = pixels.reshape(4, 16, 2, 16, 3).astype(float).mean((1, 3)).transpose(2, 0, 1)
    expected = np.concatenate([means, np.zeros((3, 4, 2))], 2)[None]
    np.testing.assert_allclose(made.image_embeddings, expected, rtol=1e-5)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    made.set_image(np.zeros((8, 8, 3), np.uint8))
    made.set_image(tmp_path / "picture.png")
    np.testing.assert_allclose(made.image_embeddings, expected, rtol=1e-5)
    # in no order of memory that a model reads
    made.set_image(np.asfortranarray(pixels))
    np.testing.assert_allclose(made.image_embeddings, expected, rtol=1e-5)
    large = picture(200, 300)
    made.set_image(large)
    resized = np.asarray(Image.fromarray(large).resize((64, 43), Image.Resampling.BILINEAR), float)
    assert abs(made.image_embeddings[0, :, 0, 0] - resized[:16, :16].mean((0, 1))).max() < 0.5


def test_times_are_those_of_the_current_picture(tmp_path: Path) -> None:
    low, ious = blobs(2)
    made = segmenter(tmp_path, lookup(tmp_path / "decoder.onnx", low, ious))
    assert made.timings == dict.fromkeys(("preprocess", "encode", "decode", "postprocess"), 0)
    made.set_image(picture(50, 50))
    first = made.timings
    assert first["preprocess"] > 0 < first["encode"]
    assert first["decode"] == first["postprocess"] == made.raw_masks == 0
    made.generate(**STEADY)
    after = made.timings
    assert (after["preprocess"], after["encode"]) == (first["preprocess"], first["encode"])
    assert after["decode"] > 0 < after["postprocess"]
    made.set_image(picture(50, 50))
    assert made.timings["decode"] == 0
    assert made.encoder.inputs[0].shape == (1, 3, SIZE, SIZE)
    assert made.decoder.inputs[1].name == "point_coords"


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({}, "the prompt is empty: a prompt has points, a box or a mask"),
        ({"points": [[1, 2]]}, "the prompt: 1 points, but 0 labels"),
        ({"points": [[1, 2]], "labels": [2]}, "the prompt.labels: 2 is not 0 or 1"),
        ({"points": [[1, 2]], "labels": [-1]}, "labels: -1 is not 0 or 1"),
        ({"points": [[1, 2, 3]], "labels": [1]}, r"points: \[1.0, 2.0, 3.0\] is not x and y"),
        ({"points": [[1, float("nan")]], "labels": [1]}, "a coordinate is not a finite number"),
        ({"points": [[50, 1]], "labels": [1]}, r"points: \[50.0, 1.0\] is outside the picture of 50 x 40"),
        ({"box": [1, 2, 3]}, r"box: \[1.0, 2.0, 3.0\] is not left, top, right and bottom"),
        ({"box": [3, 2, 1, 4]}, "left and top must be less than right and bottom"),
        ({"box": [0, 0, 50, 41]}, "is outside the picture of 50 x 40"),
        ({"mask": np.zeros((9, 9), F32)}, "the mask has 81 elements, the decoder takes"),
    ],
)
def test_wrong_prompts(tmp_path: Path, prompt: dict[str, Any], message: str) -> None:
    made = segmenter(tmp_path, probe(tmp_path / "decoder.onnx"))
    made.set_image(picture(40, 50))
    with pytest.raises(runoff_ort.InvalidValueError, match=message) as caught:
        made.predict(**prompt)
    assert caught.value.kind == "bad-request"


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"points_per_side": 0}, "points_per_side is 0, not from 1"),
        ({"points_per_side": 5000}, "points_per_side is 5000, more than 1024"),
        ({"box_nms_thresh": float("nan")}, "box_nms_thresh is NaN"),
        ({"crop_n_layers": 8, "points_per_side": 1}, "crop_n_layers: a picture of 3 x 3 has fewer crops"),
        ({"output_mode": "coco_rle"}, "output_mode is not binary_mask or uncompressed_rle"),
    ],
)
def test_wrong_filters(tmp_path: Path, filters: dict[str, Any], message: str) -> None:
    low, ious = blobs(2)
    made = segmenter(tmp_path, lookup(tmp_path / "decoder.onnx", low, ious))
    made.set_image(picture(3, 3))
    with pytest.raises(runoff_ort.InvalidValueError, match=message):
        made.generate(**filters)


def test_wrong_models_and_arguments(tmp_path: Path) -> None:
    good = probe(tmp_path / "decoder.onnx")
    with pytest.raises(runoff_ort.RunoffOrtError, match='needs the input "extra"') as caught:
        segmenter(tmp_path, probe(tmp_path / "extra.onnx", "extra"))
    assert caught.value.kind == "model-unsupported"
    node = helper.make_node("Identity", ["image_embeddings"], ["low_res_masks"])
    outputs = [tensor("low_res_masks", *INPUTS["image_embeddings"])]
    few = save_model(tmp_path / "few.onnx", [node], inputs("image_embeddings"), outputs)
    with pytest.raises(runoff_ort.RunoffOrtError, match='no input "point_coords"') as caught:
        segmenter(tmp_path, few)
    assert caught.value.kind == "model-unsupported"
    with pytest.raises(runoff_ort.InvalidValueError, match="the encoder has 5 inputs"):
        runoff_ort.Segmenter(good, good, size=SIZE)
    with pytest.raises(runoff_ort.InvalidValueError, match="takes float32 of shape"):
        segmenter(tmp_path, good).encoder and runoff_ort.Segmenter(tmp_path / "encoder.onnx", good, size=32)
    with pytest.raises(TypeError, match="thread"):
        segmenter(tmp_path, good, thread=1)
    made = segmenter(tmp_path, good)
    for wrong in (np.zeros((4, 4, 3), F32), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), [1, 2]):
        with pytest.raises(TypeError, match=r"an image is uint8 of shape \[h, w, 3\], not"):
            made.set_image(wrong)
    for call in (made.generate, lambda: made.predict([[0, 0]], [1]), lambda: made.image_embeddings):
        with pytest.raises(runoff_ort.InvalidValueError, match="there is no picture yet"):
            call()
    with pytest.raises(runoff_ort.MissingFileError, match=r"nowhere\.png"):
        made.set_image(tmp_path / "nowhere.png")
    made.set_image(picture(4, 4))
    with pytest.raises(TypeError, match="a mask is an array of float32, not"):
        made.predict(mask=np.zeros((LOW, LOW)))
