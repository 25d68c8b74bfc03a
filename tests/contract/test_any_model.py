"""Every runner of ONNX Runtime runs any model as the workload `tensor`; ``any_models/make_models.py`` wrote them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from runners_under_test import IN_JAVASCRIPT, NATIVE, Document, Runner, execute

from machine import FULL

if TYPE_CHECKING:
    from runoff.records.protocol import WrittenTensor

MODELS = Path(__file__).parent / "any_models"
SOME = ("numbers", "scalar", "external-data", "two-inputs", "names-alike", "beside-a-sequence", "new-ir", "new-opset")
"""Models for the runners in JavaScript, whose runtimes name neither sequences nor optional inputs."""
NATIVE_HERE = NATIVE if FULL else NATIVE[:2]
"""ort-pyo3 calls the crate of ort-rust, so it is for ``nox -s thorough``."""
CASES: dict[str, Document] = json.loads((MODELS / "cases.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("runner", "name"),
    [
        *((runner, name) for runner in NATIVE_HERE for name in CASES),
        *((runner, name) for runner in IN_JAVASCRIPT for name in SOME),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_any_model(runner: Runner, name: str, tmp_path: Path) -> None:
    case = CASES[name]
    fails = case["fails"]
    outcome = execute(runner, request_of(case, tmp_path), tmp_path)
    if fails:
        kind, words = fails
        outcome.assert_failed(kind, {"bad-request": 2, "type-unsupported": 3}.get(kind, 1))
        assert words in (outcome.result.message or "")
        assert outcome.result.hint
        return
    assert outcome.exit_code == 0, outcome.stderr
    found = [_read(written) for written in outcome.result.outputs]
    assert found == [tensor for tensors in case["expected"] for tensor in tensors]
    firsts = range(0, len(case["items"]), case["batch"])
    items = [tuple(range(len(case["items"])))[first : first + case["batch"]] for first in firsts]
    owners = [own for own, tensors in zip(items, case["expected"], strict=True) for _ in tensors]
    assert [written.items for written in outcome.result.outputs] == owners


@pytest.mark.parametrize("runner", NATIVE_HERE, ids=lambda runner: runner.name)
@pytest.mark.parametrize(
    ("name", "content"),
    [("numbers", b"\0\1\2"), ("strings", b"\2\0\0\0a"), ("strings", b"\1\0\0\0\xff\0\0\0\0"), ("strings", b"\0\0\0\0")],
    ids=["bool", "half", "not-utf-8", "too-few"],
)
def test_damaged_tensors(name: str, content: bytes, runner: Runner, tmp_path: Path) -> None:
    request = request_of(CASES[name], tmp_path)
    file = next(iter(request["inputs"][0]["tensors"].values()))
    Path(file["path"]).write_bytes(content)
    outcome = execute(runner, request, tmp_path)
    outcome.assert_failed("tensor-unreadable", 1)
    assert file["path"] in (outcome.result.message or "")


def request_of(case: Document, folder: Path) -> Document:
    """Return the request for all items of a case, with its files in the folder's ``out``."""
    (folder / "out").mkdir()
    items = []
    for number, tensors in enumerate(case["items"]):
        files = {}
        for place, tensor in enumerate(tensors):
            path = folder / "out" / f"{number}.{place}.in"
            path.write_bytes(bytes.fromhex(tensor["bytes"]))
            files[tensor["name"]] = {"path": str(path), "dtype": tensor["dtype"], "shape": tensor["shape"]}
        items.append({"tensors": files})
    model = {"name": case["model"], "path": str(MODELS / f"{case['model']}.onnx"), "format": "onnx", "sha256": "0" * 64}
    return {
        "case": "any",
        "workload": "tensor",
        "model": {**model, "inputs": case["inputs"], "outputs": case["outputs"]},
        "inputs": items,
        "settings": {"batch": case["batch"]},
        "measure": {"kind": "accuracy"},
        "outputs_dir": str(folder / "out"),
    }


def _read(written: WrittenTensor) -> Document:
    fields: Document = msgspec.to_builtins(written)
    tensor = {name: fields[name] for name in ("name", "dtype", "shape")}
    return {**tensor, "shape": list(written.shape), "bytes": Path(written.path).read_bytes().hex()}
