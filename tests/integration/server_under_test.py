"""The real ``runoff-ort serve``, for tests."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from machine import skip_because
from runoff.targets.onnxruntime import ort_rust

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MIB = 1 << 20
HEALTH = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"


class Server(msgspec.Struct, frozen=True):
    """A server, and requests to it."""

    process: subprocess.Popen[str]
    port: int

    def connect(self) -> HTTPConnection:
        """Return a connection, which is opened by its first request."""
        return HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self, method: str, path: str, body: bytes | Iterator[bytes] | None = None) -> tuple[HTTPResponse, bytes]:
        """Return the response to a request on a connection of its own, and the body. The parts of a body are chunks."""
        with closing(self.connect()) as connection:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response, response.read()

    def infer(self, body: bytes | Iterator[bytes]) -> tuple[HTTPResponse, bytes]:
        """Return the response to an inference."""
        return self.ask("POST", "/infer", body)

    def metric(self, name: str) -> float:
        """Return a value of ``/metrics``, 0 if it is not there."""
        lines = self.ask("GET", "/metrics")[1].decode().splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0)

    def send(self, data: bytes) -> socket.socket:
        """Send bytes on a new connection, which is left open."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        client.sendall(data)
        return client

    def exchange(self, data: bytes) -> bytes:
        """Send bytes on a new connection, and return what comes first."""
        with self.send(data) as client:
            return client.recv(1000)

    def resident_bytes(self) -> int:
        """Return the resident memory of the server."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (kib,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
        return int(kib) * 1024


def start(*words: object, prefix: tuple[str, ...] = (), variables: Mapping[str, str] = {}) -> subprocess.Popen[str]:
    """Start ``runoff-ort serve``, by the command `prefix` if there is one."""
    target = ort_rust()
    skip_because(str(target.missing or ""))
    command = [*prefix, *target.command, "serve", *map(str, words)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env={**os.environ, **target.env, **variables}, stdout=pipe, stderr=pipe, text=True)


@contextmanager
def serving(*words: object, prefix: tuple[str, ...] = (), ended: tuple[int, str] = (0, "")) -> Iterator[Server]:
    """Serve until the end of the block, then end the server; `ended` are its exit code and what it reports."""
    with start(*words, "--port", 0, prefix=prefix) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            found = re.fullmatch(r"listening on http://127\.0\.0\.1:(\d+) \(POST /infer takes .+\)\n", line)
            assert found, line + process.stderr.read()
            yield Server(process, int(found[1]))
            process.send_signal(signal.SIGTERM)
            assert (process.wait(30), process.stderr.read(), process.stdout.read()) == (*ended, "")
        finally:
            process.kill()


def refused(*words: object, variables: Mapping[str, str] = {}) -> str:
    """Return the line of a server that does not start, for a reason in what it was given."""
    with start(*words, variables=variables) as process:
        try:
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def head(length: int) -> bytes:
    """Return the headers of an inference whose body has so many bytes."""
    return f"POST /infer HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n".encode()


def reason(body: bytes) -> str:
    """Return the error in a response, with its hint."""
    answer = msgspec.json.decode(body)
    assert answer.keys() == {"error", "hint"}
    return f"{answer['error']} ({answer['hint']})"


def until(condition: Callable[[], bool], limit_s: float = 10) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
