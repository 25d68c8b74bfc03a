"""Values that are not tensors of numbers: strings, sequences, maps, optionals; and arrays of other libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import runoff_ort
from both import BFLOAT16, Both, save
from comparing import differences
from generated import any_bits, both, element, model, tensor
from onnx import helper

FLOAT = np.dtype(np.float32)
STRING = np.dtype(object)


def sequence(name: str, dtype: Any) -> Any:
    return helper.make_value_info(name, helper.make_sequence_type_proto(tensor(name, dtype, None).type))


def optional(name: str, dtype: Any) -> Any:
    return helper.make_value_info(name, helper.make_optional_type_proto(tensor(name, dtype, None).type))


def loaded(made: Any, folder: Path) -> Both:
    return Both(save(made, folder / "model.onnx"))


def agree(model: Both, feeds: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = model.ours.run(feeds)
    assert differences(answer, model.theirs.run(feeds)) == []
    return answer


@pytest.mark.parametrize("dtype", [FLOAT, np.dtype(np.int64), STRING], ids=str)
def test_sequences_come_out(dtype: Any, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("SequenceConstruct", ["x", "z", "x"], ["three"]),
        helper.make_node("SequenceEmpty", [], ["none"], dtype=element(dtype)),
    ]
    ports = [tensor("x", dtype, None), tensor("z", dtype, None)], [sequence("three", dtype), sequence("none", dtype)]
    x, z = np.array([["a", ""], ["ä", "b"]], object), np.array("c", object)
    if dtype != STRING:
        x, z = any_bits(1, dtype, (2, 3)), any_bits(2, dtype, ())
    answer = agree(loaded(model(nodes, *ports), tmp_path), {"x": x, "z": z})
    assert (len(answer["three"]), answer["none"]) == (3, [])


@pytest.mark.parametrize("dtype", [FLOAT, np.dtype(bool), STRING], ids=str)
@pytest.mark.parametrize("count", [0, 1, 5])
def test_sequences_go_in(dtype: Any, count: int, tmp_path: Path) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    same = loaded(model([node], [sequence("x", dtype)], [sequence("y", dtype)]), tmp_path)
    texts = np.array([["a", ""], ["ä", "b"]], object)
    items = [texts if dtype == STRING else any_bits(index, dtype, (index, 2)) for index in range(count)]
    assert len(agree(same, {"x": items})["y"]) == count


@pytest.mark.parametrize("value", [None, np.arange(3, dtype=FLOAT)], ids=["nothing", "something"])
def test_optionals_go_in(value: Any, tmp_path: Path) -> None:
    node = helper.make_node("OptionalHasElement", ["x"], ["there"])
    presence = loaded(model([node], [optional("x", FLOAT)], [tensor("there", "bool", 0)]), tmp_path)
    assert bool(agree(presence, {"x": value})["there"]) == (value is not None)


def test_optionals_come_out(tmp_path: Path) -> None:
    held = tensor("x", FLOAT, None).type
    nodes = [helper.make_node("Optional", ["x"], ["full"]), helper.make_node("Optional", [], ["empty"], type=held)]
    ports = [tensor("x", FLOAT, None)], [optional("full", FLOAT), optional("empty", FLOAT)]
    x = any_bits(3, FLOAT, (2, 2))
    answer = agree(loaded(model(nodes, *ports), tmp_path), {"x": x})
    assert answer["empty"] is None
    assert differences(answer["full"], x) == []


@pytest.mark.parametrize("labels", [{"classlabels_int64s": [-8, 7]}, {"classlabels_strings": ["cät", "dog"]}], ids=str)
def test_maps_come_out(labels: dict[str, Any], tmp_path: Path) -> None:
    node = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", **labels)
    key = element("int64" if "classlabels_int64s" in labels else STRING)
    one = helper.make_map_type_proto(key, tensor("v", FLOAT, None).type)
    output = helper.make_value_info("y", helper.make_sequence_type_proto(one))
    zipped = loaded(model([node], [tensor("x", FLOAT, 2)], [output]), tmp_path)
    answer = agree(zipped, {"x": np.array([[1, 2], [np.nan, 0.1]], FLOAT)})
    assert list(answer["y"][0]) == next(iter(labels.values()))


@pytest.mark.parametrize(("key", "keys"), [(np.dtype(np.int64), [3, 1]), (STRING, ["b", "ä"])], ids=["int64", "string"])
def test_maps_go_in(key: Any, keys: list[Any], tmp_path: Path) -> None:
    vocabulary = {"string_vocabulary" if key == STRING else "int64_vocabulary": sorted(keys)}
    node = helper.make_node("DictVectorizer", ["x"], ["y"], domain="ai.onnx.ml", **vocabulary)
    taken = helper.make_value_info("x", helper.make_map_type_proto(element(key), tensor("v", FLOAT, None).type))
    vector = loaded(model([node], [taken], [tensor("y", FLOAT, 2)]), tmp_path)
    answer = agree(vector, {"x": dict(zip(keys, [0.5, 2.0], strict=True))})
    assert np.count_nonzero(answer["y"]) == 2


def test_a_classifier_as_people_export_them() -> None:
    path = Path(onnxruntime.__file__).parent / "datasets" / "logreg_iris.onnx"
    answer = agree(Both(path), {"float_input": np.array([[5.8, 2.8], [4.1, 1.2], [1, 1]], FLOAT)})
    assert [type(value) for value in answer.values()] == [np.ndarray, list]


def test_strings_may_contain_any_character() -> None:
    same = both("Identity", STRING, None)
    texts = np.array(["", "日本語", "a b\n", "🦀" * 5000], object)
    assert differences(agree(same, {"x": texts})["y"], texts) == []
    assert same.ours.run({"x": np.array(["a\0b"], object)})["y"][0] == "a\0b"


def test_outputs_are_given_to_other_libraries_without_a_copy() -> None:
    same = both("Identity", FLOAT, None).ours
    output = same.run({"x": any_bits(4, FLOAT, (64, 64))})["y"]
    taken = np.from_dlpack(output)
    assert taken.__array_interface__["data"] == output.__array_interface__["data"]
    assert differences(taken, output) == []


class OfAnotherLibrary:
    """A tensor that is not a NumPy array, readable only through DLPack."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return tuple(self._array.__dlpack_device__())


@pytest.mark.parametrize("order", ["C", "F"])
def test_tensors_of_other_libraries_go_in(order: Any) -> None:
    same = both("Identity", FLOAT, None).ours
    array = np.array(any_bits(5, FLOAT, (3, 5)), order=order)
    assert differences(same.run({"x": OfAnotherLibrary(array)})["y"], np.array(array, order="C")) == []
    with pytest.raises(TypeError, match="float64"):
        same.run({"x": OfAnotherLibrary(array.astype(np.float64))})


def test_bfloat16_is_that_of_ml_dtypes() -> None:
    x = np.array([1.5, -0.0, np.inf], BFLOAT16)
    same = both("Identity", BFLOAT16, None).ours
    assert same.run({"x": x})["y"].dtype == BFLOAT16
    # as NumPy saves them
    assert same.run({"x": x.view("V2")})["y"].tobytes() == x.tobytes()
    with pytest.raises(TypeError, match="takes an array of bfloat16"):
        same.run({"x": x.view([("high", "u1"), ("low", "u1")])})


def test_arrays_outlive_their_session(tmp_path: Path) -> None:
    path = save(
        model([helper.make_node("Identity", ["x"], ["y"])], [tensor("x", FLOAT, 2)], [tensor("y", FLOAT, 2)]),
        tmp_path / "m.onnx",
    )
    x = any_bits(6, FLOAT, (512, 512))
    session = runoff_ort.Session(path)
    outputs = [session.run({"x": x})["y"] for _ in range(4)]
    binding = session.bind({"x": x})
    del session
    outputs += [binding.run()["y"]]
    del binding
    assert all(differences(output, x) == [] for output in outputs)
