"""The program that measures what this machine can reach: ``python -m runoff.models.peak THREADS FILE``.

It runs in the environment ``inspect``. FILE gets a `runoff.models.cuts.Peak`: the most floating-point operations a
second, in ONNX Runtime's product of two large float32 matrices, and the most bytes a second to and from memory, in
copies that no cache holds. Both are the best of several, as peaks are.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from runoff.models.cuts import Peak

if TYPE_CHECKING:
    from collections.abc import Callable

SIDE = 1536
"""Of the matrices."""
COPIED_BYTES = 2**28
"""Larger than the caches of most processors."""
TRIES = 12


def best(work: Callable[[], object]) -> float:
    """Return the shortest time of `work` in seconds, after a warm-up."""
    work()
    times = []
    for _ in range(TRIES):
        begun = perf_counter()
        work()
        times.append(perf_counter() - begun)
    return min(times)


def flops_per_s(threads: int, side: int = SIDE) -> float:
    """Return the floating-point operations a second of a product of matrices."""
    one = np.random.default_rng(1).normal(size=(side, side)).astype(np.float32)
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [side, side]) for name in "xy"]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "product", ends[:1], ends[1:], [numpy_helper.from_array(one, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return 2 * side**3 / best(lambda: session.run(None, {"x": one}))


def bytes_per_s(threads: int, size: int = COPIED_BYTES) -> float:
    """Return the bytes a second of copies: each is read once and written once."""
    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    with ThreadPoolExecutor(threads) as pool:
        return 2 * size / best(lambda: list(pool.map(lambda part: np.copyto(*part), parts)))


if __name__ == "__main__":
    THREADS = int(sys.argv[1])
    PEAK = Peak(flops_per_s=flops_per_s(THREADS), bytes_per_s=bytes_per_s(THREADS))
    Path(sys.argv[2]).write_bytes(msgspec.json.encode(PEAK))
