"""Comparison of outputs, against independent implementations of the formulas."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runoff.measure.parity import compare_inputs, compare_outputs, worst
from runoff.records.protocol import Preprocess, WrittenTensor

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tensors")


@given(VECTORS)
def test_the_formulas(folder: Path, vectors: tuple[list[float], list[float]]) -> None:
    ours, theirs = vectors
    largest = max(abs(value) for value in theirs)
    if not largest:
        theirs = [1.0, *theirs[1:]]
        largest = 1.0
    (row,) = compare_outputs([written(put(folder, "a", ours), (1, len(ours)))], [put(folder, "b", theirs)])
    difference = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    assert row["max_abs_diff"] == pytest.approx(difference, rel=1e-9)
    assert row["max_rel_diff"] == pytest.approx(difference / largest, rel=1e-9)
    assert row["top1_agrees"] == (ours.index(max(ours)) == theirs.index(max(theirs)))
    lengths = math.hypot(*ours) * math.hypot(*theirs)
    dot = math.fsum(a * b for a, b in zip(ours, theirs, strict=True))
    assert row["cosine"] == pytest.approx(dot / lengths if lengths else 0.0, abs=1e-9)


@pytest.mark.parametrize(("ours", "difference"), [([0.0, 0.0], 0.0), ([0.0, -0.5], 0.5)])
def test_a_reference_of_zeros(ours: list[float], difference: float, tmp_path: Path) -> None:
    (row,) = compare_outputs([written(put(tmp_path, "a", ours), (1, 2))], [put(tmp_path, "b", [0.0, 0.0])])
    assert (row["max_abs_diff"], row["max_rel_diff"]) == (difference, difference)


@given(st.lists(NUMBERS, min_size=2, max_size=12).filter(any))
def test_the_same_values_do_not_differ(folder: Path, values: list[float]) -> None:
    path = put(folder, "same", values)
    (row,) = compare_outputs([written(path, (1, len(values)))], [path])
    assert row == {
        "item": 0,
        "max_abs_diff": 0.0,
        "max_rel_diff": 0.0,
        "cosine": pytest.approx(1.0),
        "top1_agrees": True,
    }


def test_each_row_belongs_to_its_item(tmp_path: Path) -> None:
    references = [put(tmp_path, f"r{item}", [item, item + 1.0]) for item in range(3)]
    tensor = written(put(tmp_path, "o", [[2.0, 3.0], [0.0, 1.0]]), (2, 2), items=(2, 0))
    rows = compare_outputs([tensor], references)
    assert [(row["item"], row["max_abs_diff"]) for row in rows] == [(2, 0.0), (0, 0.0)]
    late = written(put(tmp_path, "o", [[0.0, 1.0], [1.0, 2.0]]), (2, 2), items=(1, 2))
    assert [row["max_abs_diff"] for row in compare_outputs([late], references)] == [1.0, 1.0]


@pytest.mark.parametrize("dtype", ["float16", "float64", "int64"])
def test_other_dtypes(dtype: str, tmp_path: Path) -> None:
    tensor = written(put(tmp_path, "o", [1.0, 2.0], dtype), (1, 2), dtype=dtype)
    (row,) = compare_outputs([tensor], [put(tmp_path, "r", [1.0, 2.0])])
    assert row["max_abs_diff"] == 0.0


@pytest.mark.parametrize(
    ("values", "shape", "items", "words"),
    [
        ([1.0, math.nan], (1, 2), (0,), "infinity or NaN"),
        ([1.0, math.inf], (1, 2), (0,), "infinity or NaN"),
        ([1.0], (1, 1), (0,), "1 elements where the reference has 2"),
        ([1.0, 2.0], (2, 1), (0,), "shape [2, 1] for 1 items"),
        ([1.0, 2.0], (), (0,), "shape [] for 1 items"),
        ([], (1, 2), (0,), "0 elements"),
    ],
)
def test_outputs_that_cannot_be_compared(
    values: list[float], shape: tuple[int, ...], items: tuple[int, ...], words: str, tmp_path: Path
) -> None:
    tensor = written(put(tmp_path, "o", values), shape, items)
    with pytest.raises(ValueError, match=words.replace("[", r"\[").replace("]", r"\]")):
        compare_outputs([tensor], [put(tmp_path, "r", [1.0, 2.0])])


def test_a_dtype_that_does_not_exist(tmp_path: Path) -> None:
    tensor = written(put(tmp_path, "o", [1.0, 2.0]), (1, 2), dtype="float33")
    with pytest.raises(ValueError, match="float33"):
        compare_outputs([tensor], [put(tmp_path, "r", [1.0, 2.0])])


def test_an_item_that_does_not_exist(tmp_path: Path) -> None:
    reference = put(tmp_path, "r", [1.0, 2.0])
    for item in (1, -1):
        with pytest.raises((ValueError, LookupError)):
            compare_outputs([written(reference, (1, 2), items=(item,))], [reference])


def test_inputs_are_compared_in_pixels(tmp_path: Path) -> None:
    preprocess = Preprocess(2, 2, "bilinear", (0.0, 0.0, 0.0), (1.0, 2.0, 4.0))
    pillow = np.zeros((3, 2, 2), dtype=np.float32)
    ours = pillow.copy()
    ours[2, 0, 0] = 0.5
    tensor = written(put(tmp_path, "i", ours), (1, 3, 2, 2))
    compared = compare_inputs([tensor], [put(tmp_path, "p", pillow)], preprocess)
    assert compared == {0: {"input_max_diff": 2.0, "input_mean_diff": pytest.approx(2 / 12)}}


def test_the_worst_row_counts() -> None:
    assert worst([{"max_rel_diff": 0.1}, {"max_rel_diff": 0.3}, {"max_rel_diff": 0.2}]) == 0.3
