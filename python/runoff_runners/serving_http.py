"""The HTTP server of the measure `load`: FastAPI on uvicorn, with uvloop and httptools, as they document it.

They are in an environment that only this needs: the footprint of other measures is without it.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from threading import Thread
from time import monotonic_ns

import numpy as np

from runoff_runners.protocol import RunnerError
from runoff_runners.serving import Waiting
from runoff_runners.topk import best_classes, read_labels

# last, so NumPy is the runner's own
sys.path.append(os.environ.get("RUNOFF_FASTAPI", ""))
try:
    import uvicorn
    from fastapi import FastAPI, Request, Response
    from fastapi.responses import PlainTextResponse
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect
except ImportError as error:
    raise RunnerError(
        "runtime-missing",
        f"serving over HTTP needs FastAPI: {error}",
        "make the environment: nox -s fastapi, or runoff setup fastapi",
    ) from error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runoff_runners import interfaces
    from runoff_runners.interfaces import Feed
    from runoff_runners.serving import Queue

LARGEST_BODY = 16 * 2**20
BODY_S = 10.0
"""A body that takes longer is not waited for."""
_ENDING_S = 30
_BACKLOG = 2048
_KEEP_ALIVE_S = 3600
_HINTS = {404: "POST an item to /infer; GET /health or /metrics", 405: "/infer takes POST, /health and /metrics GET"}


class _RefusedError(Exception):
    """A request that is not computed."""

    def __init__(self, status: int, message: str, hint: str) -> None:
        super().__init__(message)
        self.status = status
        self.hint = hint


class _Metrics:
    """What ``/metrics`` reports."""

    def __init__(self, queue: Queue) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("runoff_requests", "Requests by status.", ["status"], registry=self.registry)
        self.latency = Histogram(
            "runoff_latency_seconds",
            "From the complete body to the outputs.",
            buckets=[2.0**power / 1024 for power in range(14)],
            registry=self.registry,
        )
        sizes = [2.0**power for power in range(8)]
        self.batch = Histogram("runoff_batch_size", "Requests in a batch.", buckets=sizes, registry=self.registry)
        Gauge("runoff_queue_length", "Waiting requests.", registry=self.registry).set_function(lambda: len(queue))


class _Service:
    """The endpoints of a server of one model."""

    def __init__(
        self,
        request: interfaces.Request,
        queue: Queue,
        sample: Any,  # noqa: ANN401 (bytes or a feed)
        is_ending: Callable[[], bool],
    ) -> None:
        self._queue = queue
        self._metrics = _Metrics(queue)
        self._is_ending = is_ending
        self._sample = sample
        self._top_k, self._labels = request["top_k"], read_labels(request["labels"])
        self._outputs = [spec["name"] for spec in request["model"]["outputs"]]

    def app(self) -> FastAPI:
        """Return the application."""
        app = FastAPI(openapi_url=None)
        app.add_api_route("/infer", self.infer, methods=["POST"], response_class=Response)
        app.add_api_route("/health", self.health, methods=["GET"], response_class=PlainTextResponse)
        app.add_api_route("/metrics", self.metrics, methods=["GET"], response_class=PlainTextResponse)
        app.add_exception_handler(HTTPException, self._other)
        return app

    async def infer(self, request: Request) -> Response:
        """Compute an item."""
        try:
            done = await self._computed(self._source(await self._body(request)))
            content, kind = self._content(done.outputs)
        except _RefusedError as refused:
            return self._failed(refused.status, str(refused), refused.hint)
        except RunnerError as error:
            return self._failed(400 if error.kind.startswith("image-") else 500, error.message, error.hint)
        self._metrics.requests.labels("200").inc()
        self._metrics.latency.observe((done.end - done.arrived) / 1e9)
        self._metrics.batch.observe(done.count)
        headers = {
            "x-queue-ns": str(done.start - done.arrived),
            "x-compute-ns": str(done.end - done.start),
            "x-batch": str(done.count),
        }
        return Response(content, media_type=kind, headers=headers)

    async def health(self) -> Response:
        """Report whether requests are taken."""
        return PlainTextResponse("ending", 503) if self._is_ending() else PlainTextResponse("ok")

    async def metrics(self) -> Response:
        """Return the metrics of this server in the text format of Prometheus."""
        return Response(generate_latest(self._metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def _body(self, request: Request) -> bytes:
        too_large = _RefusedError(413, f"the body is longer than {LARGEST_BODY:,} bytes", "send a smaller image")
        if int(request.headers.get("content-length", 0)) > LARGEST_BODY:
            raise too_large
        chunks, length = [], 0
        try:
            async with asyncio.timeout(BODY_S):
                async for chunk in request.stream():
                    length += len(chunk)
                    if length > LARGEST_BODY:
                        raise too_large
                    chunks.append(chunk)
        except TimeoutError:
            raise _RefusedError(408, f"the body was not complete after {BODY_S:.0f} s", "send it at once") from None
        except ClientDisconnect:
            raise _RefusedError(400, "the body is not complete", "send all of it") from None
        # the last chunk is usually empty, and the only other one is not copied
        return b"".join(filter(None, chunks))

    def _source(self, body: bytes) -> bytes | Feed:
        """Return what the queue takes: for `tensor`, the arrays in the body."""
        if isinstance(self._sample, bytes):
            return body
        arrays, place = {}, 0
        if len(body) != sum(array.nbytes for array in self._sample.values()):
            expected = ", ".join(f"{name} {array.dtype} {[*array.shape]}" for name, array in self._sample.items())
            message = f"the body has {len(body)} bytes, which are not {expected}"
            raise _RefusedError(400, message, "send the inputs one after the other")
        for name, array in self._sample.items():
            arrays[name] = np.frombuffer(body, array.dtype, array.size, place).reshape(array.shape)
            if array.dtype == bool and arrays[name].view(np.uint8).max(initial=0) > 1:
                raise _RefusedError(400, f"the input {name!r} has bytes above 1", "a bool is 0 or 1")
            place += array.nbytes
        return arrays

    async def _computed(self, source: bytes | Feed) -> Waiting:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Waiting] = loop.create_future()

        def settle(request: Waiting) -> None:
            if not future.done():  # the client may be gone
                future.set_result(request)

        def done(request: Waiting) -> None:
            loop.call_soon_threadsafe(settle, request)

        waiting = Waiting(source, monotonic_ns(), done)
        if self._is_ending() or not self._queue.put(waiting):
            raise _RefusedError(503, "the queue is full, or the server is shutting down", "try again later")
        computed = await future
        if computed.error is not None:
            raise computed.error
        return computed

    def _content(self, outputs: Feed) -> tuple[bytes, str]:
        if isinstance(self._sample, bytes):
            top = best_classes(next(iter(outputs.values())), self._top_k, self._labels)
            return json.dumps({"top": top}).encode(), "application/json"
        order = self._outputs or list(outputs)
        return b"".join(np.ascontiguousarray(outputs[name]).data for name in order), "application/octet-stream"

    def _failed(self, status: int, message: str, hint: str) -> Response:
        self._metrics.requests.labels(str(status)).inc()
        headers = {"retry-after": "1"} if status == 503 else {}  # noqa: PLR2004 (service unavailable)
        content = json.dumps({"error": message, "hint": hint})
        return Response(content, status, headers, media_type="application/json")

    async def _other(self, _: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 (for the type checker)
        return self._failed(error.status_code, str(error.detail), _HINTS.get(error.status_code, ""))


class _Uvicorn(uvicorn.Server):  # type: ignore[misc]
    """Tells when it listens."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if sockets:
            os.write(1, f"ready {sockets[0].getsockname()[1]}\n".encode())


def serve(request: interfaces.Request, queue: Queue, sample: Any) -> None:  # noqa: ANN401 (bytes or a feed)
    """Serve `queue` over HTTP until stdin ends. `sample` is an item, for the dtypes and shapes of the others."""
    service = _Service(request, queue, sample, lambda: server.should_exit)
    config = uvicorn.Config(
        service.app(),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        ws="none",
        log_level="warning",
        access_log=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_ENDING_S,
    )
    server = _Uvicorn(config)

    def wait() -> None:
        while os.read(0, 4096):
            pass
        server.should_exit = True

    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", 0))
        Thread(target=wait, daemon=True).start()
        server.run([listening])
    queue.close()
