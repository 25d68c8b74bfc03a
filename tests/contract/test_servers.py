"""The measure `load`: requests over a pipe and over HTTP, while others wait."""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import pytest
from onnx import helper
from runners_under_test import MODEL, NATIVE, Document, Runner, golden
from test_turns import Live, started

from machine import FULL, skip_because
from onnx_models import BOOL, FLOAT, linear, save
from runoff import paths

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVERS = ("ort-python", "ort-rust", "ort-pyo3") if FULL else ("ort-python", "ort-rust")
SERVING = tuple(runner for runner in NATIVE if runner.name in SERVERS)
SHAPE = (1, 4)


def request_of(folder: Path, **measure: Any) -> Document:
    """Return a request of three items for a model with the output ``x @ w``."""
    linear(folder / "model.onnx")
    (folder / "out").mkdir()
    items = []
    for place in range(3):
        path = folder / "out" / f"item.{place}"
        np.full(SHAPE, place + 1, np.float32).tofile(path)
        items.append({"tensors": {"x": {"path": str(path), "dtype": "float32", "shape": SHAPE}}})
    return {
        "protocol": 1,
        "case": "c",
        "workload": "tensor",
        "model": {
            "name": "linear",
            "path": str(folder / "model.onnx"),
            "format": "onnx",
            "sha256": "0" * 64,
            "inputs": [{"name": "x", "dtype": "float32", "shape": [None, 4]}],
            "outputs": [{"name": "y", "dtype": "float32", "shape": [None, 3]}],
        },
        "inputs": items,
        "measure": {"kind": "load", "warmup": 1, **measure},
        "outputs_dir": str(folder / "out"),
    }


def wanted(item: int) -> list[float]:
    """Return the output of an item."""
    output: list[float] = (np.full(4, item + 1) @ np.arange(12).reshape(4, 3)).tolist()
    return output


@pytest.fixture(params=SERVING, ids=lambda runner: runner.name)
def served(request: pytest.FixtureRequest) -> Runner:
    """Return a runner of an ONNX file."""
    runner: Runner = request.param
    return runner


def test_a_pipe_takes_requests_while_others_are_computed(served: Runner, tmp_path: Path) -> None:
    document = request_of(tmp_path, transport="pipe", workers=2, max_batch=4)
    with started(served, document, tmp_path) as live:
        assert live.process.stdin
        began = time.monotonic_ns()
        live.process.stdin.write("".join(f"{number} {number % 3}\n" for number in range(40)))
        live.process.stdin.flush()
        lines = [live.read().split() for _ in range(40)]
        ended = time.monotonic_ns()
        result, exit_code, rest = live.end()
    assert (result.status, exit_code, rest) == ("ok", 0, "")
    responses = [[*map(int, numbers)] for *numbers, _ in lines]
    assert sorted(response[0] for response in responses) == [*range(40)]
    for _, arrived, start, end, count in responses:
        assert began <= arrived <= start <= end <= ended
        assert 1 <= count <= 4
    assert max(response[4] for response in responses) > 1
    written = [tensor for tensor in result.outputs if ".y." in Path(tensor.path).name]  # after the warm-up
    assert {(int(number) % 3, digest) for number, *_, digest in lines} == {
        (tensor.items[0], Path(tensor.path).name.split(".")[0]) for tensor in written
    }
    for tensor in written:
        (item,) = tensor.items
        content = Path(tensor.path).read_bytes()
        assert Path(tensor.path).name == f"{crc32(content):08x}.y.{item}.bin"
        assert (tensor.shape, np.frombuffer(content, np.float32).tolist()) == ((1, 3), wanted(item))
    assert result.cpu_ns
    assert result.samples["inference"].second_ns
    assert result.samples["inference"].warm_ns == ()


@pytest.mark.parametrize("line", ["0", "0 3", "0 -1", "x 0", "0 0 leave"])
def test_another_line_is_a_bad_request(line: str, tmp_path: Path) -> None:
    with started(SERVING[0], request_of(tmp_path, transport="pipe"), tmp_path) as live:
        result, exit_code, _ = live.end(f"{line}\n")
    assert (result.kind, exit_code) == ("bad-request", 2)
    assert line in (result.message or "")


@contextmanager
def http_server(runner: Runner, document: Document, folder: Path) -> Iterator[tuple[Live, int]]:
    """Start a runner that serves HTTP; give it and its port."""
    if not (paths.environments() / "fastapi").exists():
        skip_because("the environment fastapi is missing; run: nox -s fastapi")
    with started(runner, document, folder, ready="ready ") as live:
        yield live, int(live.ready.split()[1])


def ask(port: int, method: str, path: str, body: bytes = b"") -> tuple[int, http.client.HTTPMessage, bytes]:
    """Return status, header and body of a response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, body)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, response.headers, content


def test_http_serves_tensors_and_refuses_what_is_none(served: Runner, tmp_path: Path) -> None:
    document = request_of(tmp_path, transport="http", workers=2)
    with http_server(served, document, tmp_path) as (live, port):
        for item in (2, 0):
            status, head, content = ask(port, "POST", "/infer", np.full(SHAPE, item + 1, np.float32).tobytes())
            assert (status, np.frombuffer(content, np.float32).tolist()) == (200, wanted(item))
            assert int(head["x-compute-ns"]) > 0
            assert (int(head["x-queue-ns"]) >= 0, head["x-batch"], head["content-length"]) == (True, "1", "12")
        for status, method, path, body in (
            (400, "POST", "/infer", b"short"),
            (413, "POST", "/infer", bytes(17 * 2**20)),
            (405, "GET", "/infer", b""),
            (404, "GET", "/nothing", b""),
        ):
            found, _, content = ask(port, method, path, body)
            assert found == status
            assert json.loads(content).keys() == {"error", "hint"}
        assert ask(port, "GET", "/health")[0::2] == (200, b"ok")
        metrics = ask(port, "GET", "/metrics")[2].decode()
        assert re.search(r'requests_total\{status="200"\} 2(\.0)?$', metrics, re.MULTILINE), metrics
        assert re.search(r"^runoff_queue_length 0(\.0)?$", metrics, re.MULTILINE), metrics
        # a request that is not complete yet is answered at the end
        with socket.create_connection(("127.0.0.1", port), timeout=10) as waiting:
            waiting.sendall(b"POST /infer HTTP/1.1\r\nhost: a\r\ncontent-length: 16\r\n\r\n")
            time.sleep(0.1)
            assert live.process.stdin
            live.process.stdin.close()
            time.sleep(0.1)
            waiting.sendall(np.full(SHAPE, 1, np.float32).tobytes())
            assert waiting.recv(4096).startswith((b"HTTP/1.1 200", b"HTTP/1.1 503"))
        live.process.stdin = None
        result, exit_code, _ = live.end()
    assert (result.status, exit_code) == ("ok", 0)


def test_http_serves_images(served: Runner, models: Path, tmp_path: Path) -> None:
    document = golden("load-classify", served, models, tmp_path)
    with http_server(served, document, tmp_path) as (live, port):
        status, _, content = ask(port, "POST", "/infer", (models / MODEL / "china.jpg").read_bytes())
        top = json.loads(content)["top"]
        assert (status, len(top), top[0]["label"]) == (200, 5, "palace")
        assert top[0]["score"] > top[1]["score"]
        status, _, content = ask(port, "POST", "/infer", b"no image")
        assert (status, json.loads(content)["error"][:15]) == (400, "image: not a JP")
        assert live.end()[1] == 0


def test_http_takes_0_and_1_as_bool(served: Runner, tmp_path: Path) -> None:
    document = request_of(tmp_path, transport="http")
    cast = helper.make_node("Cast", ["x"], ["y"], to=FLOAT)
    save(tmp_path / "model.onnx", [cast], [("x", BOOL, ["batch", 4])], [("y", FLOAT, ["batch", 4])])
    document["model"]["inputs"][0]["dtype"] = "bool"
    (tmp_path / "out" / "item.0").write_bytes(bytes(4))
    path = str(tmp_path / "out" / "item.0")
    document["inputs"] = [{"tensors": {"x": {"path": path, "dtype": "bool", "shape": SHAPE}}}]
    with http_server(served, document, tmp_path) as (live, port):
        status, _, content = ask(port, "POST", "/infer", b"\0\1\1\0")
        assert (status, np.frombuffer(content, np.float32).tolist()) == (200, [0, 1, 1, 0])
        assert ask(port, "POST", "/infer", b"\0\1\2\0")[0] == 400
        assert live.end()[1] == 0


def test_http_counts_clients_that_leave_and_outputs_that_are_not_finite(models: Path, tmp_path: Path) -> None:
    document = request_of(tmp_path, transport="http")
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Div", ["mean", "zero"], ["y"]),
    ]
    shapes = [("x", FLOAT, ["batch", 3, 8, 8])], [("y", FLOAT, ["batch", 3])]
    save(tmp_path / "model.onnx", nodes, *shapes, {"zero": np.zeros(1, np.float32)})
    document["model"]["inputs"][0]["shape"] = [None, 3, 8, 8]
    photo, scale = models / MODEL / "china.jpg", {"mean": [0.0] * 3, "std": [1.0] * 3}
    preprocess = {"resize": 8, "crop": 8, "interpolation": "bilinear", **scale}
    document |= {"workload": "classify", "inputs": [{"image": str(photo)}], "preprocess": preprocess}
    (runner,) = (runner for runner in SERVING if runner.name == "ort-python")
    with http_server(runner, document, tmp_path) as (_, port):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as leaving:
            leaving.sendall(b"POST /infer HTTP/1.1\r\nhost: a\r\ncontent-length: 16\r\n\r\nhalf")
        status, _, content = ask(port, "POST", "/infer", photo.read_bytes())
        assert status == 500
        assert "not finite" in json.loads(content)["error"]
        metrics = ask(port, "GET", "/metrics")[2].decode()
    assert dict(re.findall(r'requests_total\{status="(\d+)"\} (\d+)', metrics)) == {"400": "1", "500": "1"}
