"""The workload `segment` on every path: the masks of segment_anything, parts that add up, bad prompts in one line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from runners_under_test import PROTOCOL, RUNNERS, Document, Outcome, Runner, execute, one_of

from machine import FULL, skip_because
from runoff.models.store import ModelStore
from runoff.records.protocol import Segmentation
from runoff_runners.masks import decode, intersection_over_union
from runoff_runners.segmentation import EMBEDDINGS

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.models.store import StoredModel

MODEL, BUILDER = "sam_tiny", "runoff_runners.torch_builders:sam_tiny"
NAMES = ("torch", "ort-python", "ort-rust", "ort-pyo3", "openvino-python")
PATHS = tuple(runner for runner in RUNNERS if runner.name in NAMES)
READERS = tuple(runner for runner in PATHS if runner.name in ("ort-python", "ort-rust", "openvino-python"))
EXAMPLES = ("tall", "tall.points", "geometric.box", *(("geometric", "geometric.point") if FULL else ()))

path = one_of(PATHS)
reader = one_of(READERS)
in_torch = one_of([runner for runner in PATHS if runner.name == "torch"])
prompted = one_of(PATHS if FULL else READERS[:2])
"""A runner of each implementation that reads prompts: the Python programs share a module, the others a crate."""


@pytest.fixture(scope="module")
def tiny(models: Path) -> StoredModel:
    if not (models / MODEL / "manifest.json").exists():
        skip_because(f"{models / MODEL} is missing; run: runoff export {MODEL}")
    return ModelStore(models).get(MODEL)


def ask(runner: Runner, tiny: StoredModel, folder: Path, *items: Document, **fields: Any) -> Outcome:
    """Execute the golden request with other items or fields."""
    (folder / "out").mkdir()
    text = (PROTOCOL / "golden" / "once-segment.request.json").read_text(encoding="utf-8")
    values = {"models": tiny.folder.parent, "format": runner.format, "builder": BUILDER, "out": folder / "out"}
    for key, value in values.items():
        text = text.replace(f"{{{key}}}", str(value))
    document: Document = {**json.loads(text), **fields}
    if items:
        document["inputs"] = [{"image": str(tiny.folder / "geometric.png"), **item} for item in items]
    return execute(runner, document, folder)


def item_of(tiny: StoredModel, name: str) -> tuple[int, Document]:
    """Return the place of an example, and its item."""
    place = next(place for place, one in enumerate(tiny.manifest.examples) if one.name == name)
    (item,) = (tiny.items("segment")[place],)
    return place, json.loads(msgspec.json.encode(item))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_masks_are_those_of_segment_anything(path: Runner, tiny: StoredModel, tmp_path: Path, name: str) -> None:
    place, item = item_of(tiny, name)
    outcome = ask(path, tiny, tmp_path, item)
    assert outcome.exit_code == 0, outcome.stderr
    (found,) = outcome.result.segmentations
    example = tiny.manifest.examples[place]
    assert example.masks
    wanted = msgspec.json.decode((tiny.folder / example.masks.path).read_bytes(), type=Segmentation)
    assert found.raw == wanted.raw
    assert len(found.masks) == len(wanted.masks) > 0
    for ours, theirs in zip(found.masks, wanted.masks, strict=True):
        assert intersection_over_union(*(decode(one.counts, one.size) for one in (ours, theirs))) >= 0.999
        assert ours.predicted_iou == pytest.approx(theirs.predicted_iou, abs=1e-3)
        assert (ours.point_coords, ours.crop_box) == (theirs.point_coords, theirs.crop_box)
        assert ours.area == sum(ours.counts[1::2])
    for tensor in outcome.result.outputs:
        stored = example.references[tensor.name]
        actual, expected = (np.fromfile(file, "<f4") for file in (tensor.path, tiny.folder / stored.path))
        assert tensor.shape == stored.shape
        assert abs(actual - expected).max() <= 0.02 * abs(expected).max()
    assert {tensor.name for tensor in outcome.result.outputs} == set(example.references)


def test_the_parts_add_up(path: Runner, tiny: StoredModel, tmp_path: Path) -> None:
    measure = {"kind": "latency", "min_samples": 3, "min_ns": 0, "warmup": 0}
    outcome = ask(path, tiny, tmp_path, measure=measure)
    assert outcome.exit_code == 0, outcome.stderr
    samples = outcome.result.samples
    assert set(samples) == {"inference", "preprocess", "encode", "decode", "postprocess"}
    parts = [samples[name] for name in ("encode", "decode", "postprocess")]
    for place, inference in enumerate(samples["inference"].warm_ns):
        inside = sum(part.warm_ns[place] for part in parts)
        assert 0.5 * inference < inside <= inference
    assert all(len(timing.warm_ns) == 3 for timing in samples.values())
    names = [phase.name for phase in outcome.result.phases]
    assert names[0] == "start"
    assert names[-4:] == ["preprocess", "inference", "warm", "output"]


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_pytorch_segments_in_half_precision(
    in_torch: Runner, tiny: StoredModel, tmp_path: Path, precision: str
) -> None:
    text = json.loads((PROTOCOL / "golden" / "once-segment.request.json").read_text(encoding="utf-8"))
    _, item = item_of(tiny, "geometric.box")
    found = []
    for name in ("fp32", precision):
        (tmp_path / name).mkdir()
        outcome = ask(in_torch, tiny, tmp_path / name, item, settings={**text["settings"], "precision": name})
        assert outcome.exit_code == 0, outcome.stderr
        (embeddings,) = (tensor for tensor in outcome.result.outputs if tensor.name == EMBEDDINGS)
        found.append(np.fromfile(embeddings.path, "<f4"))
    full, half = found
    assert 1e-4 < abs(half - full).max() / abs(full).max() < 0.1


def test_one_mask_of_an_unambiguous_prompt(path: Runner, tiny: StoredModel, tmp_path: Path) -> None:
    text = json.loads((PROTOCOL / "golden" / "once-segment.request.json").read_text(encoding="utf-8"))
    outcome = ask(path, tiny, tmp_path, segment={**text["segment"], "multimask": False})
    assert outcome.exit_code == 0, outcome.stderr
    assert len(outcome.result.segmentations[0].masks) == 2
    shapes = {tensor.name: tensor.shape for tensor in outcome.result.outputs}
    assert shapes["iou_predictions"] == (2, 1)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ({"points": [[600, 20]], "labels": [1]}, "outside"),
        ({"points": [[20, -1]], "labels": [1]}, "outside"),
        ({"box": [20, 20, 513, 60]}, "outside"),
        ({"box": [200, 20, 100, 60]}, "box"),
        ({"box": [20, 60, 100, 60]}, "box"),
        ({"points": [[20, 20]], "labels": []}, "labels"),
        ({}, "empty"),
    ],
    ids=str,
)
def test_bad_prompts_are_one_line(
    prompted: Runner, tiny: StoredModel, tmp_path: Path, prompt: Document, said: str
) -> None:
    outcome = ask(prompted, tiny, tmp_path, {"prompts": [prompt]})
    outcome.assert_failed("bad-request", 2)
    assert said in (outcome.result.message or "")
    assert outcome.result.hint


def test_an_empty_list_of_prompts_is_a_mistake(prompted: Runner, tiny: StoredModel, tmp_path: Path) -> None:
    ask(prompted, tiny, tmp_path, {"prompts": []}).assert_failed("bad-request", 2)


def test_a_decoder_with_other_inputs_is_named(reader: Runner, tiny: StoredModel, tmp_path: Path) -> None:
    text = (PROTOCOL / "golden" / "once-segment.request.json").read_text(encoding="utf-8")
    model = json.loads(text.replace("{models}", str(tiny.folder.parent)).replace("{format}", "onnx"))["model"]
    # the encoder in its place
    model["decoder"] = {key: value for key, value in model.items() if key not in ("decoder", "builder")}
    del model["builder"]
    outcome = ask(reader, tiny, tmp_path, model=model)
    outcome.assert_failed("model-unsupported", 3)
    assert "images" in (outcome.result.message or "")


def test_a_full_decoder_gives_the_same_masks(reader: Runner, tiny: StoredModel, tmp_path: Path) -> None:
    place, item = item_of(tiny, "tall")
    model = json.loads(msgspec.json.encode(tiny.model_file("onnx@full")))
    outcome = ask(reader, tiny, tmp_path, item, model=model)
    assert outcome.exit_code == 0, outcome.stderr
    example = tiny.manifest.examples[place]
    assert example.masks
    wanted = msgspec.json.decode((tiny.folder / example.masks.path).read_bytes(), type=Segmentation)
    found = outcome.result.segmentations[0].masks
    assert len(found) == len(wanted.masks)
    for ours, theirs in zip(found, wanted.masks, strict=True):
        assert intersection_over_union(*(decode(one.counts, one.size) for one in (ours, theirs))) >= 0.999
