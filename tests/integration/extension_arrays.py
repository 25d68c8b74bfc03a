"""Checks of the extension ``runoff_ort``: accepted arrays, and the memory of its outputs."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from extension_helpers import FOLDER, doubling, noise, raises
from onnx_files import FLOAT, INT64, write

if TYPE_CHECKING:
    from pathlib import Path


def targets_are_checked(_: Path) -> None:
    """Give read-only arrays as outputs: each is refused with a reason, and none is written."""
    import runoff_ort

    session = runoff_ort.Session(doubling(8))
    x = np.ones(8, np.float32)
    locked = np.zeros(8, np.float32)
    locked.flags.writeable = False
    for kind, words, target in (
        (TypeError, "float64", np.zeros(8)),
        (TypeError, "not list", [0.0] * 8),
        (TypeError, "C-contiguous", np.zeros(16, np.float32)[::2]),
        (TypeError, "byte order", np.zeros(8, ">f4")),
        (runoff_ort.RunoffOrtError, "[8], not [9]", np.zeros(9, np.float32)),
        (runoff_ort.RunoffOrtError, "read-only", locked),
        (runoff_ort.RunoffOrtError, "shares memory", x),
    ):
        raises(kind, words, partial(session.run_into, {"x": x}, {"y": target}))
        raises(kind, words, partial(session.bind, {"x": x}, {"y": target}))
    assert not locked.any()
    raises(runoff_ort.RunoffOrtError, "it has: y", lambda: session.run_into({"x": x}, {"z": locked}))
    raises(runoff_ort.RunoffOrtError, "no output", lambda: session.run_into({"x": x}, {}))
    for words, feed in (("C-contiguous", np.ones(16, np.float32)[::2]), ("not list", [1.0] * 8)):
        raises(TypeError, words, partial(session.bind, {"x": feed}))
    grown = runoff_ort.Session(doubling("n"))
    raises(runoff_ort.RunoffOrtError, "{9}", lambda: grown.run_into({"x": x}, {"y": np.zeros(9, np.float32)}))


def arrays_are_written_into(folder: Path) -> None:
    """Write into preallocated arrays, directly and bound: the bits equal those of `run`."""
    import runoff_ort

    session = runoff_ort.Session(folder / "model.onnx")
    array, logits = noise(2), np.empty((2, 1000), np.float32)
    expected = session.run({"input": array})["logits"]
    session.run_into({"input": array}, {"logits": logits})
    assert np.array_equal(logits, expected)
    logits[:] = 0
    bound, free = session.bind({"input": array}, {"logits": logits}), session.bind({"input": array})
    assert bound.inputs["input"] is array
    assert bound.outputs["logits"] is logits
    assert free.outputs == {}
    del session
    for seed in (7, 8):
        array[:] = noise(2, seed)
        assert bound.run()["logits"] is logits
        fresh = free.run()["logits"]
        assert np.array_equal(fresh, logits)
        assert not np.array_equal(fresh, expected)


def arrays_are_used_in_place(_: Path) -> None:
    """Check the memory of outputs: large ones stay in ONNX Runtime's memory, and none aliases an input."""
    import runoff_ort

    for size in (8, 100_000):
        session = runoff_ort.Session(doubling("n"))
        x = np.arange(size, dtype=np.float32)
        y = session.run({"x": x})["y"]
        assert (y.base is not None) is (size > 1024)
        assert y.flags.writeable
        del session
        y += 1
        assert np.array_equal(y, 2 * x + 1)


def outputs_that_are_inputs(_: Path) -> None:
    """Run a model that passes its input through: the output is a copy; a preallocated output is refused."""
    import runoff_ort

    for size in (8, 100_000):
        path = write(
            FOLDER / "pass.onnx",
            [("Add", ["x", "x"], ["y"])],
            {"x": (size,)},
            {"x": (FLOAT, (size,)), "y": (FLOAT, (size,))},
        )
        session = runoff_ort.Session(path)
        x = np.arange(size, dtype=np.float32)
        outputs = session.run({"x": x})
        assert np.array_equal(outputs["x"], x)
        assert not np.shares_memory(outputs["x"], x)
        assert np.array_equal(outputs["y"], 2 * x)
        into = {"x": np.zeros_like(x)}
        raises(runoff_ort.RunoffOrtError, "passes on", partial(session.run_into, {"x": x}, into))


def outputs_of_another_shape(_: Path) -> None:
    """Run a model that declares a wrong output shape: the output has its real shape."""
    import onnxruntime
    import runoff_ort

    path = write(FOLDER / "promise.onnx", [("NonZero", ["x"], ["y"])], {"x": (8,)}, {"y": (INT64, (1, 8))})
    session = runoff_ort.Session(path)
    assert session.outputs[0].shape == (1, 8)
    theirs = onnxruntime.InferenceSession(path)
    for count in (8, 3, 0, 8):
        x = (np.arange(8) < count).astype(np.float32)
        y = session.run({"x": x})["y"]
        assert y.shape == (1, count)
        assert np.array_equal(y, theirs.run(None, {"x": x})[0])


def strides_do_not_matter(folder: Path) -> None:
    """Arrays in Fortran order, reversed or sliced are read in logical order."""
    import runoff_ort

    session = runoff_ort.Session(folder / "model.onnx")
    array = noise(2)
    expected = session.run({"input": array})["logits"]
    wide = np.repeat(array, 2, axis=3)
    for same in (np.asfortranarray(array), array[::-1].copy()[::-1], wide[:, :, :, ::2]):
        assert not same.flags.c_contiguous
        assert np.array_equal(session.run({"input": same})["logits"], expected)


def a_panic_is_an_exception(_: Path) -> None:
    """Remove NumPy's C API before the extension loads it: the panic is raised as an exception."""
    import runoff_ort

    session = runoff_ort.Session(doubling(8))
    feeds = {"x": np.ones(8, np.float32)}
    module: Any = sys.modules["numpy._core.multiarray"]
    held = module._ARRAY_API
    del module._ARRAY_API
    raised = raises(BaseException, "capsule", partial(session.run, feeds))
    assert type(raised).__name__ == "PanicException"
    module._ARRAY_API = held
    assert session.run(feeds)["y"][0] == 2


CHECKS = (
    targets_are_checked,
    arrays_are_written_into,
    arrays_are_used_in_place,
    outputs_that_are_inputs,
    outputs_of_another_shape,
    strides_do_not_matter,
    a_panic_is_an_exception,
)
