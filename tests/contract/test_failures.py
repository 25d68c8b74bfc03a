"""Every runner fails as the protocol requires: kind, exit code and a readable message."""

from __future__ import annotations

import json
import struct
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from runners_under_test import ENGINES, MODEL, Document, Runner, execute, golden, launch, tensor_request

from runoff.records.protocol import Capabilities
from runoff.targets.base import runner_in
from runoff.targets.null import null_python

if TYPE_CHECKING:
    from collections.abc import Callable

    from runoff.plan.target import Target

BAD_REQUESTS: dict[str, Callable[[Document], object]] = {
    "version": lambda request: request.update(protocol=2),
    "unknown field": lambda request: request.update(colour="blue"),
    "unknown field of the settings": lambda request: request["settings"].update(colour="blue"),
    "unknown field of an item": lambda request: request["inputs"][0].update(colour="blue"),
    "unknown measure": lambda request: request.update(measure={"kind": "guess"}),
    "field of another measure": lambda request: request.update(measure={"kind": "once", "warmup": 1}),
    "missing field": lambda request: request.pop("outputs_dir"),
    "missing field of the model": lambda request: request["model"].pop("path"),
    "text for a number": lambda request: request["settings"].update(threads="two"),
    "no threads": lambda request: request["settings"].update(threads=0),
    "true for a number": lambda request: request["settings"].update(batch=True),
    "unknown optimisation": lambda request: request["settings"].update(optimization="most"),
    "no items": lambda request: request.update(inputs=[]),
    "tensors for images": lambda request: request.update(workload="tensor"),
    "no preprocessing": lambda request: request.update(preprocess=None),
}
NOT_REQUESTS = {"empty": "", "half": '{"protocol": 1, "case"', "list": "[]", "number": "1"}


@pytest.mark.parametrize("mistake", BAD_REQUESTS)
def test_bad_request(mistake: str, implementation: Runner, models: Path, tmp_path: Path) -> None:
    request = golden("once-classify", implementation, models, tmp_path)
    BAD_REQUESTS[mistake](request)
    outcome = execute(implementation, request, tmp_path)
    outcome.assert_failed("bad-request", 2)
    assert outcome.result.case in (request["case"], "")


@pytest.mark.parametrize("content", NOT_REQUESTS)
def test_not_a_request(content: str, implementation: Runner, tmp_path: Path) -> None:
    execute(implementation, NOT_REQUESTS[content], tmp_path).assert_failed("bad-request", 2)


def test_request_missing(program: Runner, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    process = launch(program, "--request", str(tmp_path / "nothing.json"), "--result", str(result))
    assert process.returncode == 2
    document = json.loads(result.read_bytes())
    assert document["kind"] == "bad-request"
    assert "nothing.json" in document["message"]


def test_every_program_refuses_a_bad_request(program: Runner, models: Path, tmp_path: Path) -> None:
    """Check each program; the other tests in this file check each implementation."""
    request = golden("once-classify", program, models, tmp_path)
    BAD_REQUESTS["no threads"](request)
    execute(program, request, tmp_path).assert_failed("bad-request", 2)


@pytest.mark.parametrize("arguments", [("--request", "a"), ("--help-me",)])
def test_wrong_arguments(arguments: tuple[str, ...], program: Runner) -> None:
    process = launch(program, *arguments)
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr
    assert "Traceback" not in process.stderr


def test_result_cannot_be_written(implementation: Runner, models: Path, tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    request.write_text(json.dumps(golden("once-classify", implementation, models, tmp_path)), encoding="utf-8")
    result = str(tmp_path / "nowhere" / "result.json")
    process = launch(implementation, "--request", str(request), "--result", result)
    assert process.returncode in (1, 2)
    assert result in process.stderr
    assert "Traceback" not in process.stderr


def test_model_missing(engine: Runner, models: Path, tmp_path: Path) -> None:
    request = golden("once-classify", engine, models, tmp_path)
    request["model"]["path"] = str(tmp_path / f"nothing.{engine.format}")
    outcome = execute(engine, request, tmp_path)
    outcome.assert_failed("model-missing", 1)
    assert f"nothing.{engine.format}" in (outcome.result.message or "")


@pytest.mark.parametrize(
    ("engine", "damage"),
    [
        (engine, damage)
        for engine in ENGINES
        for damage in ("half", "empty", "text")
        # torch reports whatever its reader raises
        if engine.name != "torch" or damage == "half"
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_model_unreadable(engine: Runner, damage: str, models: Path, tmp_path: Path) -> None:
    request = golden("once-classify", engine, models, tmp_path)
    whole = Path(request["model"]["path"]).read_bytes()
    content = {"empty": b"", "half": whole[: len(whole) // 2], "text": b"this is not a model\n" * 100}
    broken = tmp_path / "out" / f"broken.{engine.format}"
    broken.write_bytes(content[damage])
    request["model"]["path"] = str(broken)
    execute(engine, request, tmp_path).assert_failed("model-unreadable", 1)


def test_item_names_another_input(implementation: Runner, models: Path, tmp_path: Path) -> None:
    request = tensor_request(implementation, models, tmp_path, "china")
    tensors = request["inputs"][0]["tensors"]
    tensors["pixels"] = tensors.pop("input")
    execute(implementation, request, tmp_path).assert_failed("model-mismatch", 1)


def test_item_has_another_shape(implementation: Runner, models: Path, tmp_path: Path) -> None:
    request = tensor_request(implementation, models, tmp_path, "china")
    request["inputs"][0]["tensors"]["input"]["shape"] = [1, 3, 448, 112]
    execute(implementation, request, tmp_path).assert_failed("model-mismatch", 1)


def test_model_has_other_names(engine: Runner, models: Path, tmp_path: Path) -> None:
    """A file with input names is checked; a file without them takes inputs in order."""
    request = tensor_request(engine, models, tmp_path, "china")
    tensors = request["inputs"][0]["tensors"]
    tensors["pixels"] = tensors.pop("input")
    request["model"]["inputs"][0]["name"] = "pixels"
    outcome = execute(engine, request, tmp_path)
    if engine.names_inputs:
        outcome.assert_failed("model-mismatch", 1)
    else:
        assert outcome.exit_code == 0


@pytest.mark.parametrize("damage", ["missing", "short"])
def test_tensor_unreadable(damage: str, implementation: Runner, models: Path, tmp_path: Path) -> None:
    request = tensor_request(implementation, models, tmp_path, "china")
    path = tmp_path / "out" / "broken.bin"
    if damage == "short":
        path.write_bytes(b"\0" * 100)
    request["inputs"][0]["tensors"]["input"]["path"] = str(path)
    outcome = execute(implementation, request, tmp_path)
    outcome.assert_failed("tensor-unreadable", 1)
    assert "broken.bin" in (outcome.result.message or "")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("missing", "image-missing"),
        ("text", "image-unreadable"),
        ("half", "image-unreadable"),
        ("bomb", "image-too-large"),
    ],
)
def test_image(name: str, kind: str, implementation: Runner, models: Path, tmp_path: Path) -> None:
    request = golden("once-classify", implementation, models, tmp_path)
    path = tmp_path / "out" / (f"{name}.png" if name == "bomb" else f"{name}.jpg")
    whole = (models / MODEL / "china.jpg").read_bytes()
    content = {
        "text": b"no picture\n" * 50,
        "half": whole[: len(whole) // 2],
        "bomb": _png_header(14_000, 13_000),
    }
    if name in content:
        path.write_bytes(content[name])
    request["inputs"] = [{"image": str(path)}]
    outcome = execute(implementation, request, tmp_path)
    outcome.assert_failed(kind, 1)
    assert path.name in (outcome.result.message or "")


def test_unknown_provider(engine: Runner, models: Path, tmp_path: Path) -> None:
    request = golden("once-classify", engine, models, tmp_path)
    request["settings"]["provider"] = "abacus"
    outcome = execute(engine, request, tmp_path)
    outcome.assert_failed("provider-unavailable", 3)
    assert "abacus" in (outcome.result.message or "")


def test_unknown_precision(implementation: Runner, models: Path, tmp_path: Path) -> None:
    request = golden("once-classify", implementation, models, tmp_path)
    request["settings"]["precision"] = "fp4"
    outcome = execute(implementation, request, tmp_path)
    outcome.assert_failed("provider-unavailable", 3)
    assert "fp4" in (outcome.result.message or "")


@pytest.mark.parametrize("provider", ["cuda", "coreml", "azure"])
def test_provider_never_falls_back(provider: str, implementation: Runner, models: Path, tmp_path: Path) -> None:
    """Check ONNX Runtime, which knows these names; to PyTorch all but ``cuda`` are unknown, see `test_cuda`."""
    request = golden("once-classify", implementation, models, tmp_path)
    request["settings"]["provider"] = provider
    outcome = execute(implementation, request, tmp_path)
    if outcome.exit_code == 0:
        assert outcome.result.effective is not None
        assert outcome.result.effective.provider == provider
    else:
        outcome.assert_failed("provider-unavailable", 3)


def test_disk_full(implementation: Runner, models: Path, tmp_path: Path) -> None:
    """``/dev/full`` behaves as a file on a full disk."""
    request = golden("once-classify", implementation, models, tmp_path)
    (tmp_path / "out" / "logits.0.bin").symlink_to("/dev/full")
    execute(implementation, request, tmp_path).assert_failed("no-space", 1)


@pytest.mark.parametrize("name", ["torch", "ort-python", "ort-pyo3", "openvino"])
def test_runtime_missing(name: str, models: Path, tmp_path: Path) -> None:
    """On an interpreter without any library the runner prints a hint."""
    model_format = "pt" if name == "torch" else "onnx"

    def bare() -> Target:
        target = runner_in(sys.executable, name, name)
        command = (target.command[0], "-S", *target.command[1:])
        return msgspec.structs.replace(target, command=command)

    runner = Runner(name, bare, model_format)
    outcome = execute(runner, golden("once-classify", runner, models, tmp_path), tmp_path)
    outcome.assert_failed("runtime-missing", 3)
    assert f"nox -s {name}" in (outcome.result.hint or "")
    probe = launch(runner, "--probe")
    assert probe.returncode == 3
    capabilities = msgspec.json.decode(probe.stdout, type=Capabilities)
    assert capabilities.unavailable is not None
    assert capabilities.unavailable.kind == "runtime-missing"


def _png_header(width: int, height: int) -> bytes:
    """Return the header of a picture of `width` x `height` pixels, which is enough to refuse it."""
    chunks = b""
    data = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    )
    for kind, content in data:
        check = struct.pack(">I", zlib.crc32(kind + content))
        chunks += struct.pack(">I", len(content)) + kind + content + check
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD is Linux's")
@pytest.mark.parametrize("library", ["libno-such.so.1", "libm.so.6"])
def test_a_library_that_was_not_preloaded_is_missing(library: str, models: Path, tmp_path: Path) -> None:
    target = null_python()
    preloading = msgspec.structs.replace(target, env={**target.env, "LD_PRELOAD": library})
    runner = Runner("null-python", lambda: preloading, "onnx", computes=False)
    outcome = execute(runner, golden("once-classify", runner, models, tmp_path), tmp_path)
    capabilities = msgspec.json.decode(launch(runner, "--probe").stdout, type=Capabilities)
    if "no-such" in library:
        outcome.assert_failed("runtime-missing", 3)
        assert outcome.result.message == f"LD_PRELOAD: {library} was not loaded"
        assert capabilities.unavailable is not None
        assert capabilities.unavailable.kind == "runtime-missing"
    else:
        assert (outcome.result.status, capabilities.unavailable) == ("ok", None)
