"""Comparison of outputs, against independent implementations of the formulas."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outputs import compare_outputs
from runoff.measure.parity import compare_inputs, worst
from runoff.records.protocol import Preprocess, TensorFile, WrittenTensor

if TYPE_CHECKING:
    from pathlib import Path

NUMBERS = st.floats(-1e6, 1e6, width=32).filter(lambda x: x == 0 or abs(x) > 1e-6)
VECTORS = st.integers(2, 12).flatmap(lambda size: st.tuples(*(st.lists(NUMBERS, min_size=size, max_size=size),) * 2))


def put(folder: Path, name: str, values: object, dtype: str = "float32") -> Path:
    path = folder / name
    np.asarray(values, dtype=np.dtype(dtype).newbyteorder("<")).tofile(path)
    return path


def written(path: Path, shape: tuple[int, ...], items: tuple[int, ...] = (0,), dtype: str = "float32") -> WrittenTensor:
    return WrittenTensor(items=items, name="logits", dtype=dtype, shape=shape, path=str(path))


def reference(path: Path, *shape: int, dtype: str = "float32") -> dict[str, TensorFile]:
    return {"logits": TensorFile(str(path), dtype, shape or (1, 2))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tensors")


@given(VECTORS)
def test_the_formulas(folder: Path, vectors: tuple[list[float], list[float]]) -> None:
    ours, theirs = vectors
    largest = max(0.001, *(abs(value) for value in theirs))
    (row,) = compare_outputs(
        [written(put(folder, "a", ours), (1, len(ours)))], [reference(put(folder, "b", theirs), 1, len(theirs))]
    )
    difference = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    assert row["max_abs_diff"] == pytest.approx(difference, rel=1e-9)
    assert row["max_rel_diff"] == pytest.approx(difference / largest, rel=1e-9)
    assert row["top1_agrees"] == (ours.index(max(ours)) == theirs.index(max(theirs)))
    lengths = math.hypot(*ours) * math.hypot(*theirs)
    dot = math.fsum(a * b for a, b in zip(ours, theirs, strict=True))
    assert row["cosine"] == pytest.approx(dot / lengths if lengths else 0.0, abs=1e-9)


@pytest.mark.parametrize(("ours", "difference"), [([0.0, 0.0], 0.0), ([0.0, -0.5], 500.0)])
def test_a_reference_of_zeros(ours: list[float], difference: float, tmp_path: Path) -> None:
    (row,) = compare_outputs([written(put(tmp_path, "a", ours), (1, 2))], [reference(put(tmp_path, "b", [0.0, 0.0]))])
    assert (row["max_abs_diff"], row["max_rel_diff"]) == (difference / 1000, difference)


@given(st.lists(NUMBERS, min_size=2, max_size=12).filter(any))
def test_the_same_values_do_not_differ(folder: Path, values: list[float]) -> None:
    path = put(folder, "same", values)
    (row,) = compare_outputs([written(path, (1, len(values)))], [reference(path, 1, len(values))])
    assert row == {
        "item": 0,
        "max_abs_diff": 0.0,
        "max_rel_diff": 0.0,
        "cosine": pytest.approx(1.0),
        "top1_agrees": True,
    }


def test_each_row_belongs_to_its_item(tmp_path: Path) -> None:
    references = [reference(put(tmp_path, f"r{item}", [item, item + 1.0])) for item in range(3)]
    tensor = written(put(tmp_path, "o", [[2.0, 3.0], [0.0, 1.0]]), (2, 2), items=(2, 0))
    rows = compare_outputs([tensor], references)
    assert [(row["item"], row["max_abs_diff"]) for row in rows] == [(2, 0.0), (0, 0.0)]
    late = written(put(tmp_path, "o", [[0.0, 1.0], [1.0, 2.0]]), (2, 2), items=(1, 2))
    assert [row["max_abs_diff"] for row in compare_outputs([late], references)] == [1.0, 1.0]


@pytest.mark.parametrize("dtype", ["float16", "float64", "int64"])
def test_other_dtypes(dtype: str, tmp_path: Path) -> None:
    tensor = written(put(tmp_path, "o", [1.0, 2.0], dtype), (1, 2), dtype=dtype)
    (row,) = compare_outputs([tensor], [reference(put(tmp_path, "r", [1.0, 2.0]))])
    assert row["max_abs_diff"] == 0.0


@pytest.mark.parametrize(
    ("values", "shape", "items", "words"),
    [
        ([1.0, math.nan], (1, 2), (0,), "infinity or NaN"),
        ([1.0, math.inf], (1, 2), (0,), "infinity or NaN"),
        ([1.0], (1, 1), (0,), "shape [1, 1]; the reference has [1, 2]"),
        ([1.0, 2.0], (2, 1), (0,), "shape [2, 1]; the reference has [1, 2]"),
        ([1.0, 2.0], (), (0,), "shape []; the reference has [1, 2]"),
        ([], (1, 2), (0,), "0 elements"),
    ],
)
def test_outputs_that_cannot_be_compared(
    values: list[float], shape: tuple[int, ...], items: tuple[int, ...], words: str, tmp_path: Path
) -> None:
    tensor = written(put(tmp_path, "o", values), shape, items)
    with pytest.raises(ValueError, match=words.replace("[", r"\[").replace("]", r"\]")):
        compare_outputs([tensor], [reference(put(tmp_path, "r", [1.0, 2.0]))])


def test_a_dtype_that_does_not_exist(tmp_path: Path) -> None:
    tensor = written(put(tmp_path, "o", [1.0, 2.0]), (1, 2), dtype="float33")
    with pytest.raises(ValueError, match="float33"):
        compare_outputs([tensor], [reference(put(tmp_path, "r", [1.0, 2.0]))])


def test_an_item_that_does_not_exist(tmp_path: Path) -> None:
    path = put(tmp_path, "r", [1.0, 2.0])
    for item in (1, -1):
        with pytest.raises((ValueError, LookupError)):
            compare_outputs([written(path, (1, 2), items=(item,))], [reference(path)])


def test_an_output_that_does_not_exist(tmp_path: Path) -> None:
    path = put(tmp_path, "r", [1.0, 2.0])
    with pytest.raises(ValueError, match="no output 'logits'; the model has scores"):
        compare_outputs([written(path, (1, 2))], [{"scores": TensorFile(str(path), "float32", (1, 2))}])


@pytest.mark.parametrize("last", [-math.inf, 2.0])
def test_infinity_and_nan_are_where_the_reference_has_them(
    last: float,
    tmp_path: Path,
) -> None:
    wanted = [reference(put(tmp_path, "r", [1.0, math.nan, -math.inf]), 3)]
    with pytest.raises(ValueError, match="infinity or NaN") if last > 0 else nullcontext():
        (row,) = compare_outputs([written(put(tmp_path, "o", [1.0, math.nan, last]), (3,))], wanted)
        assert row["max_abs_diff"] == 0


def test_a_tensor_without_elements(tmp_path: Path) -> None:
    path = put(tmp_path, "r", [], "int64")
    (row,) = compare_outputs([written(path, (0, 3), dtype="int64")], [reference(path, 0, 3, dtype="int64")])
    assert (row["max_abs_diff"], row["top1_agrees"]) == (0, None)


def test_bfloat16(tmp_path: Path) -> None:
    path = put(tmp_path, "r", [0x3F80, 0xC000], "uint16")  # 1 and -2
    (row,) = compare_outputs([written(put(tmp_path, "o", [1.0, -2.5]), (2,))], [reference(path, 2, dtype="bfloat16")])
    assert row["max_abs_diff"] == 0.5


@pytest.mark.parametrize(("ours", "difference"), [(["", "é"], 0.0), (["a", "é"], 1.0)])
def test_strings(ours: list[str], difference: float, tmp_path: Path) -> None:
    paths = []
    for name, texts in (("o", ours), ("r", ["", "é"])):
        encoded = [text.encode() for text in texts]
        (tmp_path / name).write_bytes(b"".join(len(text).to_bytes(4, "little") + text for text in encoded))
        paths.append(tmp_path / name)
    (row,) = compare_outputs([written(paths[0], (2,), dtype="str")], [reference(paths[1], 2, dtype="str")])
    assert row["max_rel_diff"] == difference
    paths[0].write_bytes(b"\xff\0\0\0a")
    with pytest.raises(ValueError, match="after the end of its file"):
        compare_outputs([written(paths[0], (2,), dtype="str")], [reference(paths[1], 2, dtype="str")])


def test_inputs_are_compared_in_pixels(tmp_path: Path) -> None:
    preprocess = Preprocess(2, 2, "bilinear", (0.0, 0.0, 0.0), (1.0, 2.0, 4.0))
    pillow = np.zeros((3, 2, 2), dtype=np.float32)
    ours = pillow.copy()
    ours[2, 0, 0] = 0.5
    tensor = written(put(tmp_path, "i", ours), (1, 3, 2, 2))
    compared = compare_inputs([tensor], [reference(put(tmp_path, "p", pillow), 1, 3, 2, 2)], preprocess)
    assert compared == {0: {"input_max_diff": 2.0, "input_mean_diff": pytest.approx(2 / 12)}}


def test_the_worst_row_counts() -> None:
    assert worst([{"max_rel_diff": 0.1}, {"max_rel_diff": 0.3}, {"max_rel_diff": 0.2}]) == 0.3
