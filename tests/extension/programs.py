"""Programs that the tests start in separate processes: ``python programs.py NAME FOLDER``."""

from __future__ import annotations

import asyncio
import faulthandler
import sys
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import runoff_ort
from both import save
from generated import model, tensor
from onnx import TensorProto, helper, numpy_helper

WATCHDOG_S = 100
SIDE = 256
FLOAT = np.dtype(np.float32)


def slow_model(folder: Path) -> Path:
    """Write a model that multiplies a matrix as many times as its input ``times`` says, a few milliseconds each."""
    weights = numpy_helper.from_array(np.zeros((SIDE, SIDE), np.float32), "weights")
    ends = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("on", "still")]
    matrices = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [SIDE, SIDE]) for name in ("a", "b", "x", "y")]
    nodes = [helper.make_node("MatMul", ["a", "weights"], ["b"]), helper.make_node("Identity", ["on"], ["still"])]
    index = helper.make_tensor_value_info("index", TensorProto.INT64, [])
    body = helper.make_graph(nodes, "body", [index, ends[0], matrices[0]], [ends[1], matrices[1]], [weights])
    loop = helper.make_node("Loop", ["times", "", "x"], ["y"], body=body)
    return save(model([loop], [tensor("times", "int64", 0), matrices[2]], [matrices[3]]), folder / "slow.onnx")


def slow_call(folder: Path, seconds: float) -> tuple[Any, dict[str, Any]]:
    """Return a session, and feeds for a run of about that duration."""
    session = runoff_ort.Session(slow_model(folder), threads=1)
    feeds = {"times": np.array(20), "x": np.zeros((SIDE, SIDE), np.float32)}
    session.run(feeds)
    began = time.perf_counter()
    session.run(feeds)
    each = (time.perf_counter() - began) / 20
    return session, {**feeds, "times": np.array(int(seconds / each) + 1)}


def ready() -> None:
    """Signal the test to continue."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def interrupted(folder: Path) -> None:
    """Receive Ctrl-C during a run."""
    session, feeds = slow_call(folder, 2)
    ready()
    session.run(feeds)
    time.sleep(WATCHDOG_S)


def interrupted_loop(folder: Path) -> None:
    """Receive Ctrl-C during a run in a thread of asyncio."""
    session, feeds = slow_call(folder, 2)

    async def call() -> None:
        work = asyncio.create_task(asyncio.to_thread(session.run, feeds))
        await asyncio.sleep(0)
        ready()
        await work
        await asyncio.sleep(WATCHDOG_S)

    asyncio.run(call())


def spawned(folder: Path) -> None:
    """Use the extension in spawned processes, while this one has a separate session."""
    session, feeds = slow_call(folder, 0.01)
    expected = session.run(feeds)["y"]
    with get_context("spawn").Pool(2) as pool:
        answers = pool.starmap(answer_of, [(folder / "slow.onnx", feeds)] * 4)
    assert all(np.array_equal(answer, expected) for answer in answers)
    ready()


def answer_of(path: Path, feeds: dict[str, Any]) -> Any:
    """Load the model and run it once."""
    return runoff_ort.Session(path, threads=2).run(feeds)["y"]


PROGRAMS = (interrupted, interrupted_loop, spawned)

if __name__ == "__main__":
    faulthandler.dump_traceback_later(WATCHDOG_S, exit=True)
    {program.__name__: program for program in PROGRAMS}[sys.argv[1]](Path(sys.argv[2]))
