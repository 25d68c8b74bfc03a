"""How the loader sends requests and reads responses: lines of a pipe, or HTTP on many connections."""

from __future__ import annotations

import os
import re
import resource
import selectors
import socket
import sys
from abc import ABC, abstractmethod
from collections import Counter, deque
from itertools import count
from threading import Lock, Thread
from time import monotonic_ns, sleep
from typing import NamedTuple

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

_FILES = 2048
"""Descriptors of this process, if the system permits that many: each connection needs one."""
_FIRST_CONNECTIONS = 16
_PATIENCE_NS = 60 * 10**9
"""Without a response for so long, the runner does not respond."""
MOST_RESPONSES = 256
"""Distinct responses that can be compared with the reference; a deterministic runtime has few for each item."""
_READ_BYTES = 1 << 18
RUNNER_AT_FAULT = 4
"""Exit code if the last line of stderr is about the runner."""
_FIELDS = ("query", "item", "sent", "done", "queue", "compute", "batch")


class Sent(NamedTuple):
    """A request."""

    identity: int
    """LoadGen's."""
    item: int
    query: int
    sent: int
    """When LoadGen's call began, in ns of the monotonic clock."""


class Client(ABC):
    """Requests in flight. `begin` starts a test, `send` is called by LoadGen's thread."""

    def __init__(self) -> None:
        self._complete: Callable[[int], None] = lambda _: None
        self._most = 1
        self._in_flight = 0
        self._backlog: deque[Sent] = deque()
        self._lock = Lock()
        self._rows: list[tuple[int, ...]] = []
        self._responses: Counter[tuple[int, bytes]] = Counter()
        self._last = monotonic_ns()

    def begin(self, most: int, complete: Callable[[int], None]) -> None:
        """Begin a test with at most so many requests in flight; `complete` tells LoadGen of a response."""
        self._most, self._complete, self._rows, self._last = most, complete, [], monotonic_ns()
        self._responses.clear()

    def send(self, request: Sent) -> None:
        """Send a request; it waits while too many are in flight."""
        with self._lock:
            if self._in_flight >= self._most:
                self._backlog.append(request)
                return
            if not self._in_flight:
                self._last = request.sent
            self._in_flight += 1
        self._post(request)

    def start(self) -> None:
        """Start the thread that reads responses, and one that ends the process if there are none."""
        Thread(target=self._guarded, daemon=True).start()
        Thread(target=self._watch, daemon=True).start()

    def _guarded(self) -> None:
        try:
            self._read()
        except BaseException as error:  # noqa: BLE001 (without this thread, no response would be read)
            _leave(f"{type(error).__name__}: {error}", code=1)

    def _watch(self) -> None:
        while True:
            sleep(1)
            if self._in_flight and monotonic_ns() - self._last > _PATIENCE_NS:
                _leave(f"no response for {_PATIENCE_NS / 1e9:.0f} s, {self._in_flight} requests wait")

    @abstractmethod
    def _read(self) -> None:
        """Read responses, and pass each to `_completed`."""

    @abstractmethod
    def _post(self, request: Sent) -> None:
        """Write a request."""

    def _count(self, item: int, response: bytes) -> None:
        """Count a response: its body, or the digest of the outputs."""
        if (item, response) in self._responses or len(self._responses) < MOST_RESPONSES:
            self._responses[item, response] += 1

    def _completed(self, request: Sent, done: int, queue: int, compute: int, batch: int) -> None:
        """Keep the sample of a request, and send one that waits."""
        self._last = done
        self._rows.append((request.query, request.item, request.sent, done, queue, compute, batch))
        with self._lock:
            following = self._backlog.popleft() if self._backlog else None
            self._in_flight -= following is None
        if following:
            self._post(following)
        self._complete(request.identity)

    def samples(self) -> dict[str, Any]:
        """Return the samples of this test: int64 arrays of one shape, times in ns; ``batch`` is 0 if one failed."""
        table = np.array(self._rows, np.int64).reshape(-1, len(_FIELDS))
        return dict(zip(_FIELDS, table.T, strict=True))

    def responses(self, folder: str) -> list[dict[str, Any]]:
        """Write the distinct responses into `folder`; return their files, with item and count."""
        written = []
        for number, ((item, response), times) in enumerate(self._responses.most_common()):
            path = f"{folder}/response.{number}"
            with open(path, "wb") as file:  # noqa: PTH123 (as the runners do)
                file.write(response)
            written.append({"item": item, "path": path, "count": times})
        return written


class PipeClient(Client):
    """Writes to the descriptor `to`, and reads from another one."""

    def __init__(self, to: int, from_: int) -> None:
        super().__init__()
        self._to, self._from = to, from_
        self._sent: dict[int, Sent] = {}
        self._number = count(1)  # 0 was runoff's own
        self.start()

    def _post(self, request: Sent) -> None:
        number = next(self._number)
        self._sent[number] = request
        os.write(self._to, b"%d %d\n" % (number, request.item))

    def _read(self) -> None:
        rest = b""
        while data := os.read(self._from, _READ_BYTES):
            done = monotonic_ns()
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._receive(line, done)
        _leave("the runner closed its standard output")

    def _receive(self, line: bytes, done: int) -> None:
        try:
            number, *words = line.split()
            request = self._sent.pop(int(number))
            if words == [b"full"]:
                self._completed(request, done, 0, 0, 0)
                return
            arrived, start, end, size = map(int, words[:-1])
        except (ValueError, KeyError):
            _leave(f"the runner wrote {line[:80]!r}")
        if size < 1 or not request.sent <= arrived <= start <= end <= done:
            _leave(f"the stamps of {line[:80]!r} are not in order, after {request.sent} and before {done}")
        self._count(request.item, words[-1])
        self._completed(request, done, start - arrived, end - start, size)


class _Connection:
    """A connection with at most one request in flight."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(0)
        self.request: Sent | None = None
        self.unsent = memoryview(b"")
        self.received = bytearray()
        self.length = -1


_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TIMES = [re.compile(rb"\r\nx-%s: *(\d+)" % name, re.IGNORECASE) for name in (b"queue-ns", b"compute-ns", b"batch")]
_OK = b"HTTP/1.1 200"


class HttpClient(Client):
    """Posts the `bodies` of the items to a server on this machine, on as many connections as are needed."""

    def __init__(self, port: int, bodies: list[bytes]) -> None:
        super().__init__()
        wanted, hard = _FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(wanted, hard), hard))
        self._port = port
        head = b"POST /infer HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/octet-stream\r\n"
        self._requests = [b"%scontent-length: %d\r\n\r\n%s" % (head, len(body), body) for body in bodies]
        self._idle: list[_Connection] = []
        self._selector = selectors.DefaultSelector()
        for _ in range(_FIRST_CONNECTIONS):
            self._idle.append(self._connect())
        self.start()

    def _post(self, request: Sent) -> None:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        connection = connection or self._connect()
        connection.request = request
        connection.unsent = memoryview(self._requests[request.item])
        self._flush(connection)
        if connection.unsent:
            self._selector.modify(connection.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, connection)

    def _connect(self) -> _Connection:
        try:
            connection = _Connection(self._port)
        except OSError as error:
            _leave(f"cannot connect to port {self._port}: {error}")
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        return connection

    def _flush(self, connection: _Connection) -> None:
        try:
            connection.unsent = connection.unsent[connection.socket.send(connection.unsent) :]
        except BlockingIOError:
            pass
        except OSError:  # the reader sees the end of the connection too
            connection.unsent = memoryview(b"")

    def _read(self) -> None:
        while True:
            for key, events in self._selector.select():
                connection: _Connection = key.data
                if events & selectors.EVENT_WRITE:
                    self._flush(connection)
                    if not connection.unsent:
                        self._selector.modify(connection.socket, selectors.EVENT_READ, connection)
                if events & selectors.EVENT_READ:
                    self._receive(connection)

    def _receive(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        done = monotonic_ns()
        if not data:
            self._lost(connection, done)
            return
        received = connection.received
        received += data
        if connection.length < 0:
            end = received.find(b"\r\n\r\n")
            found = _LENGTH.search(received, 0, end + 2) if end >= 0 else None
            if found is None:
                return
            connection.length = end + 4 + int(found[1])
        if len(received) >= connection.length:
            self._finish(connection, done)

    def _finish(self, connection: _Connection, done: int) -> None:
        """Read a complete response, and free its connection."""
        request, received = connection.request, connection.received
        connection.received, connection.length, connection.request = bytearray(), -1, None
        with self._lock:
            self._idle.append(connection)
        if request is None:
            _leave("the server sent a response without a request")
        head, _, body = bytes(received).partition(b"\r\n\r\n")
        if not head.startswith(_OK):
            self._completed(request, done, 0, 0, 0)
            return
        queue, compute, batch = (int(found[1]) if (found := name.search(head)) else 0 for name in _TIMES)
        took = done - request.sent
        if batch < 1 or queue + compute > took:
            _leave(f"a response after {took} ns has x-queue-ns {queue}, x-compute-ns {compute} and x-batch {batch}")
        self._count(request.item, body)
        self._completed(request, done, queue, compute, batch)

    def _lost(self, connection: _Connection, done: int) -> None:
        """Close a connection that the server has closed; its request has failed."""
        self._selector.unregister(connection.socket)
        connection.socket.close()
        with self._lock:
            if connection in self._idle:
                self._idle.remove(connection)
        if connection.request:
            self._completed(connection.request, done, 0, 0, 0)


def _leave(reason: str, code: int = RUNNER_AT_FAULT) -> NoReturn:
    """End the process: LoadGen would wait for responses for ever."""
    sys.stderr.write(f"{reason}\n")
    sys.stderr.flush()
    os._exit(code)
