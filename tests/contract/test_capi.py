"""The runner on the bare C API follows the protocol on a real model; other tests are in rust/runoff-capi/tests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
from runners_under_test import Runner, execute, golden, launch, stored_tensors, validate

from runoff.measure.parity import TOLERANCE, compare_inputs, compare_outputs, worst
from runoff.records.protocol import Preprocess
from runoff.targets.onnxruntime import capi_rust

if TYPE_CHECKING:
    from pathlib import Path

CAPI = Runner("capi-rust", capi_rust, "onnx")


def test_outputs_and_inputs_equal_the_reference(models: Path, tmp_path: Path) -> None:
    request = golden("accuracy-classify", CAPI, models, tmp_path)
    outcome = execute(CAPI, {**request, "settings": {"batch": 1}}, tmp_path)
    assert outcome.exit_code == 0, outcome.stderr
    names = [item["image"].rpartition("/")[2].removesuffix(".jpg") for item in request["inputs"]]
    references, tensors = (stored_tensors(kind, models, names) for kind in ("references", "inputs"))
    rows = compare_outputs(outcome.result.outputs, references)
    assert [row["item"] for row in rows] == list(range(len(names)))
    assert worst(rows) <= TOLERANCE["classify"]
    assert all(row["top1_agrees"] for row in rows)
    spec = msgspec.convert(request["preprocess"], Preprocess)
    differences = compare_inputs(outcome.result.tensors, tensors, spec)
    assert max(found["input_mean_diff"] for found in differences.values()) < 1


def test_capabilities_are_of_the_schema() -> None:
    done = launch(CAPI, "--probe")
    assert done.returncode == 0
    validate(json.loads(done.stdout), "capabilities")
