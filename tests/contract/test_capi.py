"""The runner on the bare C API follows the protocol on real models; other tests are in rust/runoff-capi/tests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest
from runners_under_test import Runner, execute, golden, launch, stored_tensors, validate
from test_any_model import CASES, request_of, test_any_model

from outputs import compare_outputs
from runoff.measure.parity import TOLERANCE, compare_inputs, worst
from runoff.records.protocol import Preprocess
from runoff.targets.onnxruntime import capi_rust

if TYPE_CHECKING:
    from pathlib import Path

CAPI = Runner("capi-rust", capi_rust, "onnx")
NO_NUMBERS = ("strings", "strings-batch", "label-encoder", "optional-left-out")
"""Cases with inputs or outputs that are not tensors of numbers, which other runners of ONNX Runtime take."""


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


@pytest.mark.parametrize("name", CASES)
def test_any_tensors(name: str, tmp_path: Path) -> None:
    (kind, _) = CASES[name]["fails"] or ("type-unsupported" if name in NO_NUMBERS else None, "")
    if kind is None:
        test_any_model(CAPI, name, tmp_path)
    else:
        outcome = execute(CAPI, request_of(CASES[name], tmp_path), tmp_path)
        outcome.assert_failed(kind, {"bad-request": 2, "type-unsupported": 3}.get(kind, 1))


def test_capabilities_are_of_the_schema() -> None:
    done = launch(CAPI, "--probe")
    assert done.returncode == 0
    validate(json.loads(done.stdout), "capabilities")
