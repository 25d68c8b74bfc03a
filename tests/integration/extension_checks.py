"""Checks of the extension ``runoff_ort``, run one at a time in the environment of the target ort-pyo3.

``python extension_checks.py NAME MODEL_FOLDER``: a check that fails ends with a traceback.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Failure = TypeVar("Failure", bound=Exception)
SPEC = {
    "resize": 256,
    "crop": 224,
    "interpolation": "bicubic",
    "mean": (127.0, 127.0, 127.0),
    "std": (128.0, 128.0, 128.0),
}


def import_brings_no_library(_: Path) -> None:
    """Import the extension: neither the Python onnxruntime comes with it nor the library."""
    import runoff_ort

    assert "onnxruntime" not in sys.modules
    assert "libonnxruntime" not in Path("/proc/self/maps").read_text(encoding="utf-8")
    runoff_ort.load_runtime()
    assert "libonnxruntime" in Path("/proc/self/maps").read_text(encoding="utf-8")


def same_as_onnxruntime(folder: Path) -> None:
    """Run a model on arrays: the bits are those of onnxruntime in Python."""
    import onnxruntime
    import runoff_ort

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    theirs = onnxruntime.InferenceSession(folder / "model.onnx", options)
    mine = runoff_ort.Session(folder / "model.onnx", threads=1)
    for batch in (1, 3):
        feeds = {"input": _noise(batch)}
        (expected,) = theirs.run(None, feeds)
        assert np.array_equal(mine.run(feeds)["logits"], expected)


def strides_do_not_matter(folder: Path) -> None:
    """Arrays in Fortran order, reversed or sliced mean the numbers that they show."""
    import runoff_ort

    session = runoff_ort.Session(folder / "model.onnx")
    array = _noise(2)
    expected = session.run({"input": array})["logits"]
    wide = np.repeat(array, 2, axis=3)
    for same in (np.asfortranarray(array), array[::-1].copy()[::-1], wide[:, :, :, ::2]):
        assert not same.flags.c_contiguous
        assert np.array_equal(session.run({"input": same})["logits"], expected)


def errors_say_what_was_expected(folder: Path) -> None:
    """Give a wrong dtype, name, rank or size: an exception says what the model takes."""
    import runoff_ort

    session = runoff_ort.Session(folder / "model.onnx")
    _raises(TypeError, "float32", lambda: session.run({"input": _noise(1).astype(np.float64)}))
    _raises(runoff_ort.RunoffOrtError, "input", lambda: session.run({"pixels": _noise(1)}))
    _raises(runoff_ort.RunoffOrtError, "224", lambda: session.run({"input": _noise(1)[0]}))
    _raises(runoff_ort.RunoffOrtError, "224", lambda: session.run({"input": _noise(1)[:, :, :200]}))
    _raises(runoff_ort.RunoffOrtError, "input", lambda: session.run({}))
    missing = _raises(runoff_ort.RunoffOrtError, "nowhere.onnx", lambda: runoff_ort.Session("nowhere.onnx"))
    assert missing.kind == "model-missing"
    assert missing.hint
    text = _raises(runoff_ort.RunoffOrtError, "labels.txt", lambda: runoff_ort.Session(folder / "labels.txt"))
    assert text.kind == "model-unreadable"


def classify_knows_the_photo(folder: Path) -> None:
    """Classify a photo in a file."""
    import runoff_ort

    labels = (folder / "labels.txt").read_text(encoding="utf-8").splitlines()
    session = runoff_ort.Session(folder / "model.onnx")
    (index, confidence), *others = session.classify(folder / "coffee.jpg", SPEC, top=3)
    assert labels[index] == "espresso"
    assert 1 >= confidence >= others[0][1] >= others[1][1] > 0


def model_is_described(folder: Path) -> None:
    """Ask for names, dtypes and shapes of inputs and outputs, and what the engine is."""
    import runoff_ort

    session = runoff_ort.Session(folder / "model.onnx", threads=2)
    assert session.inputs == [("input", "float32", [None, 3, 224, 224])]
    assert session.outputs == [("logits", "float32", [None, 1000])]
    assert session.threads == 2
    assert runoff_ort.runtime_version() in runoff_ort.library_path()


def interpreter_goes_on_meanwhile(folder: Path) -> None:
    """Run the model beside another thread and the event loop: both go on."""
    import runoff_ort

    session, feeds = runoff_ort.Session(folder / "model.onnx"), {"input": _noise(16)}
    ticks = 0
    running = threading.Event()
    running.set()

    def tick() -> None:
        nonlocal ticks
        while running.is_set():
            ticks += 1

    async def both() -> int:
        work = asyncio.create_task(asyncio.to_thread(session.run, feeds))
        turns = 0
        while not work.done():
            turns += 1
            await asyncio.sleep(0.001)
        return turns

    counter = threading.Thread(target=tick)
    counter.start()
    before = ticks
    session.run(feeds)
    meanwhile = ticks - before
    running.clear()
    counter.join()
    assert meanwhile > 1000
    assert asyncio.run(both()) > 1


def _noise(batch: int) -> NDArray[np.float32]:
    return np.random.default_rng(batch).standard_normal((batch, 3, 224, 224), dtype=np.float32)


def _raises(kind: type[Failure], word: str, call: Callable[[], object]) -> Failure:
    try:
        call()
    except kind as error:
        raised = error
    else:
        raise AssertionError(f"no {kind.__name__} that says {word!r}")
    assert word in str(raised), raised
    return raised


CHECKS = (
    import_brings_no_library,
    same_as_onnxruntime,
    strides_do_not_matter,
    errors_say_what_was_expected,
    classify_knows_the_photo,
    model_is_described,
    interpreter_goes_on_meanwhile,
)

if __name__ == "__main__":
    {check.__name__: check for check in CHECKS}[sys.argv[1]](Path(sys.argv[2]))
