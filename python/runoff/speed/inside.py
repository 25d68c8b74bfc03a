"""What is measured inside one Python process: ``runoff_ort`` beside the library that it is compared with.

A program of its own, which runs in the environment of the nox session ``extension`` and imports nothing of runoff:
``inside.py REQUEST`` reads ``{"measure", "blocks", "seed", "folder", "model", "image", "preprocess"}`` from the JSON
file REQUEST and prints ``{"values": {CANDIDATE: [ns, ...]}, "versions": {...}}``, or ``{"reason": ...}`` when the pair
cannot be measured. The candidates take turns in short blocks, in an order that the seed fixes; values at the same
place are of the same block. Both answer first, and nothing is timed unless their answers agree.
"""

from __future__ import annotations

import gc
import json
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import repeat
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Candidates = dict[str, Callable[[], float]]
    """By name: runs one block and returns the time of one call in ns."""

CALLS = 250
"""Calls of the one-node model in a block: 2 to 4 ms."""
INFERENCES = 24
"""Inferences that each thread does in a block: some hundred ms."""
OPSET, IR_VERSION = 17, 8
PIXELS_APART = 3.0
"""Largest difference of two preprocessed tensors, of 255: the resizers round apart by 2, floats by a last digit."""


class UnfitError(Exception):
    """Why a pair cannot be measured."""


def main() -> int:
    """Run the program and return its exit code."""
    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        candidates = MEASURES[asked["measure"]](asked)
    except (ImportError, UnfitError) as error:
        answer: dict[str, Any] = {"reason": str(error)}
    else:
        answer = {"values": take_turns(candidates, asked["blocks"], asked["seed"]), "versions": versions()}
    print(json.dumps(answer, separators=(",", ":")))  # noqa: T201 (its answer)
    return 0


def take_turns(candidates: Candidates, blocks: int, seed: int) -> dict[str, list[float]]:
    """Return `blocks` times of each of `candidates` in ns, after two that are not kept."""
    values: dict[str, list[float]] = {name: [] for name in candidates}
    order, rng = list(candidates), random.Random(seed)  # noqa: S311 (an order, not a secret)
    gc.collect()
    gc.disable()
    for block in range(-2, blocks):
        rng.shuffle(order)
        for name in order:
            taken = candidates[name]()
            if block >= 0:
                values[name].append(round(taken, 1))
    gc.enable()
    return values


def versions() -> dict[str, str]:
    """Return what was measured."""
    import onnxruntime
    import PIL
    import runoff_ort

    return {
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "onnxruntime": onnxruntime.__version__,
        "onnxruntime in runoff_ort": runoff_ort.runtime_version(),
    }


def call(asked: dict[str, Any]) -> Candidates:
    """Return a call of the one-node model in both libraries."""
    ours, theirs = sessions(one_node(Path(asked["folder"])))
    feeds = {"x": np.arange(8, dtype=np.float32)}
    agree(ours.run(feeds)["y"], theirs.run(None, feeds)[0])
    return {
        "runoff_ort": partial(many, partial(ours.run, feeds)),
        "onnxruntime": partial(many, partial(theirs.run, None, feeds)),
    }


def bound_call(asked: dict[str, Any]) -> Candidates:
    """Return a repeated call of the one-node model with everything bound, in both libraries."""
    from onnxruntime import OrtValue

    ours, theirs = sessions(one_node(Path(asked["folder"])))
    if not hasattr(ours, "bind"):
        raise UnfitError("this runoff_ort has no Session.bind; build it again: nox -s build")
    x = np.arange(8, dtype=np.float32)
    mine, bound = np.zeros(8, np.float32), OrtValue.ortvalue_from_numpy(np.zeros(8, np.float32))
    binding = ours.bind({"x": x}, {"y": mine})
    io = theirs.io_binding()
    io.bind_cpu_input("x", x)
    io.bind_ortvalue_output("y", bound)
    binding.run()
    theirs.run_with_iobinding(io)
    agree(mine, bound.numpy())
    return {
        "runoff_ort": partial(many, binding.run),
        "onnxruntime": partial(many, partial(theirs.run_with_iobinding, io)),
    }


def preprocess(asked: dict[str, Any]) -> Candidates:
    """Return the preprocessing of one image file: in Rust, in Pillow and NumPy, and as ort-python does it."""
    import runoff_ort

    from runoff_runners.preprocess import preprocess as pillow

    paths, spec = [asked["image"]], asked["preprocess"]
    candidates = {
        "runoff_ort": partial(runoff_ort.preprocess, paths, **spec),
        "Pillow + NumPy": partial(recipe, asked["image"], spec),
        "ort-python": partial(pillow, paths, spec),
    }
    rust = candidates["runoff_ort"]()
    for name, function in candidates.items():
        apart = np.abs(rust - function()) * np.asarray(spec["std"], np.float32)[:, None, None]
        if apart.max() > PIXELS_APART:
            raise UnfitError(f"the preprocessed tensors of runoff_ort and {name} differ by {apart.max():.1f} of 255")
    return {name: partial(many, function, 1) for name, function in candidates.items()}


def recipe(path: str, spec: dict[str, Any]) -> Any:  # noqa: ANN401 (an array)
    """Return the image as most programs make a tensor of it: resize it all, cut out the middle, normalise."""
    from PIL import Image

    with Image.open(path) as image:
        shorter, crop = min(image.size), spec["crop"]
        size = tuple(spec["resize"] * side // shorter for side in image.size)
        resized = image.convert("RGB").resize(size, getattr(Image.Resampling, spec["interpolation"].upper()))
    left, upper = ((side - crop) // 2 for side in size)
    array = np.asarray(resized.crop((left, upper, left + crop, upper + crop)), np.float32)
    normalised = (array - np.asarray(spec["mean"], np.float32)) / np.asarray(spec["std"], np.float32)
    return np.ascontiguousarray(normalised.transpose(2, 0, 1)[np.newaxis])


def threads(asked: dict[str, Any]) -> Candidates:
    """Return the model called by one thread and by two, one session for each library; the time is per inference."""
    from runoff_runners.preprocess import preprocess as pillow

    ours, theirs = sessions(asked["model"])
    feeds = {theirs.get_inputs()[0].name: pillow([asked["image"]], asked["preprocess"])}
    output = theirs.get_outputs()[0].name
    agree(ours.run(feeds)[output], theirs.run(None, feeds)[0])
    pool = ThreadPoolExecutor(2)
    calls: dict[str, Callable[[], object]] = {
        "runoff_ort": partial(ours.run, feeds),
        "onnxruntime": partial(theirs.run, None, feeds),
    }
    return {
        f"{name}, {plural}": partial(side_by_side, pool, function, count)
        for name, function in calls.items()
        for count, plural in ((1, "1 thread"), (2, "2 threads"))
    }


MEASURES: dict[str, Callable[[dict[str, Any]], Candidates]] = {
    "call": call,
    "bound-call": bound_call,
    "preprocess": preprocess,
    "threads": threads,
}


def many(function: Callable[[], object], calls: int = CALLS) -> float:
    """Return the time of one of `calls` calls in ns."""
    began = perf_counter_ns()
    for _ in repeat(None, calls):
        function()
    return (perf_counter_ns() - began) / calls


def side_by_side(pool: ThreadPoolExecutor, function: Callable[[], object], count: int) -> float:
    """Return the wall time per call in ns while `count` threads call at once."""
    began = perf_counter_ns()
    for done in [pool.submit(many, function, INFERENCES) for _ in range(count)]:
        done.result()
    return (perf_counter_ns() - began) / (count * INFERENCES)


def sessions(model: str | Path) -> tuple[Any, Any]:
    """Return a session of `runoff_ort` and one of onnxruntime, on one thread each."""
    import onnxruntime
    import runoff_ort

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    theirs = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return runoff_ort.Session(str(model), threads=1), theirs


def one_node(folder: Path) -> Path:
    """Write a model that adds eight floats to themselves; return its file."""
    from onnx import TensorProto, helper, save

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [8]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "one-node", [x], [y])
    opset = helper.make_opsetid("", OPSET)
    path = folder / "one-node.onnx"
    save(helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION), path)
    return path


def agree(one: NDArray[np.float32], other: NDArray[np.float32]) -> None:
    """Refuse two answers that are not equal bit for bit."""
    if not np.array_equal(one, other):
        raise UnfitError("the two libraries do not give the same answer, so their times are not compared")


if __name__ == "__main__":
    sys.exit(main())
