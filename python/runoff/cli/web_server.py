"""The server of ``runoff web serve``: a fixed list of files, on the loopback interface only."""

from __future__ import annotations

import errno
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click
import msgspec

from runoff import __version__, paths
from runoff.environments import ensure_environments
from runoff.measure.parity import tolerance
from runoff.models.prepare import ensure_models
from runoff.processes import workspace
from runoff.records.errors import ExitCode, RunoffError
from runoff.records.manifest import usual_examples
from runoff.report.page.style import style_sheet
from runoff.statistics import fewest_samples
from runoff.targets.web import TOLERANCE, ort_node_wasm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runoff.models.store import StoredModel
    from runoff.records.manifest import StoredTensor

    Files = Mapping[str, Path | bytes]
    """By the path of an address: a file, or the content itself."""

_HOST = "127.0.0.1"
_NAMES = (_HOST, "localhost")
"""Another site whose name was pointed to this machine has a different one."""
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".jpg": "image/jpeg",
    ".png": "image/png",
}
_HEADERS = {
    # without these two the page has no threads and a coarse clock
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self' blob:; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:",
    # every cold start loads everything
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


def serve(name: str, port: int) -> None:
    """Serve the page for the model called `name` until Ctrl-C; port 0 is any free one.

    Raises
    ------
    RunoffError
        If the environment or the model cannot be made, or the port is not available.
    """
    say = partial(click.echo, err=True)
    ensure_environments(ort_node_wasm().environments, say)
    target = ort_node_wasm()
    if target.missing:
        raise RunoffError(target.missing.message, target.missing.hint, ExitCode.NOTHING_RUNS_HERE)
    with workspace() as (spawner, _):
        model = ensure_models([name], spawner, say)[name]
    with (
        PageServer(page_files(model, Path(target.env["RUNOFF_WEB_MODULES"])), port) as server,
        suppress(KeyboardInterrupt),
    ):
        click.echo(f"{model.manifest.name} in the browser: {server.address}   (Ctrl-C ends it)")
        server.serve_forever()


def page_files(model: StoredModel, modules: Path) -> Files:
    """Return everything that the page of `model` may load; `modules` has the npm packages.

    Raises
    ------
    RunoffError
        If the model has no ONNX file.
    """
    manifest, web = model.manifest, paths.web()
    examples = [manifest.examples[index] for index in usual_examples(manifest)]
    tensors = [tensor for one in examples for tensor in (*one.inputs.values(), *one.references.values())]
    stored = [*(example.image for example in examples if example.image), *tensors, *manifest.data]
    return {
        "/": web / "serve" / "index.html",
        **dict(_folder("/", web / "serve", "*.css", "*.mjs")),
        **dict(_folder("/page/", web / "page", "*.mjs")),
        "/runner/rows.mjs": web / "runner" / "rows.mjs",
        **dict(_folder("/ort/", modules / "onnxruntime-web" / "dist", "*.mjs", "*.wasm")),
        "/report.css": style_sheet().encode(),
        "/model.json": msgspec.json.encode(_description(model)),
        "/model/model.onnx": Path(model.model_file("onnx").path),
        **{_address(file.path): model.folder / file.path for file in stored},
    }


class PageServer(ThreadingHTTPServer):
    """A server of `files` and nothing else.

    Raises
    ------
    RunoffError
        If the port is not available.
    """

    def __init__(self, files: Files, port: int) -> None:
        self.files = files
        try:
            super().__init__((_HOST, port), _Handler)
        except OSError as error:
            reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
            hint = "choose another one, or a free one with --port 0"
            raise RunoffError(f"--port {port}: the port {reason}", hint) from error

    @property
    def address(self) -> str:
        """Address of the page."""
        return f"http://{_HOST}:{self.server_address[1]}/"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PageServer

    def do_GET(self) -> None:
        """Respond with the file at the requested address."""
        address = self.path.partition("?")[0]
        try:
            if self.headers.get("Host", "").partition(":")[0] not in _NAMES:
                self._send(HTTPStatus.FORBIDDEN, b"open the address that runoff web serve printed", ".txt")
                return
            found = self.server.files[address]
            body = found if isinstance(found, bytes) else found.read_bytes()
        except (KeyError, OSError):
            self._send(HTTPStatus.NOT_FOUND, b"not found", ".txt")
        else:
            self._send(HTTPStatus.OK, body, PurePath("index.html" if address == "/" else address).suffix)

    def _send(self, status: HTTPStatus, body: bytes, suffix: str) -> None:
        # the page may have left
        with suppress(ConnectionError):
            self.send_response(status)
            kind = {"Content-Type": _TYPES.get(suffix, "application/octet-stream"), "Content-Length": str(len(body))}
            for name, value in {**_HEADERS, **kind}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 (the base class's name)
        """Log nothing: the terminal has the address."""


def _description(model: StoredModel) -> dict[str, Any]:
    """Return what the page knows of `model`: its examples, labels, and how large a difference counts as the same."""
    manifest = model.manifest
    workload = "classify" if manifest.preprocess else "tensor"
    labels = (model.folder / manifest.labels.path).read_text(encoding="utf-8").splitlines() if manifest.labels else []
    return {
        "runoff": __version__,
        "name": manifest.name,
        "preprocess": manifest.preprocess,
        "labels": labels,
        "examples": [
            {
                "name": example.name,
                "image": _address(example.image.path) if example.image else None,
                "tensors": _tensors(example.inputs),
                "references": _tensors(example.references),
            }
            for example in (manifest.examples[index] for index in usual_examples(manifest))
        ],
        "tolerance": {
            "provider": max(TOLERANCE, manifest.tolerance or 0),
            "reference": tolerance(workload, "fp32", manifest.tolerance),
        },
        "fewest_for_p90": fewest_samples(0.9),
    }


def _tensors(stored: Mapping[str, StoredTensor]) -> dict[str, dict[str, object]]:
    """Return tensors as the page reads them: the path of each is an address."""
    return {
        name: {"path": _address(tensor.path), "dtype": tensor.dtype, "shape": tensor.shape}
        for name, tensor in stored.items()
    }


def _address(path: str) -> str:
    return f"/model/{quote(path)}"


def _folder(prefix: str, folder: Path, *patterns: str) -> Iterator[tuple[str, Path]]:
    for pattern in patterns:
        yield from ((prefix + path.name, path) for path in folder.glob(pattern))
