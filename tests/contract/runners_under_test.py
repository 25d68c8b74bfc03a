"""Every runner, started as runoff starts it, and the golden requests."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import msgspec
import pytest

from machine import FULL, skip_because
from runoff import paths
from runoff.models.store import ModelStore
from runoff.records.protocol import Result, TensorFile
from runoff.targets.null import null_python, null_rust
from runoff.targets.onnxruntime import ort_pyo3, ort_python, ort_rust
from runoff.targets.openvino import openvino_python
from runoff.targets.rust_engines import openvino_rust, rten, tract_rust
from runoff.targets.torch import torch, torch_export
from runoff.targets.web import ort_node, ort_node_wasm, web_target
from runoff.targets.webnn import webnn_compute, webnn_ort
from runoff_tract import tract_python

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from runoff.plan.target import Target

Document = dict[str, Any]
PROTOCOL = paths.root() / "protocol"
MODEL = "efficientnet-lite0"
BUILDER = "runoff_runners.torch_builders:efficientnet_lite0"
GOLDEN = ("once-classify", "latency-tensor", "accuracy-classify")
TURNS = "turns-classify"
"""Golden too, but needs a writer on stdin."""
_NOT_PLAIN = re.compile("alpha|cmyk|rgba|frames.webp|turned..webp", re.IGNORECASE)
PHOTOS = ("china", "flower", "chelsea", "coffee", "rocket", "motorcycle")


class Runner(msgspec.Struct, frozen=True):
    """A runner under test."""

    name: str
    target: Callable[[], Target]
    format: str
    computes: bool = True
    names_inputs: bool = True
    """Whether the model file stores the names of its inputs."""
    overlaps: bool = True
    """Whether it has the setting `overlap`."""
    plain_images: bool = False
    """Whether it reads only images that a canvas of a browser keeps as they are."""
    is_process: bool = True
    """Whether it is one process, which can report its own peak memory at no cost."""
    most_threads: int | None = None
    """Number of threads that it can use, if that is limited."""
    forks: bool = True
    """Whether a process that has imported PyTorch may fork it, which saves seconds."""

    def reads_image(self, name: str) -> bool:
        """Return whether it reads the image that a test calls `name`."""
        known = name.endswith((".jpg", ".png", ".webp")) and not _NOT_PLAIN.search(name)
        return known or not self.plain_images

    def make(self) -> Target:
        """Return the target; a missing environment skips the test."""
        target = self.target()
        if target.missing is not None:
            skip_because(f"{self.name}: {target.missing.message}; {target.missing.hint}")
        return target


IN_RUST = tuple(
    runner
    for runner in (
        Runner("openvino-rust", openvino_rust, "onnx"),
        Runner("tract-rust", tract_rust, "onnx"),
        Runner("rten", rten, "onnx"),
    )
    if FULL or runner.target().missing is None
)
"""The programs of ``nox -s engines``: if they are not built, only ``nox -s thorough`` needs them."""
RUNNERS = (
    Runner("null-python", null_python, "onnx", computes=False),
    Runner("null-rust", null_rust, "onnx", computes=False),
    Runner("torch", torch, "pt", names_inputs=False),
    Runner("torch-export", torch_export, "pt2", names_inputs=False),
    Runner("ort-python", ort_python, "onnx"),
    Runner("ort-rust", ort_rust, "onnx"),
    Runner("ort-pyo3", ort_pyo3, "onnx"),
    Runner("openvino-python", openvino_python, "onnx"),
    Runner("tract-python", tract_python, "onnx", most_threads=1),
    *IN_RUST,
    Runner("webnn-compute", webnn_compute, "onnx"),
    Runner("webnn-ort", webnn_ort, "onnx"),
    Runner(
        "ort-web-wasm",
        partial(web_target, "ort-web-wasm"),
        "onnx",
        overlaps=False,
        plain_images=True,
        is_process=False,
    ),
    Runner("ort-node-wasm", ort_node_wasm, "onnx", overlaps=False, plain_images=True),
    Runner("ort-node", ort_node, "onnx", overlaps=False, plain_images=True),
)
COMPUTING = tuple(runner for runner in RUNNERS if runner.computes)
NATIVE = tuple(runner for runner in RUNNERS if runner.name in ("ort-python", "ort-rust", "ort-pyo3"))
"""ONNX Runtime without JavaScript."""
IN_JAVASCRIPT = tuple(runner for runner in RUNNERS if runner.name in ("ort-node-wasm", "ort-node"))
"""ONNX Runtime in Node.js: WebAssembly, and a native library."""
READ_PREPARED = (*NATIVE, IN_JAVASCRIPT[-1])
"""Runners that map a prepared model."""
PROGRAMS = tuple(runner for runner in RUNNERS if runner.name not in ("torch-export", "webnn-ort"))
"""One runner per program: torch-export is torch's with a different format, and slow to start; webnn-ort converts as
webnn-compute does, and computes as ort-python does."""
IMPLEMENTATIONS = tuple(runner for runner in RUNNERS if runner.name in ("ort-python", "ort-rust", "ort-node-wasm"))
"""Three implementations read requests and items: the Python programs share a module, the Rust programs a crate, the
targets in the browser and in Node.js a program in JavaScript."""
ENGINES = tuple(
    runner
    for runner in RUNNERS
    if runner.name
    in (
        "torch",
        "ort-python",
        "ort-rust",
        "openvino-python",
        "tract-python",
        *(runner.name for runner in IN_RUST),
        "webnn-compute",
        "ort-node-wasm",
        "ort-node",
    )
)
"""Each implementation that loads and runs models: ort-pyo3 calls the crate of ort-rust."""


class Outcome(msgspec.Struct, frozen=True):
    """The outcome of a request."""

    exit_code: int
    stderr: str
    document: Document
    """The result as JSON."""
    result: Result
    spawn_ns: int
    reaped_ns: int

    def assert_failed(self, kind: str, exit_code: int) -> None:
        """Assert that the runner failed as the protocol requires, with a readable message."""
        assert (self.result.kind, self.exit_code) == (kind, exit_code), self.stderr
        assert self.result.status == ("unsupported" if exit_code == 3 else "error")
        assert self.result.message
        assert "\n" not in self.result.message
        assert "Traceback" not in self.stderr


def one_of(runners: Sequence[Runner]) -> object:
    """Return a fixture that is each of `runners` in turn."""

    def chosen(request: pytest.FixtureRequest) -> Runner:
        found: Runner = request.param
        return found

    return pytest.fixture(chosen, params=runners, ids=[runner.name for runner in runners])


def launch(runner: Runner, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Start the runner with `arguments` and wait for its end."""
    target = runner.make()
    command = [*target.command, *arguments]
    env = {**target.environment(), "ORT_DISABLE_TELEMETRY": "1", **variables}
    if runner.forks and command[:2] == [torch().command[0], "-P"]:
        return _forked(command, env)
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


def _forked(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a Python program on PyTorch by ``torch_server.py``."""
    server = _torch_server()
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        files = {name: str(Path(folder) / name) for name in ("out", "err")}
        print(json.dumps({"argv": command[2:], "env": env, **files}), file=server.stdin, flush=True)
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess(command, code, *(Path(file).read_text() for file in files.values()))


@cache
def _torch_server() -> subprocess.Popen[str]:
    """Return a process that has imported PyTorch; it ends with this one."""
    target = torch()
    command = [*target.command[:2], str(Path(__file__).with_name("torch_server.py"))]
    env = {**target.environment(), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def execute(runner: Runner, request: Document | str, folder: Path) -> Outcome:
    """Execute `request` (text is written verbatim) with its files in `folder`; run the common checks."""
    spawn_ns = time.monotonic_ns()
    if isinstance(request, dict):
        settings = request.get("settings")
        if runner.name.startswith("torch") and isinstance(settings, dict):
            # PyTorch takes a second to end
            request = {**request, "settings": {"teardown": "skip", **settings}}
        request = json.dumps({**request, "spawn_ns": spawn_ns})
    (folder / "request.json").write_text(request, encoding="utf-8")
    path = folder / "result.json"
    process = launch(runner, "--request", str(folder / "request.json"), "--result", str(path))
    reaped_ns = time.monotonic_ns()
    assert process.stdout == ""
    assert path.exists(), f"no result; exit code {process.returncode}; {process.stderr}"
    assert {entry.name for entry in folder.iterdir()} <= {"request.json", "result.json", "out"}
    document = json.loads(path.read_bytes())
    validate(document, "result")
    result = msgspec.json.decode(path.read_bytes(), type=Result)
    return Outcome(process.returncode, process.stderr, document, result, spawn_ns, reaped_ns)


def validate(document: Document, name: str) -> None:
    """Check `document` against the JSON Schema of the message `name`."""
    jsonschema.validate(document, json.loads((PROTOCOL / f"{name}.schema.json").read_bytes()))


def golden(name: str, runner: Runner, models: Path, folder: Path) -> Document:
    """Return the golden request `name`, filled in for the runner; tensors go to the folder's ``out``."""
    (folder / "out").mkdir(exist_ok=True)
    text = (PROTOCOL / "golden" / f"{name}.request.json").read_text(encoding="utf-8")
    values = {"models": models, "format": runner.format, "builder": BUILDER, "out": folder / "out"}
    for key, value in values.items():
        text = text.replace(f"{{{key}}}", str(value))
    document: Document = json.loads(text)
    return document


def tensor_request(runner: Runner, models: Path, folder: Path, *names: str) -> Document:
    """Return a request for one inference on each of the photos' stored tensors."""
    request = golden("latency-tensor", runner, models, folder)
    tensor = request["inputs"][0]["tensors"]["input"]
    stored = [str(models / MODEL / f"{name}.tensor.bin") for name in names]
    request["inputs"] = [{"tensors": {"input": {**tensor, "path": path}}} for path in stored]
    return {**request, "settings": {"threads": 1}, "measure": {"kind": "accuracy"}}


def stored_tensors(kind: str, models: Path, names: Iterable[str]) -> list[dict[str, TensorFile]]:
    """Return the `inputs`, or the `references`, of the photos called `names`, each by name of the tensor."""
    model = ModelStore(models).get(MODEL)
    places = {example.name: place for place, example in enumerate(model.manifest.examples)}
    return [getattr(model, kind)(places[name]) for name in names]
