"""Segmentation in runoff itself: suites, requests, the comparison of masks, pictures of them, the command's options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from orchestra import HEAD, result_of, suite_of, target_info

from runoff.cli.segment import _prompt
from runoff.measure.masks import compare_masks, png
from runoff.measure.request import RequestFiles, draw, make_request
from runoff.models.store import StoredModel
from runoff.plan.cases import make_plan, with_model_limits
from runoff.probes.accuracy import ACCURACY
from runoff.records.errors import RunoffError
from runoff.records.manifest import Decoder, Example, Manifest, StoredFile, StoredTensor
from runoff.records.protocol import Mask, Prompt, Segment, Segmentation, TensorSpec, WrittenTensor
from runoff_runners import masks
from runoff_runners.protocol import RunnerError
from runoff_runners.request import check_request

if TYPE_CHECKING:
    from runoff.records.schema import Case

MEAN, STD = (1.0, 2.0, 3.0), (1.0, 1.0, 1.0)
SUITE = HEAD.replace('probes = ["life"]', 'probes = ["life"]\nworkloads = ["segment"]')
SQUARE = np.zeros((6, 8), bool)
SQUARE[1:4, 2:5] = True
PORT: dict[str, Any] = {"name": "a", "dtype": "float32", "shape": [1]}


def mask_of(pixels: masks.Bools, score: float = 0.9) -> Mask:
    counts = masks.encode(pixels)
    return Mask(
        size=pixels.shape,
        counts=tuple(counts),
        area=sum(counts[1::2]),
        bbox=(0, 0, 0, 0),
        predicted_iou=score,
        stability_score=1.0,
        point_coords=(),
        crop_box=(0, 0, 8, 6),
    )


@pytest.fixture
def model(tmp_path: Path) -> StoredModel:
    wanted = Segmentation(raw=9, masks=(mask_of(SQUARE), mask_of(~SQUARE, 0.8)))
    (tmp_path / "masks.json").write_bytes(msgspec.json.encode(wanted))
    (tmp_path / "small.bin").write_bytes(bytes(3 * 4 * 3))
    file = StoredFile("image.png", "", 0)
    examples = tuple(
        Example(
            name,
            {},
            {},
            file,
            prompts=prompts,
            masks=StoredFile("masks.json", "", 0),
            thumbnail=StoredTensor("small.bin", "", 36, "uint8", (3, 4, 3)),
        )
        for name, prompts in (("all", None), ("point", (Prompt(points=((1.0, 2.0),), labels=(1,)),)))
    )
    spec = TensorSpec("images", "float32", (1, 3, 8, 8))
    manifest = Manifest(
        name="net",
        source="test",
        weights="fitted:0",
        builder="a:b",
        inputs=(spec,),
        outputs=(TensorSpec("image_embeddings", "float32", (1, 4, 2, 2)),),
        segment=Segment(size=8, mean=MEAN, std=STD, points_per_side=2),
        files={"pt": file, "onnx": file, "onnx@full": file},
        decoders={name: Decoder(StoredFile(f"{name}.onnx", "", 0), (spec,), ()) for name in ("lean", "full")},
        examples=examples,
        batches=False,
        made_with={},
    )
    return StoredModel(tmp_path, manifest)


def plan(model: StoredModel, text: str) -> list[Case]:
    info = target_info(workloads=("classify", "segment"))
    cases = make_plan(suite_of(text), {"net": model.formats}, {"mine": info})
    return list(with_model_limits(cases, {"mine": info}, {"net": model.manifest}))


def test_a_group_varies_filters_and_examples(model: StoredModel) -> None:
    text = f'{SUITE}[[group]]\nsegment = {{ example = "point", points_per_side = [4, 16] }}\n'
    cases = plan(model, text)
    assert [case.id for case in cases] == [
        f"net.segment.mine.default.t1.b1.example-point.points_per_side-{count}" for count in (4, 16)
    ]
    request = make_request(cases[1], model, ACCURACY, Path("/out"))
    assert request.segment == Segment(size=8, mean=MEAN, std=STD, points_per_side=16)
    (item,) = request.inputs
    assert item.prompts == model.manifest.examples[1].prompts
    assert draw(cases[1], model, ACCURACY, 0, "secret") == (1,)
    assert request.model.decoder
    assert request.model.decoder.path.endswith("/lean.onnx")
    decoder = model.model_file("onnx@full").decoder
    assert decoder
    assert decoder.path.endswith("/full.onnx")
    assert model.model_file("pt").decoder is None


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("{ exampel = 'all' }", "unknown key 'exampel'"),
        ("{ points_per_side = 0 }", "points_per_side"),
        ("{ pred_iou_thresh = 'high' }", "pred_iou_thresh"),
        ("{ size = 64 }", "unknown key 'size'"),
    ],
)
def test_mistakes_in_a_group_are_named(table: str, said: str) -> None:
    with pytest.raises(RunoffError, match=said):
        suite_of(f"{SUITE}[[group]]\nsegment = {table}\n")


def test_a_case_that_the_model_does_not_fit_is_skipped(model: StoredModel) -> None:
    (case,) = plan(model, f"{SUITE}[[group]]\nsegment = {{ example = 'none' }}\n")
    assert case.skipped
    assert "all, point" in case.skipped.hint
    (case,) = plan(model, SUITE.replace('"segment"', '"classify"'))
    assert case.skipped
    assert case.skipped.hint == 'set workloads = ["segment"]'


def test_requests_of_other_workloads_have_no_new_field(model: StoredModel, tmp_path: Path) -> None:
    (case,) = plan(model, SUITE.replace('"segment"', '"classify"'))
    request = make_request(case, model, ACCURACY, tmp_path)
    RequestFiles(request, tmp_path).write(5)
    assert "segment" not in msgspec.json.decode((tmp_path / "request.json").read_bytes())


def found(*each: Mask, raw: int = 9) -> Any:
    outputs = (WrittenTensor((0,), "image_embeddings", "float32", (1,), "x"),)
    return result_of(outputs=outputs, segmentations=(Segmentation(raw=raw, masks=each),))


def test_equal_masks(model: StoredModel) -> None:
    (case,) = plan(model, SUITE)
    example, row, reason = compare_masks(case, model, (1, 0), found(mask_of(SQUARE), mask_of(~SQUARE)), draw=True)
    assert (example, reason) == (1, None)
    assert row.pop("overlay").startswith("data:image/png;base64,")
    assert row == {"masks_raw": 9, "masks_kept": 2, "mask_iou": 1.0, "score_diff": 0.0}


@pytest.mark.parametrize(
    ("each", "said"),
    [
        ((mask_of(SQUARE),), "1 masks"),
        ((mask_of(~SQUARE), mask_of(SQUARE)), "another order"),
        ((mask_of(SQUARE), mask_of(np.roll(~SQUARE, 1, 0))), "differ from"),
        ((mask_of(SQUARE, 0.95), mask_of(~SQUARE)), "score"),
    ],
)
def test_other_masks_exclude_a_case(model: StoredModel, each: tuple[Mask, ...], said: str) -> None:
    (case,) = plan(model, SUITE)
    _, _, reason = compare_masks(case, model, (0,), found(*each), draw=False)
    assert reason
    assert reason.kind == "outputs-differ"
    assert said in reason.message


def test_masks_with_other_filters_are_not_compared(model: StoredModel) -> None:
    (case,) = plan(model, f"{SUITE}[[group]]\nsegment = {{ points_per_side = 9 }}\n")
    _, row, reason = compare_masks(case, model, (0,), found(mask_of(SQUARE)), draw=False)
    assert (row, reason) == ({"masks_raw": 9, "masks_kept": 1}, None)


@pytest.mark.parametrize("counts", [(1, 2), (48, 1), ()])
def test_masks_of_the_wrong_length_are_garbage(model: StoredModel, counts: tuple[int, ...]) -> None:
    (case,) = plan(model, SUITE)
    wrong = msgspec.structs.replace(mask_of(SQUARE), counts=counts)
    with pytest.raises(ValueError, match="run lengths"):
        compare_masks(case, model, (0,), found(wrong, mask_of(SQUARE)), draw=False)


@pytest.mark.parametrize("size", [(30_000, 30_000), (-6, -8), (0, 8)])
def test_masks_of_an_impossible_size_are_garbage(model: StoredModel, size: tuple[int, int]) -> None:
    (case,) = plan(model, SUITE)
    wrong = msgspec.structs.replace(mask_of(SQUARE), size=size, counts=(size[0] * size[1],))
    with pytest.raises(ValueError, match=r"pixels|size"):
        compare_masks(case, model, (0,), found(wrong, wrong), draw=False)


def test_a_picture_of_masks_shows_each(tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.full((12, 16, 3), 200, np.uint8)
    drawn = masks.overlay(pixels, [SQUARE, ~SQUARE])
    assert (drawn != pixels).any(axis=2).all()
    assert (masks.overlay(pixels, []) == pixels).all()
    (tmp_path / "a.png").write_bytes(png(drawn))
    with Image.open(tmp_path / "a.png") as image:
        assert (np.asarray(image) == drawn).all()


def test_run_lengths() -> None:
    assert masks.encode(SQUARE) == [13, 3, 3, 3, 3, 3, 20]
    assert masks.encode(~SQUARE)[0] == 0
    assert (masks.decode(masks.encode(SQUARE), SQUARE.shape) == SQUARE).all()
    assert masks.box_of(SQUARE) == (2, 1, 4, 3)
    assert masks.box_of(np.zeros((2, 2), bool)) == (0, 0, 0, 0)
    assert masks.intersection_over_union(SQUARE, SQUARE) == 1
    assert masks.intersection_over_union(SQUARE, ~SQUARE) == 0


def request(**changes: Any) -> dict[str, Any]:
    ports = {"inputs": [PORT], "outputs": [PORT]}
    return {
        "case": "c",
        "workload": "segment",
        "model": {"name": "m", "path": "p", "format": "onnx", "sha256": "", **ports},
        "inputs": [{"image": "i"}],
        "segment": {"size": 8, "mean": [0, 0, 0], "std": [1, 1, 1]},
        "outputs_dir": "o",
        **changes,
    }


def test_defaults_of_the_filters_equal_those_of_the_class() -> None:
    read = check_request(request())
    assert msgspec.convert(read["segment"], Segment) == Segment(size=8, mean=(0, 0, 0), std=(1, 1, 1))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"segment": None}, "segment: is missing"),
        ({"inputs": [{"tensors": {}}]}, "inputs[0].image: is missing"),
        ({"settings": {"batch": 2}}, "one picture at a time"),
        ({"measure": {"kind": "operators", "inferences": 1, "warmup": 0}}, "'operators'"),
        ({"segment": {"size": 8, "mean": [0, 0], "std": [1, 1, 1]}}, "segment.mean: has 2 numbers"),
        ({"segment": {"size": 8, "mean": [0, 0, 0], "std": [1, 0, 1]}}, "segment.std"),
        ({"inputs": [{"image": "i", "prompts": [{"box": [3, 3, 1, 5]}]}]}, "box: 3, 3, 1, 5 is inside out"),
        ({"inputs": [{"image": "i", "prompts": [{"points": [[1]], "labels": [1]}]}]}, "points[0]: has 1 numbers"),
        ({"inputs": [{"image": "i", "prompts": [{"points": [[1, 1]], "labels": [2]}]}]}, "labels[0]"),
    ],
)
def test_bad_requests(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RunnerError) as caught:
        check_request(request(**changes))
    assert said in caught.value.message
    assert caught.value.kind == "bad-request"


def test_options_of_the_command() -> None:
    assert _prompt((), (), None) is None
    prompt = _prompt(["1,2"], ["3.5,4"], "0,0,9,9")
    assert prompt == Prompt(points=((1.0, 2.0), (3.5, 4.0)), labels=(1, 0), box=(0.0, 0.0, 9.0, 9.0))
    for wrong in ("", "1", "a,b", "1,2,3"):
        with pytest.raises(RunoffError, match="not X,Y") as caught:
            _prompt([wrong], (), None)
        assert "--point 120,80" in (caught.value.hint or "")
