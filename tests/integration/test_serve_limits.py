"""The limits of ``runoff-ort serve``, and its end: the real program, models of tensors."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import helper
from server_under_test import HEALTH, MIB, head, reason, refused, serving

from machine import FULL, thorough
from onnx_models import BOOL, FLOAT, INT64, counter, encoder, linear, save

if TYPE_CHECKING:
    from pathlib import Path

BODY = np.ones((1, 4), np.float32).tobytes()
ENDLESS = np.int64(10**12).tobytes()
AN_HOUR = ("--max-wait-us", 3_600_000_000)
UNANSWERED = (1, "error: 1 request was not answered within 25 s\n")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a model of one input of 16 bytes."""
    return linear(tmp_path / "model.onnx")


def test_a_thread_that_cannot_be_started_is_reported(model: Path) -> None:
    # no address space has room for a stack of this size
    assert "cannot start a thread: " in refused(model, "--port", 0, variables={"RUST_MIN_STACK": str(2**60)})


@pytest.mark.parametrize(("length", "needed"), [(1000, 12_000), (2 * 10**18, 24 * 10**18)])
def test_a_model_whose_inputs_exceed_a_body_is_refused(tmp_path: Path, length: int, needed: int) -> None:
    model = encoder(tmp_path / "model.onnx")
    message = refused(model, "--dim", f"sequence={length}", "--max-body", 10_000)
    assert f"the inputs have {needed} bytes, more than --max-body 10000" in message


def test_a_chunked_body_that_is_too_large_is_read_to_its_end(model: Path) -> None:
    with serving(model, "--max-body", MIB) as server:
        response, text = server.infer(iter([bytes(100_000)] * 100))
        assert (response.status, "more than 1048576 bytes" in reason(text)) == (413, True)
        assert server.infer(iter([BODY[:5], BODY[5:]]))[0].status == 200


@thorough
def test_a_body_that_is_too_large_and_never_ends_gets_the_status_413(model: Path) -> None:
    with serving(model, "--max-body", 1000) as server, server.send(head(2000)) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 413")


def test_a_declared_length_is_not_believed(model: Path) -> None:
    with serving(model, "--max-body", 2**60) as server, server.send(head(2**50)) as client:
        for _ in range(2):
            client.sendall(b"x")
            time.sleep(0.2)
        assert server.ask("GET", "/health")[0].status == 200
        if FULL:
            # after the time for the rest of a body that is refused
            assert client.recv(1000).startswith(b"HTTP/1.1 503")


def test_connections_are_more_than_requests_that_wait_and_than_the_soft_limit(model: Path) -> None:
    few = ("bash", "-c", 'ulimit -Sn 64; exec "$@"', "bash")
    with serving(model, "--max-queue", 1, prefix=few) as server, ExitStack() as stack:
        begun = time.monotonic()
        clients = [stack.enter_context(server.send(HEALTH)) for _ in range(500)]
        assert all(client.recv(1000).startswith(b"HTTP/1.1 200") for client in clients)
        # idle ones make room after 10 s
        assert time.monotonic() - begun < 5


def test_outputs_without_rows_are_reported_and_computed_one_by_one(tmp_path: Path) -> None:
    node = helper.make_node("Reshape", ["x", "flat"], ["y"])
    weights = {"flat": np.array([-1])}
    model = save(tmp_path / "model.onnx", [node], [("x", FLOAT, ["batch", 4])], [("y", FLOAT, ["rows"])], weights)
    missing = 'output "y" of shape [8] has no row for each of 2 (set the largest batch to 1)'
    note = f"note: requests are computed one by one from now on: {missing}\n"
    with serving(model, "--max-batch", 2, *AN_HOUR, ended=(0, note)) as server:
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(server.infer, [BODY, BODY]))
        for response, outputs in [*answers, server.infer(BODY)]:
            assert (response.status, response.headers["x-batch"], outputs) == (200, "1", BODY)


def test_a_byte_that_is_no_bool_fails_its_own_request(tmp_path: Path) -> None:
    node, shape = helper.make_node("Not", ["x"], ["y"]), ["batch", 2]
    model = save(tmp_path / "model.onnx", [node], [("x", BOOL, shape)], [("y", BOOL, shape)])
    with serving(model, "--max-batch", 2, *AN_HOUR) as server, ThreadPoolExecutor(2) as pool:
        (good, outputs), (bad, text) = pool.map(server.infer, [b"\0\1", b"\0\2"])
    assert (good.status, outputs) == (200, b"\1\0")
    assert (bad.status, "a bool is 0 or 1" in reason(text)) == (400, True)


def test_neither_a_batch_nor_an_abandoned_inference_is_waited_for(tmp_path: Path) -> None:
    with serving(counter(tmp_path / "model.onnx"), *AN_HOUR) as server:
        # a scalar cannot be in one batch with others
        response, outputs = server.infer(np.int64(3).tobytes())
        assert (response.status, np.frombuffer(outputs, np.int64).tolist()) == (200, [3])
        with server.send(head(len(ENDLESS)) + ENDLESS):
            time.sleep(0.3)


@thorough
def test_a_request_that_is_not_answered_at_the_end_is_counted(tmp_path: Path) -> None:
    with ExitStack() as stack, serving(counter(tmp_path / "model.onnx"), ended=UNANSWERED) as server:
        stack.enter_context(server.send(head(len(ENDLESS)) + ENDLESS))
        time.sleep(0.3)


@thorough
def test_a_response_that_is_cut_off_at_the_end_is_counted(tmp_path: Path) -> None:
    node = helper.make_node("ConstantOfShape", ["n"], ["y"])
    model = save(tmp_path / "model.onnx", [node], [("n", INT64, [1])], [("y", FLOAT, ["rows"])])
    count = np.int64(25_000_000).tobytes()
    with serving(model, ended=UNANSWERED) as server, server.send(head(len(count)) + count) as client:
        client.recv(1)
        server.process.send_signal(signal.SIGTERM)
        # slowly, but too fast for the server to give up
        while server.process.poll() is None:
            with suppress(OSError):
                client.recv(MIB)
            time.sleep(0.5)
