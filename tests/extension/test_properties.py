"""For any shape, dtype and layout, outputs of the extension equal onnxruntime's to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
from both import plain
from comparing import differences
from generated import ADDED, CAST_TO, DTYPES, NUMBERS, STRINGS, arrays, both, shapes
from hypothesis import given, settings
from hypothesis import strategies as st

from machine import FULL

EXAMPLES = settings(deadline=None, max_examples=200 if FULL else 40)


@st.composite
def questions(draw: st.DrawFn, *, numbers_only: bool = False) -> tuple[Any, dict[str, Any]]:
    """Draw a generated model, in both APIs, and arrays for its inputs."""
    kind = draw(st.sampled_from(["Identity", "Transpose", "Concat", "Add", "Mul", "Cast", "Reshape", "several"]))
    dtype = draw(st.sampled_from(ADDED if kind in {"Add", "Mul"} else NUMBERS if numbers_only else DTYPES))
    if kind == "Cast" and dtype == STRINGS:
        kind = "Identity"
    shape = draw(shapes())
    if kind == "Concat":
        shape = shape or (1,)
    if dtype != STRINGS and shape and draw(st.integers(0, 3)) == 0:
        # large outputs stay in ONNX Runtime's memory, small ones are copied
        shape = (shape[0] * 500, *shape[1:])
    rank = draw(st.sampled_from([len(shape), None]))
    feeds = {"x": draw(arrays(dtype, shape))}
    if kind == "Reshape":
        feeds["shape"] = np.array(draw(st.permutations(shape)), np.int64)
    elif kind == "several":
        feeds["z"] = draw(arrays(dtype, draw(shapes())))
    elif kind in {"Add", "Mul", "Concat"}:
        feeds["z"] = draw(arrays(dtype, shape))
    details = (draw(st.sampled_from(CAST_TO)),) if kind == "Cast" else ()
    return both(kind, dtype, rank, *details), feeds


def expected(model: Any, feeds: dict[str, Any]) -> dict[str, Any]:
    """Return onnxruntime's outputs for the elements of the arrays."""
    return dict(model.theirs.run({name: plain(array) for name, array in feeds.items()}))


@given(questions())
@EXAMPLES
def test_run(question: tuple[Any, dict[str, Any]]) -> None:
    model, feeds = question
    assert differences(model.ours.run(feeds), expected(model, feeds)) == []


@given(questions(), st.data())
@EXAMPLES
def test_some_outputs(question: tuple[Any, dict[str, Any]], data: st.DataObject) -> None:
    model, feeds = question
    names = data.draw(st.lists(st.sampled_from(model.theirs.outputs), min_size=1, unique=True))
    everything = expected(model, feeds)
    assert differences(model.ours.run(feeds, names), {name: everything[name] for name in names}) == []


@given(questions(numbers_only=True))
@EXAMPLES
def test_run_into(question: tuple[Any, dict[str, Any]]) -> None:
    model, feeds = question
    answer = expected(model, feeds)
    into = {name: np.full_like(array, 1) for name, array in answer.items()}
    model.ours.run_into(feeds, into)
    assert differences(into, answer) == []


@given(questions(numbers_only=True), st.booleans())
@EXAMPLES
def test_a_binding_reads_current_contents(question: tuple[Any, dict[str, Any]], give_outputs: bool) -> None:  # noqa: FBT001
    model, feeds = question
    feeds = {name: plain(array) for name, array in feeds.items()}
    answer = expected(model, feeds)
    bound = {name: np.zeros_like(array) for name, array in feeds.items() if name != "shape"}
    kept = {name: array for name, array in feeds.items() if name == "shape"}
    into = {name: np.full_like(array, 1) for name, array in answer.items()} if give_outputs else None
    binding = model.ours.bind({**bound, **kept}, into)
    binding.run()
    for name, array in bound.items():
        array[...] = feeds[name]
    answered = binding.run()
    assert differences(answered, answer) == []
    if into is not None:
        assert all(answered[name] is array for name, array in into.items())


@given(questions(numbers_only=True))
@EXAMPLES
def test_outputs_are_the_callers_own(question: tuple[Any, dict[str, Any]]) -> None:
    model, feeds = question
    before = {name: plain(array) for name, array in feeds.items()}
    first = model.ours.run(feeds)
    for array in first.values():
        array[...] = np.ones_like(array)
    assert differences({name: plain(array) for name, array in feeds.items()}, before) == []
    assert differences(model.ours.run(feeds), expected(model, feeds)) == []
    assert all(differences(array, np.ones_like(array)) == [] for array in first.values())
