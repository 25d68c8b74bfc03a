"""Requests under load: the loader on LoadGen, and the queue of the runners in Python."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from machine import skip_because
from runoff import paths
from runoff_runners import loader_clients
from runoff_runners.loader_clients import RUNNER_AT_FAULT, Client, PipeClient, Sent
from runoff_runners.protocol import RunnerError
from runoff_runners.serving import Queue, Server, Waiting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import NoReturn

    from runoff_runners.interfaces import Feed


STALL_S = 0.2
RUNNER = """
import os, sys, time
stall = {stall}
os.write(1, b"ready\\n")
for number, raw in enumerate(sys.stdin.buffer):
    now = time.monotonic_ns()
    if number == stall:
        time.sleep({seconds})
    words = raw.split()
    os.write(1, b"%s %d %d %d 1 00000000\\n" % (words[0], now, now, time.monotonic_ns()))
"""
"""A runner that takes no time, except for one stall."""


class LeftError(Exception):
    """The loader would exit."""


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> PipeClient:
    """Return a client without threads that has sent request 1 at 5 ns."""

    def leave(reason: str, code: int = RUNNER_AT_FAULT) -> NoReturn:
        raise LeftError(f"{code} {reason}")

    monkeypatch.setattr(Client, "start", lambda _: None)
    monkeypatch.setattr(loader_clients, "_leave", leave)
    made = PipeClient(0, 0)
    made._sent[1] = Sent(identity=0, item=2, query=0, sent=5)
    return made


def test_a_response_is_a_sample_and_its_digest_is_counted(client: PipeClient, tmp_path: Path) -> None:
    client._receive(b"1 10 20 40 3 8d3f2a10", 50)
    (response,) = client.responses(str(tmp_path))
    assert (response["item"], response["count"]) == (2, 1)
    found = {name: values.tolist() for name, values in client.samples().items()}
    assert found == {"query": [0], "item": [2], "sent": [5], "done": [50], "queue": [10], "compute": [20], "batch": [3]}


def test_a_refused_request_has_failed(client: PipeClient, tmp_path: Path) -> None:
    client._receive(b"1 full", 50)
    assert (client.samples()["batch"].tolist(), client.responses(str(tmp_path))) == ([0], [])


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"words", b"1", b"1 empty", b"2 10 20 40 1 00", b"1 10 20 40 1", b"1 10 20 40 one 00"),
        # no request computed, before it was sent, not in order, after it was read
        *(b"1 10 20 40 0 00", b"1 4 20 40 1 00", b"1 20 10 40 1 00", b"1 10 20 51 1 00"),
    ],
)
def test_another_line_ends_the_loader(line: bytes, client: PipeClient, tmp_path: Path) -> None:
    with pytest.raises(LeftError, match=r"4 the (runner wrote|stamps of)"):
        client._receive(line, 50)
    assert not client.responses(str(tmp_path))


@contextmanager
def loader(script: str) -> Iterator[Any]:
    """Start a runner and its loader over a pipe; give a function that runs a test and returns its latencies in s."""
    python = paths.environments() / "loadgen" / "bin" / "python"
    if not python.exists():
        skip_because(f"{python} is missing; run: nox -s loadgen")
    runner = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert runner.stdin
    assert runner.stdout
    assert runner.stdout.readline() == b"ready\n"
    ends = runner.stdin.fileno(), runner.stdout.fileno()
    setup = {"transport": "pipe", "to": ends[0], "from": ends[1], "items": 3, "cores": []}
    command = [str(python), "-P", str(paths.runners() / "loader.py"), json.dumps(setup)]
    env = {"PYTHONPATH": str(paths.runners().parent)}
    with (
        runner,
        subprocess.Popen(
            command, env=env, pass_fds=ends, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as loading,
    ):

        def run(**fields: Any) -> dict[str, Any]:
            assert loading.stdin
            assert loading.stdout
            loading.stdin.write(json.dumps(fields) + "\n")
            loading.stdin.flush()
            response = json.loads(loading.stdout.readline())
            with np.load(response["samples"]) as samples:
                return dict(samples)

        try:
            yield run
        finally:
            runner.kill()
            loading.kill()


@pytest.mark.parametrize(("scenario", "shows"), [("Server", True), ("SingleStream", False)])
def test_a_stall_shows_in_the_open_loop_and_not_in_the_closed_one(
    scenario: str, *, shows: bool, tmp_path: Path
) -> None:
    with loader(RUNNER.format(stall=300, seconds=STALL_S)) as run:
        test = {"rate": 700.0, "count": 700, "min_ms": 1, "streams": 1, "seed": 3, "in_flight": 512}
        samples = run(scenario=scenario, folder=str(tmp_path), **test)
    latency_s = (samples["done"] - samples["scheduled"]) / 1e9
    assert len(latency_s) >= 700
    assert latency_s.max() >= STALL_S * 0.99
    # in the open loop, those that were due in the stall waited too
    assert (np.quantile(latency_s, 0.99) > STALL_S / 4) == shows
    assert ((samples["sent"] - samples["scheduled"]) >= 0).all()
    assert set(samples["item"]) == {0, 1, 2}


class Doubling:
    """A session that doubles its input; it fails for a negative one."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.go = threading.Event()

    def run(self, feed: Feed) -> Feed:
        """Return twice the input."""
        self.go.wait(5)
        self.batches.append(len(feed["x"]))
        if (feed["x"] < 0).any():
            raise RunnerError("runtime-failed", "negative")
        return {"y": feed["x"] * 2}


def queue_of(session: Any, **measure: int) -> Queue:
    limits = {"workers": 1, "max_batch": 1, "max_wait_us": 0, "max_queue": 9}
    request: Any = {"measure": {**limits, **measure}, "model": {"inputs": [{"name": "x"}]}}
    return Queue(request, session, None)


def feed(*shape: int, value: float = 1.0) -> Feed:
    return {"x": np.full(shape, value, np.float32)}


def test_requests_that_fit_are_computed_together_the_oldest_first() -> None:
    session, done = Doubling(), list[Waiting]()
    queue = queue_of(session, max_batch=3)
    shapes = [(1, 2), (1, 2), (1, 5), (1, 2), (2, 2), (1, 2), (1, 2)]
    sources = [feed(*shape, value=value) for value, shape in enumerate(shapes)]
    for place, source in enumerate(sources):
        assert queue.put(Waiting(source, place, done.append))
        if not place:
            while len(queue):  # the worker has it
                time.sleep(0.001)
    session.go.set()
    queue.close()
    assert session.batches == [1, 3, 1, 2, 1]
    assert [waiting.arrived for waiting in done] == [0, 1, 3, 5, 2, 4, 6]
    assert [waiting.count for waiting in done] == [1, 3, 3, 3, 1, 1, 1]
    assert all(float(waiting.outputs["y"][0, 0]) == 2 * waiting.arrived for waiting in done)
    assert all(waiting.start <= waiting.end for waiting in done)


def test_a_full_or_closed_queue_refuses_and_one_bad_request_fails_alone() -> None:
    session, done = Doubling(), list[Waiting]()
    queue = queue_of(session, max_batch=4, max_queue=3)
    assert queue.put(Waiting(feed(1), 0, done.append))
    while len(queue):
        time.sleep(0.001)
    taken = [queue.put(Waiting(feed(1, value=value), 0, done.append)) for value in (1, -1, 2, 3)]
    assert taken == [True, True, True, False]
    session.go.set()
    queue.close()
    assert not queue.put(Waiting(feed(1), 0, done.append))
    assert [waiting.error is None for waiting in done] == [True, True, False, True]


def test_a_request_waits_for_others_since_its_arrival_if_others_can_join_it() -> None:
    session, done = Doubling(), SimpleQueue[Waiting]()
    session.go.set()
    queue = queue_of(session, max_batch=2, max_wait_us=300_000)
    for shape, age_s, waits in (((1, 2), 0, True), ((1, 2), 1, False), ((2, 2), 0, False)):
        began = time.monotonic_ns()
        assert queue.put(Waiting(feed(*shape), began - round(age_s * 1e9), done.put))
        done.get(timeout=5)
        assert (time.monotonic_ns() - began >= 300_000_000) == waits
    queue.close()


class Unfit(Doubling):
    """A session without a row for each request of a batch, that fails for a negative input."""

    def run(self, feed: Feed) -> Feed:
        """Return twice the first row."""
        if (feed["x"] < 0).any():
            raise KeyError("negative")
        return {"y": super().run(feed)["y"][:1]}


def test_a_worker_survives_whatever_a_session_does() -> None:
    session, done = Unfit(), list[Waiting]()
    queue = queue_of(session, max_batch=2)
    for value in (1, -1, 2, 3):
        assert queue.put(Waiting(feed(1, value=value), 0, done.append))
    session.go.set()
    queue.close()
    errors = [(waiting.error.kind, waiting.error.message) for waiting in done if waiting.error]
    assert errors == [("runtime-failed", "KeyError: 'negative'")]
    assert sorted(float(waiting.outputs["y"][0]) for waiting in done if not waiting.error) == [2, 4, 6]


def test_a_model_with_a_fixed_batch_is_refused() -> None:
    spec = {"name": "x", "dtype": "float32", "shape": [1, 4]}
    request: Any = {"model": {"inputs": [spec], "outputs": []}, "measure": {"max_batch": 2}}
    with pytest.raises(RunnerError, match=r"the first dimension of input 'x' is fixed: \[1, 4\]"):
        Server(request, Doubling(), None, {})  # type: ignore[arg-type]
