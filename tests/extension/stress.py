"""Many threads on one session, sessions created and dropped, failures in between: ``python stress.py FOLDER``.

Prints the number of calls and the memory use as JSON. A wrong output or an unexpected error ends it with a traceback,
a deadlock with the stacks of all threads.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import runoff_ort
from both import save
from generated import model, tensor
from onnx import helper

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS, CALLS = 8, 10_000
WATCHDOG_S = 240
# 64 KiB each: outputs of this size stay in ONNX Runtime's memory, and a leak in every call is visible
SHAPE = (64, 256)
FLOAT = np.dtype(np.float32)


def adding_model(folder: Path) -> Path:
    """Write a model that returns the sum of its inputs, and the first input."""
    nodes = [helper.make_node("Add", ["x", "z"], ["sum"]), helper.make_node("Identity", ["x"], ["same"])]
    ports = {name: tensor(name, FLOAT, 2) for name in ("x", "z", "sum", "same")}
    made = model(nodes, [ports["x"], ports["z"]], [ports["sum"], ports["same"]])
    return save(made, folder / "adding.onnx")


class Worker:
    """One thread's share of the calls, on separate arrays."""

    def __init__(self, session: Any, path: Path, seed: int) -> None:
        self.session, self.path = session, path
        self.rng = np.random.default_rng(seed)
        self.x, self.z = (self.rng.standard_normal(SHAPE, dtype=np.float32) for _ in range(2))
        self.feeds = {"x": self.x, "z": self.z}
        self.expected = {"sum": self.x + self.z, "same": self.x}
        self.into = {name: np.empty(SHAPE, np.float32) for name in self.expected}
        self.binding = session.bind(self.feeds, {"sum": np.empty(SHAPE, np.float32)})
        self.done = Counter[str]()
        self.failure: BaseException | None = None

    def work(self, calls: int) -> None:
        """Make the calls; keep the exception that ends them."""
        kinds = [self.run, self.run, self.run_into, self.run_bound, self.run_strided]
        rare = [self.new_session, self.wrong_name, self.wrong_dtype, self.wrong_shape, self.no_model, self.bad_model]
        try:
            for index in range(calls):
                kind = rare[index // 20 % len(rare)] if index % 20 == 0 else kinds[int(self.rng.integers(len(kinds)))]
                kind()
                self.done[kind.__name__] += 1
        except BaseException as error:  # noqa: BLE001 (raised again by the main thread)
            self.failure = error

    def check(self, answer: dict[str, Any]) -> None:
        """Compare with NumPy's sum."""
        for name, expected in self.expected.items():
            assert answer[name].tobytes() == expected.tobytes(), name

    def run(self) -> None:
        """Call the shared session."""
        self.check(self.session.run(self.feeds))

    def run_strided(self) -> None:
        """Call it with arrays that must be copied."""
        self.check(self.session.run({name: np.asfortranarray(array) for name, array in self.feeds.items()}))

    def run_into(self) -> None:
        """Call it with preallocated outputs."""
        for array in self.into.values():
            array[...] = 0
        self.session.run_into(self.feeds, self.into)
        self.check(self.into)

    def run_bound(self) -> None:
        """Call it through a binding."""
        self.check(self.binding.run())

    def new_session(self) -> None:
        """Create a session, use it and drop it before its output."""
        self.check(runoff_ort.Session(self.path, threads=1).run(self.feeds))

    def wrong_name(self) -> None:
        """Give an unknown input."""
        self.fails(runoff_ort.RunoffOrtError, "nothing", lambda: self.session.run({**self.feeds, "nothing": self.x}))

    def wrong_dtype(self) -> None:
        """Give a wrong dtype."""
        self.fails(TypeError, "float32", lambda: self.session.run({**self.feeds, "z": self.z.astype(np.float64)}))

    def wrong_shape(self) -> None:
        """Give shapes that only ONNX Runtime rejects, at run time."""
        self.fails(runoff_ort.RunoffOrtError, "Add", lambda: self.session.run({**self.feeds, "z": self.z[:, :100]}))

    def no_model(self) -> None:
        """Load a missing model."""
        self.fails(runoff_ort.RunoffOrtError, "gone.onnx", lambda: runoff_ort.Session(self.path.with_name("gone.onnx")))

    def bad_model(self) -> None:
        """Load a file that is not a model."""
        self.fails(runoff_ort.RunoffOrtError, "stress.py", lambda: runoff_ort.Session(__file__))

    def fails(self, kind: type[Exception], word: str, call: Callable[[], object]) -> None:
        """Check that a call fails as it should."""
        with pytest.raises(kind, match=word):
            call()


def turn(workers: list[Worker], calls: int) -> None:
    """Make all calls, shared by the threads."""
    threads = [threading.Thread(target=worker.work, args=(calls // len(workers),)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for worker in workers:
        if worker.failure:
            raise worker.failure


def memory() -> dict[str, int]:
    """Return the resident bytes of the process, and the number of blocks that Python has allocated."""
    gc.collect()
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (resident,) = (int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))
    return {"resident_bytes": resident, "blocks": sys.getallocatedblocks()}


def main(folder: Path) -> None:
    """Warm up with as many calls as are counted, then measure the leftover memory."""
    path = adding_model(folder)
    session = runoff_ort.Session(path, threads=2)
    workers = [Worker(session, path, seed) for seed in range(THREADS)]
    turn(workers, CALLS)
    for worker in workers:
        worker.done.clear()
    before, references = memory(), [sys.getrefcount(worker.x) for worker in workers]
    turn(workers, CALLS)
    after = memory()
    assert [sys.getrefcount(worker.x) for worker in workers] == references
    done = sum((worker.done for worker in workers), Counter[str]())
    sys.stdout.write(json.dumps({"done": done, "before": before, "after": after}))


if __name__ == "__main__":
    faulthandler.dump_traceback_later(WATCHDOG_S, exit=True)
    main(Path(sys.argv[1]))
