"""``runoff-ort serve`` with good and hostile clients: the real program, a small model."""

from __future__ import annotations

import os
import re
import shlex
import signal
import struct
import subprocess
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from functools import cache
from http.client import HTTPException
from io import BytesIO
from shutil import copyfile, which
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from documents import blocks
from PIL import Image
from running import MODEL
from server_under_test import HEALTH, MIB, Server, head, reason, refused, serving, until

from machine import FULL, skip_because, thorough
from onnx_models import encoder
from runoff import paths

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COLOURS = {"red": (90, 10, 0), "green": (0, 50, 9), "blue": (20, 0, 40)}
MANIFEST = {
    "preprocess": {"resize": 9, "crop": 8, "interpolation": "bicubic", "mean": [0, 0, 0], "std": [10, 10, 10]},
    "labels": {"path": "labels.txt"},
}
WAITING = ("--max-batch", "2", "--max-wait-us", "700000")
"""A request that is alone waits for another for so long."""
BOUND_S = 5
"""Every good request gets its response in this time, whatever other clients do."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model that finds the strongest colour."""
    made = tmp_path_factory.mktemp("model")
    copyfile(paths.root() / "rust" / "runoff-session" / "tests" / "data" / "means.onnx", made / "model.onnx")
    (made / "manifest.json").write_bytes(msgspec.json.encode(MANIFEST))
    (made / "labels.txt").write_text("red\ngreen\nblue\n")
    return made


def picture(colour: str, side: int = 32, kind: str = "PNG") -> bytes:
    stream = BytesIO()
    Image.new("RGB", (side, side), COLOURS[colour]).save(stream, kind)
    return stream.getvalue()


@cache
def bomb(width: int, height: int) -> bytes:
    """Return a PNG file of black pixels, of which the first 4000 rows are there."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes((width * 3 + 1) * min(height, 4000)))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def label(body: bytes) -> str:
    return str(msgspec.json.decode(body)["top"][0]["label"])


def test_images_get_their_best_classes_and_others_a_reason(folder: Path) -> None:
    with serving(folder, "--top", 2, "--max-body", 4000, "--max-pixels", 4000) as server:
        with closing(server.connect()) as connection:
            for colour, channels in COLOURS.items():
                connection.request("POST", "/infer", picture(colour))
                response = connection.getresponse()
                top = msgspec.json.decode(response.read())["top"]
                assert (response.status, top[0]["label"], len(top)) == (200, colour, 2)
                assert top[0].keys() == {"index", "score", "confidence", "label"}
                assert top[0]["score"] == pytest.approx(max(channels) / 10)
                assert response.headers["x-batch"] == "1"
                assert int(response.headers["x-queue-ns"]) >= 0 < int(response.headers["x-compute-ns"])
        for body, status, named in [
            (b"", 400, "not a JPEG, PNG, WebP, BMP or TIFF file"),
            (b"garbage", 400, "image: not a JPEG"),
            (picture("red", kind="JPEG")[:300], 400, "damaged, truncated or unsupported JPEG file"),
            (picture("red", 64), 400, "64 x 64 is more than 4000 pixels"),
            (bytes(60_000), 413, "more than 4000 bytes"),
        ]:
            response, text = server.infer(body)
            assert (response.status, named in reason(text)) == (status, True), text
        response, text = server.ask("GET", "/infer")
        assert (response.status, response.headers["allow"], reason(text)[:11]) == (405, "POST", "GET /infer:")
        assert server.ask("POST", "/health")[0].status == 405
        assert server.ask("GET", "/nothing")[0].status == 404
        # without an end, and none of them is left unread
        assert server.exchange(b"GET / HTTP/1.1\r\nx: ".ljust(64 << 10, b"y")).startswith(b"HTTP/1.1 431")
        assert (server.ask("GET", "/health")[0].status, server.ask("GET", "/health")[1]) == (200, b"ok")
        assert server.metric('runoff_requests_total{status="200"}') == 3
        assert server.metric('runoff_requests_total{status="400"}') == 4
        assert server.metric('runoff_requests_total{status="413"}') == 1
        assert server.metric("runoff_request_duration_seconds_count") == 8


def test_waiting_requests_are_one_batch_and_a_bad_one_fails_alone(folder: Path) -> None:
    bodies = [picture("red"), b"garbage", picture("green"), picture("blue")]
    with serving(folder, "--workers", 1, "--max-batch", 4, "--max-wait-us", 5_000_000) as server:
        with ThreadPoolExecutor(4) as pool:
            responses = list(pool.map(server.infer, bodies))
        assert [response.status for response, _ in responses] == [200, 400, 200, 200]
        good = [answer for answer in responses if answer[0].status == 200]
        assert [label(body) for _, body in good] == ["red", "green", "blue"]
        # the batch that is computed has those that can be read
        assert {response.headers["x-batch"] for response, _ in good} == {"3"}


def test_tensors_are_the_bytes_of_all_inputs_and_outputs(tmp_path: Path) -> None:
    model = encoder(tmp_path / "model.onnx")
    ids, mask = np.array([[1, 0]], np.int64), np.array([[1, 0.5]], np.float32)
    body = ids.tobytes() + mask.tobytes()
    with serving(model, "--dim", "sequence=2", "--max-batch", 2, "--max-wait-us", 5_000_000) as server:
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(server.infer, [body, body]))
        for response, outputs in answers:
            assert (response.status, response.headers["x-batch"]) == (200, "2")
            expected = np.eye(7, dtype=np.float32)[[1, 0]] * mask[0][:, None]
            np.testing.assert_array_equal(np.frombuffer(outputs, np.float32).reshape(2, 7), expected)
        response, text = server.infer(body[:-1])
        assert response.status == 400
        assert "the body has 23 bytes, the inputs have 24" in reason(text)
        assert "ids (int64 [1, 2]), mask (float32 [1, 2])" in reason(text)
        # an id outside the table fails its own request only
        wrong = np.array([[1, 9]], np.int64).tobytes() + mask.tobytes()
        with ThreadPoolExecutor(2) as pool:
            failed, good = pool.map(server.infer, [wrong, body])
        assert (failed[0].status, good[0].status) == (500, 200)


def test_a_full_queue_refuses_and_a_client_that_leaves_makes_room(folder: Path) -> None:
    image = picture("red")
    with serving(folder, "--max-queue", 1, *WAITING[:2], "--max-wait-us", 60_000_000) as server:
        for _ in range(2):
            with server.send(head(len(image)) + image):
                until(lambda: server.metric("runoff_queue_length") == 1)
                response, text = server.infer(image)
                assert (response.status, response.headers["retry-after"]) == (503, "1")
                assert "the queue is full: 1 waiting" in reason(text)
            until(lambda: server.metric("runoff_queue_length") == 0)


def test_requests_in_flight_are_answered_at_sigterm(folder: Path) -> None:
    image = picture("green")
    with serving(folder, *WAITING) as server, ExitStack() as stack:
        idle, fresh, half, whole = (
            stack.enter_context(server.send(data))
            for data in (HEALTH, b"", head(len(image)) + image[:10], head(len(image)) + image)
        )
        assert idle.recv(1000).startswith(b"HTTP/1.1 200")
        until(lambda: server.metric("runoff_queue_length") == 1)
        server.process.send_signal(signal.SIGTERM)
        assert (idle.recv(1000), fresh.recv(1000)) == (b"", b"")
        with pytest.raises(ConnectionRefusedError):
            server.exchange(b"")
        half.sendall(image[10:])
        for client in (half, whole):
            answer = b"".join(iter(lambda: client.recv(65536), b""))  # noqa: B023 (called in this iteration)
            assert answer.startswith(b"HTTP/1.1 200"), answer
            assert b'"label":"green"' in answer
        assert server.process.wait(10) == 0


def attack(server: Server, number: int) -> None:
    """Do one of the things that no client should do."""
    image = picture("red")
    deeds: list[Callable[[], object]] = [
        lambda: server.exchange(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" + os.urandom(200)),
        lambda: server.exchange(b"GET / HTTP/1.1\r\nx: " + b"y" * 100_000 + b"\r\n\r\n"),
        lambda: server.infer(os.urandom(20_000)),
        lambda: server.infer(bomb(6000, 60_000)),
        lambda: server.infer(bomb(3000, 2000)),
        lambda: server.send(head(100 * MIB) + bytes(100_000)).close(),
        lambda: server.ask("POST", "/infer", bytes(100 * MIB)),
        lambda: server.send(head(len(image)) + image[: number % len(image)]).close(),
        lambda: server.send(head(len(image)) + image).close(),
        lambda: server.send(head(len(image))[:20]).close(),
    ]
    # the server ends such a connection
    with suppress(OSError, HTTPException):
        deeds[number % len(deeds)]()


def test_hostile_clients_neither_stop_nor_slow_nor_swell_the_server(folder: Path) -> None:
    requests, attacks = (10_000, 400) if FULL else (500, 40)
    images = [(colour, picture(colour, side)) for colour in COLOURS for side in (32, 300)]

    def good(number: int) -> float:
        colour, image = images[number % len(images)]
        begun = time.monotonic()
        response, body = server.infer(image)
        assert (response.status, label(body)) == (200, colour)
        return time.monotonic() - begun

    with serving(folder, "--workers", 2, "--max-batch", 4) as server, ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(8))
        # bodies that never come, all the while
        for _ in range(30):
            stack.enter_context(server.send(head(1000) + b"\x89PNG"))
        for number in range(10):
            attack(server, number)
        list(pool.map(good, range(100)))
        before = server.resident_bytes()
        attacking = [pool.submit(attack, server, number) for number in range(attacks)]
        longest = max(pool.map(good, range(requests)))
        for each in attacking:
            each.result()
        until(lambda: server.metric("runoff_queue_length") == 0)
        assert longest < BOUND_S
        if FULL:
            # the allocator gives large memory back after 10 s
            until(lambda: good(0) > 0 and server.resident_bytes() < before + 48 * MIB, 30)
        grown = server.resident_bytes() - before
    # each worker may have freed an image of 18 MB last
    assert grown < (48 if FULL else 96) * MIB, f"{grown / MIB:.1f} MiB"


def test_the_requests_of_the_page_work() -> None:
    curl, is_stored = which("curl"), (paths.models() / MODEL).is_dir()
    skip_because("" if curl else "curl not found")
    skip_because("" if is_stored else f"{MODEL} is not stored: runoff export {MODEL}")
    page = "".join(blocks(paths.root() / "docs" / "serve.md", "console"))
    commands = re.findall(r"^\$ curl (.+)$", page, re.MULTILINE)
    with serving(paths.models() / MODEL) as server:
        bodies = []
        for command in commands:
            words = shlex.split(command.replace(":8080", f":{server.port}"))
            done = subprocess.run([str(curl), *words], cwd=paths.root(), capture_output=True, check=True)
            bodies.append(done.stdout)
    image, health, metrics = bodies
    assert label(image) == "palace"
    assert health == b"ok"
    assert b'runoff_requests_total{status="200"} 1\n' in metrics


@thorough
def test_a_slow_body_gets_the_status_408(folder: Path) -> None:
    with serving(folder) as server, server.send(head(100)) as client:
        for _ in range(9):
            time.sleep(1)
            client.sendall(b"x")
        answer = client.recv(1000)
    assert answer.startswith(b"HTTP/1.1 408"), answer
    assert b"connection: close" in answer


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--port", "1", "--host", "192.0.2.1"], "cannot listen on 192.0.2.1:1"),
        (["--resize", "7"], "preprocess.crop is 8, larger than preprocess.resize 7"),
        (["--dim", "length=2"], "--dim length: no input has this free dimension"),
        (["--labels", "none.txt"], "cannot read the labels none.txt"),
    ],
)
def test_bad_flags_are_one_line(folder: Path, words: list[str], named: str) -> None:
    assert named in refused(folder, *words)
