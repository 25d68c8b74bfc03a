"""Labelled images of a user: folders, arrays, and what does not fit; and the split for training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import helper
from PIL import Image

from onnx_models import FLOAT, save
from runoff.models.labelled import read_labelled
from runoff.models.own.add import Request, add
from runoff.models.store import StoredModel
from runoff.plan.suite import OwnModel, parse_suite
from runoff.records.errors import RunoffError
from runoff.records.manifest import read_manifest
from runoff.records.protocol import Preprocess
from runoff.records.tensors import read

if TYPE_CHECKING:
    from pathlib import Path

PREPROCESS = Preprocess(4, 4, "bilinear", (0.0, 0.0, 0.0), (255.0, 255.0, 255.0))


def pictures(folder: Path, count: int = 6) -> Path:
    """Save `count` red and as many blue pictures in a sub-folder per colour."""
    for name, colour in (("red", (250, 0, 0)), ("blue", (0, 0, 250))):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (8, 6), tuple(max(0, part - number) for part in colour)).save(
                folder / name / f"{number}.png"
            )
    (folder / "red" / "notes.txt").write_text("no image")
    return folder


def classifier(path: Path, outputs: int = 2) -> Path:
    """Save a model of images with the logits blue, red (and more)."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "w"], ["logits"]),
    ]
    weights = np.zeros((3, outputs), np.float32)
    weights[2, 0] = weights[0, min(1, outputs - 1)] = 4.0
    shape = ["n", 3, 4, 4]
    return save(path, nodes, [("image", FLOAT, shape)], [("logits", FLOAT, ["n", outputs])], {"w": weights})


def described(tmp_path: Path, **own: Any) -> StoredModel:
    """Return the classifier with labelled images."""
    (tmp_path / "described").mkdir()
    path = classifier(tmp_path / "net.onnx", own.pop("outputs", 2))
    model = OwnModel(path=str(path), preprocess=PREPROCESS, **own)
    add(Request(name="net", model=model, folder=str(tmp_path), exported=str(tmp_path)), tmp_path / "described")
    return StoredModel(tmp_path / "described", read_manifest(tmp_path / "described"))


def test_a_folder_per_class(tmp_path: Path) -> None:
    found = read_labelled(str(pictures(tmp_path / "data")), tmp_path)
    assert found.classes == ("blue", "red")
    assert [found.name(place) for place in (0, 6)] == ["blue/0.png", "red/0.png"]
    assert found.labels == (0,) * 6 + (1,) * 6
    in_order = read_labelled(str(tmp_path / "data"), tmp_path, ["red", "green", "blue"])
    assert in_order.labels == (2,) * 6 + (0,) * 6


@pytest.mark.parametrize("labels", [np.array([2, 0]), np.array(["c", "a"])])
def test_arrays_become_pictures(labels: Any, tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 255, (2, 5, 4, 3)).astype(np.uint8)
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    found = read_labelled(str(tmp_path / "data.npz"), tmp_path, ["a", "b", "c"])
    assert found.labels == (2, 0)
    assert [
        np.array_equal(np.asarray(Image.open(file)), image) for file, image in zip(found.files, images, strict=True)
    ]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((2, 4, 4), np.float32), "labels": np.zeros(2, int)}, r"images are float32 \[2, 4, 4\]"),
        ({"images": np.zeros((2, 4, 4, 4), np.uint8), "labels": np.zeros(2, int)}, r"images are uint8 \[2, 4, 4, 4\]"),
        ({"images": np.zeros((2, 4, 4), np.uint8), "labels": np.zeros(3, int)}, r"labels are int64 \[3\]"),
        ({"images": np.zeros((2, 4, 4), np.uint8), "labels": np.array([0, 3])}, r"label 3; the model has 2 labels"),
        ({"images": np.zeros((2, 4, 4), np.uint8), "labels": np.array(["a", "z"])}, r"class 'z' is not one of the 2"),
        ({"pictures": np.zeros(1)}, r"not readable as labelled images"),
    ],
)
def test_arrays_that_do_not_fit(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(RunoffError, match=message) as raised:
        read_labelled(str(tmp_path / "data.npz"), tmp_path, ["a", "b"])
    assert raised.value.hint


def test_a_users_model_gets_labelled_examples(tmp_path: Path) -> None:
    model = described(tmp_path, labelled=str(pictures(tmp_path / "data")))
    examples = model.manifest.examples
    assert len(examples) == 12
    # the first eight, of both classes, have tensors
    assert {example.label for example in examples[:8]} == {0, 1}
    assert [bool(example.inputs) for example in examples] == [True] * 8 + [False] * 4
    assert [int(read(model.references(place)["logits"]).argmax()) for place in range(12)] == [
        example.label for example in examples
    ]
    assert len({example.image.path for example in examples if example.image}) == 12
    assert model.provenance(None)["classes"] == ["blue", "red"]
    model.verify()


def test_other_examples_stay_without_a_label(tmp_path: Path) -> None:
    pictures(tmp_path / "data")
    photos = tuple(str(tmp_path / "data" / "red" / f"{number}.png") for number in range(6))
    model = described(tmp_path, labelled=str(tmp_path / "data"), examples=photos)
    labels = [example.label for example in model.manifest.examples]
    assert labels[:6] == [None] * 6
    assert sorted(label for label in labels if label is not None) == [0] * 6 + [1] * 6


def test_a_class_beyond_the_models_outputs(tmp_path: Path) -> None:
    with pytest.raises(RunoffError, match=r"its class is number 1, the model has 1 outputs"):
        described(tmp_path, labelled=str(pictures(tmp_path / "data")), outputs=1)


def test_labelled_images_need_a_preprocessing() -> None:
    text = '[suite]\nname = "s"\nmodels = ["m"]\ntargets = ["ort-python"]\nprobes = ["accuracy"]\n'
    with pytest.raises(RunoffError, match=r"\[models.m\]: labelled needs an ONNX file and its preprocess"):
        parse_suite(f'{text}[models.m]\npath = "a.onnx"\nlabelled = "data"\n', "mine.toml")


def test_what_is_not_an_npz_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no archive")
    for path in (str(tmp_path / "text.npz"), "/dev/zero", str(tmp_path / "missing.npz")):
        with pytest.raises(RunoffError, match=r"not an \.npz file"):
            read_labelled(path, tmp_path)
