"""A user's ONNX model: what runoff understands of it, the inputs it generates, and what it refuses."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper

from onnx_models import FLOAT, INT64, STRING, encoder, linear, save
from runoff.models.own import add as describing
from runoff.models.own import find
from runoff.models.own.add import Request, add
from runoff.models.own.find import summary
from runoff.models.own.graph import read_onnx
from runoff.models.own.sizes import parse_input
from runoff.models.own.values import generate, understand
from runoff.models.store import StoredModel
from runoff.plan.suite import OwnModel
from runoff.records.errors import RunoffError
from runoff.records.manifest import read_manifest
from runoff.records.tensors import read

if TYPE_CHECKING:
    from pathlib import Path


def added(path: Path, folder: Path, **own: Any) -> StoredModel:
    """Return the model in the file `path`, described in a new folder."""
    place = folder / "described"
    place.mkdir()
    request = Request(name="mine", model=OwnModel(path=str(path), **own), folder=str(folder), exported=str(folder))
    add(request, place)
    return StoredModel(place, read_manifest(place))


def test_examples_differ_and_references_are_those_of_the_model(tmp_path: Path) -> None:
    model = added(linear(tmp_path / "net.onnx"), tmp_path)
    weights = np.arange(12, dtype=np.float32).reshape(4, 3)
    given = [read(model.inputs(place)["x"]) for place in range(8)]
    assert len({array.tobytes() for array in given}) == 8
    for place, array in enumerate(given):
        assert np.allclose(read(model.references(place)["y"]), array @ weights)
    assert model.manifest.batches
    assert model.model_file("onnx").path == str(tmp_path / "net.onnx")
    model.verify()


def test_the_summary_says_what_was_chosen_and_how_to_change_it(tmp_path: Path) -> None:
    lines = list(summary(added(encoder(tmp_path / "net.onnx"), tmp_path).manifest))
    assert "49 parameters, opset ai.onnx 17" in lines[0] or "50 parameters, opset ai.onnx 17" in lines[0]
    assert lines[1] == "  operators: 1 Gather, 1 Unsqueeze, 1 Mul"
    assert lines[2] == (
        "  input ids: 1,128:int64; batch 1 (a batch of one), sequence 128 (a sequence); to change it: --input ids=1,128"
    )
    assert lines[4] == "  output hidden: ?,?,7:float32"


def test_indices_are_within_their_table_and_masks_are_ones(tmp_path: Path) -> None:
    file = read_onnx(encoder(tmp_path / "net.onnx"))
    feed = generate(file.inputs, {"ids": (4, 100), "mask": (4, 100)}, understand(file), seed=3)
    assert set(feed["ids"].ravel()) == set(range(7))
    assert (feed["mask"] == 1).all()


def test_sizes_that_the_model_needs_are_found_by_trying(tmp_path: Path) -> None:
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    path = save(
        tmp_path / "net.onnx",
        nodes,
        [("x", FLOAT, ["n", "length"])],
        [("y", FLOAT, [2, 160])],
        {"shape": np.array([2, 160])},
    )
    manifest = added(path, tmp_path).manifest
    assert manifest.examples[0].inputs["x"].shape == (1, 320)
    assert manifest.graph is not None
    assert "n 1 (a batch of one), length 320 (found by trying)" in manifest.graph.sizes["x"]
    assert not manifest.batches


def test_strings_are_those_that_the_model_knows(tmp_path: Path) -> None:
    encode = helper.make_node(
        "LabelEncoder", ["word"], ["code"], domain="ai.onnx.ml", keys_strings=["red", "blue"], values_int64s=[1, 2]
    )
    path = save(
        tmp_path / "net.onnx", [encode], [("word", STRING, ["n"])], [("code", INT64, ["n"])], domains=["ai.onnx.ml"]
    )
    model = added(path, tmp_path)
    assert {word for place in range(8) for word in read(model.inputs(place)["word"])} <= {b"red", b"blue"}
    assert {code for place in range(8) for code in read(model.references(place)["code"])} <= {1, 2}


def test_scalars_and_outputs_that_are_no_tensors(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["x", "rate"], ["y"]),
        helper.make_node("SequenceConstruct", ["y", "y"], ["both"]),
    ]
    both = helper.make_tensor_sequence_value_info("both", INT64, None)
    path = save(tmp_path / "net.onnx", nodes, [("x", INT64, [2]), ("rate", INT64, [])], [("y", INT64, [2]), both])
    model = added(path, tmp_path)
    assert model.inputs(0)["rate"].shape == ()
    assert model.manifest.graph is not None
    assert model.manifest.graph.not_read == {"both": "seq(tensor(int64))"}
    assert [spec.name for spec in model.manifest.outputs] == ["y"]


def test_the_users_examples_and_shapes(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", ids=np.zeros((3, 2, 5), np.int64), mask=np.ones((2, 5), np.float32))
    path = encoder(tmp_path / "net.onnx")
    model = added(path, tmp_path, examples=(str(tmp_path / "mine.npz"),))
    assert [example.name for example in model.manifest.examples] == ["mine.npz-0", "mine.npz-1", "mine.npz-2"]
    assert model.inputs(2)["ids"].shape == (2, 5)
    (tmp_path / "described").rename(tmp_path / "before")
    assert added(path, tmp_path, inputs={"ids": "2,9"}).inputs(0)["mask"].shape == (2, 9)


def test_external_data_belongs_to_the_model(tmp_path: Path) -> None:
    weights = {"w": np.ones((64, 64), np.float32)}
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    path = save(
        tmp_path / "net.onnx",
        [node],
        [("x", FLOAT, [1, 64])],
        [("y", FLOAT, [1, 64])],
        weights,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    model = added(path, tmp_path)
    assert [file.path for file in model.manifest.data] == [str(tmp_path / "weights.bin")]
    with (tmp_path / "weights.bin").open("r+b") as file:
        file.write(b"changed")
    with pytest.raises(RunoffError, match=r"weights.bin was changed"):
        model.verify()
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(RunoffError, match=r"its external data 'weights.bin' is missing"):
        read_onnx(path)


@pytest.mark.parametrize("location", ["../outside.bin", "link.bin", "/etc/hostname"])
def test_external_data_outside_the_folder(location: str, tmp_path: Path) -> None:
    path = with_data(tmp_path / "own" / "net.onnx")
    (path.parent / "weights.bin").rename(tmp_path / "outside.bin")
    (path.parent / "link.bin").symlink_to(tmp_path / "outside.bin")
    path.write_bytes(relocated(path, location))
    with pytest.raises(RunoffError, match=r"is outside its folder, where ONNX Runtime does not read it") as caught:
        read_onnx(path)
    assert str(path.parent) in caught.value.hint


def test_a_model_and_its_data_may_both_be_links(tmp_path: Path) -> None:
    path = with_data(tmp_path / "blobs" / "net.onnx")
    (tmp_path / "snapshot").mkdir()
    for name in ("net.onnx", "weights.bin"):
        (tmp_path / "snapshot" / name).symlink_to(path.parent / name)
    assert added(tmp_path / "snapshot" / "net.onnx", tmp_path).checked


def test_data_that_is_cut_off(tmp_path: Path) -> None:
    path = with_data(tmp_path / "own" / "net.onnx")
    (path.parent / "weights.bin").write_bytes(b"short")
    with pytest.raises(RunoffError, match=r"cannot load it: .*External initializer") as caught:
        added(path, tmp_path)
    assert "copy the model with its external data again" in caught.value.hint


@pytest.mark.parametrize("name", ["new\nline", "escape\x1b[2J", "x" * 201])
def test_names_that_are_no_part_of_a_file_name(name: str, tmp_path: Path) -> None:
    path = save(
        tmp_path / "net.onnx", [helper.make_node("Neg", ["x"], [name])], [("x", FLOAT, [1])], [(name, FLOAT, [1])]
    )
    with pytest.raises(RunoffError, match=r"has control characters or over 200 bytes") as caught:
        read_onnx(path)
    assert "\n" not in str(caught.value)


def test_a_slow_model_gets_fewer_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describing, "_SLOW_S", 0.0)
    manifest = added(linear(tmp_path / "net.onnx"), tmp_path).manifest
    assert len(manifest.examples) == 2
    assert manifest.graph is not None
    slow = msgspec.structs.replace(manifest, graph=msgspec.structs.replace(manifest.graph, inference_s=60.0))
    assert "  one inference took 60.0 s" in "\n".join(summary(slow))


def test_what_is_not_read_is_in_the_run(tmp_path: Path) -> None:
    both = helper.make_tensor_sequence_value_info("both", FLOAT, None)
    nodes = [helper.make_node("Neg", ["x"], ["y"]), helper.make_node("SequenceConstruct", ["y", "y"], ["both"])]
    path = save(tmp_path / "net.onnx", nodes, [("x", FLOAT, [2])], [("y", FLOAT, [2]), both])
    assert added(path, tmp_path).provenance(None)["not_read"] == {"both": "seq(tensor(float))"}


def test_options_are_shown_as_a_shell_takes_them(tmp_path: Path) -> None:
    path = save(
        tmp_path / "net.onnx", [helper.make_node("Neg", ["a b"], ["y"])], [("a b", FLOAT, ["n"])], [("y", FLOAT, ["n"])]
    )
    assert "to change it: --input 'a b=1'" in "\n".join(summary(added(path, tmp_path).manifest))


def test_two_runs_that_describe_one_model_share_it(tmp_path: Path) -> None:
    linear(tmp_path / "net.onnx")
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        added(tmp_path / "net.onnx", tmp_path / name)
    used = find._settled(tmp_path / "first" / "described", tmp_path / "place")
    before = (tmp_path / "place").stat().st_ino
    again = find._settled(tmp_path / "second" / "described", tmp_path / "place")
    assert (again.manifest.files, (tmp_path / "place").stat().st_ino) == (used.manifest.files, before)
    next((tmp_path / "place").glob("*.bin")).unlink()
    assert find._settled(tmp_path / "second" / "described", tmp_path / "place").manifest.files == used.manifest.files
    again.verify()


@pytest.mark.parametrize(
    ("path", "message"),
    [("folder", "not a file"), ("pipe", "not a file"), ("/dev/zero", "not a file"), ("missing", "no such file")],
)
def test_paths_that_are_no_files(path: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RunoffError, match=f"{path}: {message}"):
        find.absolute(OwnModel(path=path), tmp_path)


def with_data(path: Path) -> Path:
    """Save a model with its weights in ``weights.bin`` at `path`, in a new folder; return the path."""
    path.parent.mkdir()
    node, shape = helper.make_node("MatMul", ["x", "w"], ["y"]), [1, 64]
    weights = {"w": np.ones((64, 64), np.float32)}
    options: dict[str, Any] = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    return save(path, [node], [("x", FLOAT, shape)], [("y", FLOAT, shape)], weights, **options)


def relocated(path: Path, location: str) -> bytes:
    """Return the model in `path`, with its external data at `location`."""
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        entry.value = location if entry.key == "location" else entry.value
    return bytes(model.SerializeToString())


def test_random_outputs_are_found_out(tmp_path: Path) -> None:
    nodes = [helper.make_node("RandomNormalLike", ["x"], ["y"])]
    path = save(tmp_path / "net.onnx", nodes, [("x", FLOAT, [4])], [("y", FLOAT, [4])])
    with pytest.raises(RunoffError, match=r"output 'y' differs from run to run") as caught:
        added(path, tmp_path)
    assert "--no-compare" in caught.value.hint
    (tmp_path / "described").rename(tmp_path / "before")
    assert not added(path, tmp_path, compare=False).checked


def test_a_version_with_other_outputs(tmp_path: Path) -> None:
    other = linear(tmp_path / "other.onnx", scale=1.5)
    model = added(linear(tmp_path / "net.onnx"), tmp_path, versions={"other": str(other)})
    assert model.manifest.graph is not None
    assert model.manifest.graph.versions == {"other": pytest.approx(0.5, rel=1e-5)}
    assert "its speed is not compared; to allow it: --tolerance" in list(summary(model.manifest))[-1]
    assert (model.model_file("onnx@other").path, model.model_file("onnx@other").format) == (str(other), "onnx")


BAD_OPTIONS = {
    "no such input": ({"inputs": {"idz": "1,2"}}, "--input idz: the model has no such input", "did you mean 'ids'?"),
    "rank": ({"inputs": {"ids": "1,2,3"}}, "--input ids=1,2,3: the model takes int64 [batch, sequence]", "size"),
    "dtype": ({"inputs": {"ids": "1,2:int32"}}, "--input ids=1,2:int32: the input is int64", "int32"),
    "negative": ({"inputs": {"ids": "-1,2"}}, "--input ids=-1,2: not a shape", "--input ids=1,128"),
    "text": ({"inputs": {"ids": "one"}}, "--input ids=one: not a shape", "--input ids=1,128"),
    "array missing": ({"examples": ["no-mask.npz"]}, "no array 'mask'; it has ids", "name each array"),
    "array dtype": ({"examples": ["int32.npz"]}, "array 'ids' is int32; the model takes int64", "astype('int64')"),
    "array shape": ({"examples": ["rank.npz"]}, "array 'ids' has shape [2]; the model takes int64", "first axis"),
    "array counts": ({"examples": ["counts.npz"]}, "array 'mask' has 2 examples, others have 3", "same number"),
    "no array": ({"examples": ["text.npz"]}, "not readable as arrays", "numpy.savez"),
}


@pytest.mark.parametrize(("own", "message", "hint"), BAD_OPTIONS.values(), ids=BAD_OPTIONS)
def test_options_that_do_not_fit(own: dict[str, Any], message: str, hint: str, tmp_path: Path) -> None:
    ids, mask = np.zeros((1, 5), np.int64), np.zeros((1, 5), np.float32)
    np.savez(tmp_path / "no-mask.npz", ids=ids)
    np.savez(tmp_path / "int32.npz", ids=ids.astype(np.int32), mask=mask)
    np.savez(tmp_path / "rank.npz", ids=np.zeros(2, np.int64), mask=mask)
    np.savez(tmp_path / "counts.npz", ids=np.stack([ids] * 3), mask=np.stack([mask] * 2))
    (tmp_path / "text.npz").write_text("no archive")
    own = {**own, "examples": tuple(str(tmp_path / name) for name in own.get("examples", ()))}
    with pytest.raises(RunoffError) as caught:
        added(encoder(tmp_path / "net.onnx"), tmp_path, **own)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert "\n" not in str(caught.value)


def test_a_shape_may_name_the_dtype(tmp_path: Path) -> None:
    inputs = read_onnx(encoder(tmp_path / "net.onnx")).inputs
    assert parse_input("ids", "1,128:int64", inputs) == (1, 128)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("text", "net.onnx is not an ONNX file"),
        ("empty", "net.onnx is not an ONNX file with a graph"),
        ("missing", "net.onnx: No such file or directory"),
        ("domain", "operator Magic is a custom one, of the domain 'my.own'"),
        ("opset", "cannot load it: "),
        ("sequence", "input 'both' is seq(tensor(float)), which runoff cannot feed"),
        ("map", "no output is a tensor that runoff reads (y: seq(tensor(float)))"),
    ],
)
def test_files_that_cannot_be_measured(change: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    x, y = ("x", FLOAT, [1]), ("y", FLOAT, [1])
    sequence = helper.make_tensor_sequence_value_info("y", FLOAT, None)
    if change == "text":
        path.write_text("This is not a model. " * 20)
    elif change == "empty":
        path.touch()
    elif change == "domain":
        save(path, [helper.make_node("Magic", ["x"], ["y"], domain="my.own")], [x], [y], domains=["my.own"])
    elif change == "opset":
        save(path, [helper.make_node("Relu", ["x"], ["y"])], [x], [y], opset=99)
    elif change == "map":
        save(path, [helper.make_node("SequenceConstruct", ["x"], ["y"])], [x], [sequence])
    elif change == "sequence":
        linear(path)
        model = read_onnx(path).model
        model.graph.input.append(helper.make_tensor_sequence_value_info("both", FLOAT, None))
        path.write_bytes(model.SerializeToString())
    with pytest.raises(RunoffError) as caught:
        added(path, tmp_path)
    assert message in caught.value.message
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_the_request_is_decoded_as_it_is_written() -> None:
    request = Request(name="a", model=OwnModel(path="/x"), folder="/", exported="/y", copy=True)
    assert msgspec.json.decode(msgspec.json.encode(request), type=Request) == request
