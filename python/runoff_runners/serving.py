"""The measure `load`: requests in one queue, computed by threads that share the session, and the pipe they come by."""
# pathlib would add milliseconds to every process:
# ruff: noqa: PTH123

from __future__ import annotations

import os
import sys
from collections import deque
from itertools import islice
from threading import Condition, Thread
from time import monotonic, monotonic_ns, process_time_ns
from zlib import crc32

import numpy as np

from runoff_runners.model import STRINGS, mismatch, unsupported
from runoff_runners.protocol import RunnerError, one_line
from runoff_runners.tensors import joined, write_tensors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runoff_runners.interfaces import Feed, Fields, Images, Request, Session

    Done = Callable[["Waiting"], None]

MOST_KEPT = 256
"""Distinct outputs that are kept for the result; a deterministic runtime has few for each item."""


class Waiting:
    """A request from its arrival to its outputs. `source` is the bytes of an image, or the tensors of an item.

    `done` is called in the thread of the worker, when either `outputs` or `error` is set.
    """

    __slots__ = ("arrived", "count", "done", "end", "error", "outputs", "source", "start")

    def __init__(self, source: Any, arrived: int, done: Done) -> None:  # noqa: ANN401 (bytes or a feed)
        self.source = source
        self.arrived = arrived
        self.done = done
        self.start = self.end = self.count = 0
        self.outputs: Feed = {}
        self.error: RunnerError | None = None


class Queue:
    """Waiting requests, the oldest first, and the threads that compute them.

    Parameters
    ----------
    request
        Its measure has the number of workers and the limits.
    session
        The loaded model, which is called by all workers.
    images
        Turns the bytes of images into what the session takes (`classify` only).
    """

    def __init__(self, request: Request, session: Session, images: Images | None) -> None:
        measure = request["measure"]
        self._session, self._images = session, images
        self._input = request["model"]["inputs"][0]["name"] if images else ""
        self._most, self._size = measure["max_batch"], measure["max_queue"]
        self._patience_s = measure["max_wait_us"] / 1e6
        self._waiting: deque[Waiting] = deque()
        self._changed = Condition()
        self._ending = False
        self._workers = [Thread(target=self._work, daemon=True) for _ in range(measure["workers"])]
        for worker in self._workers:
            worker.start()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, request: Waiting) -> bool:
        """Add a request; return false if it is refused, if the queue is full or the runner shuts down."""
        with self._changed:
            if len(self._waiting) >= self._size or self._ending:
                return False
            self._waiting.append(request)
            self._changed.notify()
        return True

    def close(self) -> None:
        """Compute what waits, and end the workers."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.join()

    def _work(self) -> None:
        while batch := self._take():
            start = monotonic_ns()
            try:
                outputs = self._compute([request.source for request in batch])
                error = None
            except RunnerError as failure:
                outputs, error = [{}] * len(batch), failure
            end = monotonic_ns()
            if error and len(batch) > 1:
                self._apart(batch)
                continue
            for request, its_outputs in zip(batch, outputs, strict=True):
                request.start, request.end, request.count = start, end, len(batch)
                request.outputs, request.error = its_outputs, error
                request.done(request)

    def _apart(self, batch: list[Waiting]) -> None:
        """Compute the requests of a failed batch one by one: only the one at fault fails."""
        for request in batch:
            request.start, request.count = monotonic_ns(), 1
            try:
                (request.outputs,) = self._compute([request.source])
            except RunnerError as failure:
                request.error = failure
            request.end = monotonic_ns()
            request.done(request)

    def _take(self) -> list[Waiting]:
        """Wait for requests; return the oldest and those that fit it, or none at the end."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._ending)
                if not self._waiting:
                    return []
                first = self._waiting[0]
                most = self._most if self._fits(first, first) else 1
                batch = [*islice((one for one in self._waiting if one is first or self._fits(one, first)), most)]
                left_s = first.arrived / 1e9 + self._patience_s - monotonic()
                if len(batch) == most or left_s <= 0 or self._ending:
                    break
                self._changed.wait(left_s)
            for request in batch:
                self._waiting.remove(request)
            if self._waiting:
                # this worker may have been woken for them
                self._changed.notify()
        return batch

    def _fits(self, request: Waiting, first: Waiting) -> bool:
        """Return whether a request fits into a batch with `first`."""
        if self._images is not None:
            return True
        its, those = request.source, first.source
        return all(its[name].shape == those[name].shape and its[name].shape[:1] == (1,) for name in those)

    def _compute(self, sources: list[Any]) -> list[Feed]:
        """Return the outputs of each source.

        Raises
        ------
        RunnerError
            Whatever goes wrong: without its worker, the queue would wait for ever.
        """
        try:
            return self._rows(sources)
        except RunnerError:
            raise
        except Exception as error:
            raise RunnerError("runtime-failed", one_line(f"{type(error).__name__}: {error}")) from error

    def _rows(self, sources: list[Any]) -> list[Feed]:
        count = len(sources)
        feed = {self._input: self._images(sources)} if self._images is not None else joined(sources)
        outputs = self._session.run(feed)
        if count == 1:
            return [outputs]
        for name, array in outputs.items():
            if array.shape[:1] != (count,):
                raise mismatch(f"output {name!r} of shape {[*array.shape]} has no row for each of {count} requests")
        return [{name: array[row : row + 1] for name, array in outputs.items()} for row in range(count)]


class Server:
    """Serves a session until stdin ends.

    Parameters
    ----------
    request, session, images
        As for `Queue`.
    items
        The tensors of each item (`tensor` only).
    """

    def __init__(self, request: Request, session: Session, images: Images | None, items: dict[int, Feed]) -> None:
        if getattr(session, "parts", None):
            message = "measure.kind: this runner's 'load' computes on the CPU, where threads can share a session"
            raise RunnerError("provider-unavailable", message, 'set provider = "cpu"')
        for side in ("inputs", "outputs"):
            for spec in request["model"][side]:
                if spec["dtype"] == STRINGS:
                    raise unsupported(side[:-1], spec["name"], STRINGS, "'load' serves numbers")
                if request["measure"]["max_batch"] > 1 and spec["shape"][:1] not in ([], [None]):
                    message = f"measure.max_batch: the first dimension of {side[:-1]} {spec['name']!r} is fixed"
                    raise RunnerError("bad-request", f"{message}: {spec['shape']}", "set max_batch = 1")
        self._request = request
        self._queue = Queue(request, session, images)
        self._folder = request["outputs_dir"]
        self._kept: dict[tuple[int, int], Feed] = {}
        self._failure: RunnerError | None = None
        self._sources: dict[int, Any] = dict(items)
        if images is not None:
            for number, item in enumerate(request["inputs"]):
                with open(item["image"], "rb") as file:
                    self._sources[number] = file.read()

    def run(self) -> Fields:
        """Serve until stdin ends; return the fields of the result that this measure has."""
        began = process_time_ns()
        if self._request["measure"]["transport"] == "http":
            from runoff_runners.serving_http import serve

            serve(self._request, self._queue, self._sources[0])
        else:
            self._respond()
        cpu_ns = process_time_ns() - began
        outputs = [
            entry
            for (item, digest), kept in self._kept.items()
            for entry in write_tensors(self._folder, [item], kept, prefix=f"{digest:08x}.")
        ]
        return {"cpu_ns": cpu_ns, "outputs": outputs}

    def _respond(self) -> None:
        """Respond to the lines of stdin."""
        _write("ready\n")
        try:
            for raw in sys.stdin.buffer:
                self._read(raw, monotonic_ns())
        finally:
            self._queue.close()
        if self._failure:
            raise self._failure

    def _read(self, raw: bytes, arrived: int) -> None:
        words = raw.decode(errors="replace").split()
        is_known = len(words) == 2 and words[0].isdecimal() and words[1].isdecimal()  # noqa: PLR2004 (ID ITEM)
        item = int(words[1]) if is_known else -1
        if item not in self._sources:
            message = f"stdin: {raw[:80]!r} is not ID ITEM, with ITEM below {len(self._sources)}"
            raise RunnerError("bad-request", message, "see protocol/README.md, Load")
        name = words[0]

        def done(request: Waiting) -> None:
            self._failure = self._failure or request.error
            digest = _digest(request.outputs)
            if len(self._kept) < MOST_KEPT:
                self._kept.setdefault((item, digest), request.outputs)
            _write(f"{name} {request.arrived} {request.start} {request.end} {request.count} {digest:08x}\n")

        if not self._queue.put(Waiting(self._sources[item], arrived, done)):
            _write(f"{name} full\n")


def _digest(outputs: Feed) -> int:
    """Return the CRC-32 of the outputs as on disk, one after the other."""
    digest = 0
    for array in outputs.values():
        digest = crc32(np.ascontiguousarray(array).data, digest)
    return digest


def _write(line: str) -> None:
    # a short line is written as a whole, whichever threads write
    os.write(1, line.encode())
