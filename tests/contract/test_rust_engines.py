"""The engines in Rust: the checks of a request, names and types, and threads."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from runners_under_test import IN_RUST, RUNNERS, Document, Runner, execute, tensor_request
from test_any_model import CASES, request_of

if TYPE_CHECKING:
    from collections.abc import Callable

ORT = next(runner for runner in RUNNERS if runner.name == "ort-rust")
KINDS = {
    # by case, those of OpenVINO, tract and RTen
    "bfloat16": ("type-unsupported", "type-unsupported", "type-unsupported"),
    "float8": ("type-unsupported", "type-unsupported", "type-unsupported"),
    "numbers": (None, None, "type-unsupported"),
    "custom-domain": ("model-unsupported", "model-unsupported", "model-unsupported"),
}
MISTAKES: dict[str, tuple[Callable[[Document], object], str]] = {
    "dtype": (
        lambda tensors: tensors["mask"].update(dtype="float64"),
        "inputs[1].tensors.mask: is float64; the model takes float32",
    ),
    "rank": (
        lambda tensors: tensors["mask"].update(shape=[5]),
        "inputs[1].tensors.mask: has shape [5]; the model takes [1, ?]",
    ),
    "missing": (lambda tensors: tensors.pop("mask"), "inputs[1].tensors.mask: is missing"),
}


def each(*names: str) -> pytest.MarkDecorator:
    """Return the mark of a test that runs on the engines called `names`, or on all, if they are built."""
    runners = [runner for runner in IN_RUST if not names or runner.name in names]
    return pytest.mark.parametrize("runner", runners, ids=lambda runner: runner.name)


@each()
@pytest.mark.parametrize("mistake", MISTAKES)
def test_items_are_checked_before_the_model_is_loaded(mistake: str, runner: Runner, tmp_path: Path) -> None:
    request = request_of(CASES["two-inputs"], tmp_path)
    change, message = MISTAKES[mistake]
    change(request["inputs"][1]["tensors"])
    outcome = execute(runner, request, tmp_path)
    outcome.assert_failed("model-mismatch", 1)
    assert outcome.result.message == message


@pytest.mark.parametrize("runner", [ORT, *IN_RUST], ids=lambda runner: runner.name)
def test_the_dtypes_of_joined_items_are_those_of_the_model(runner: Runner, tmp_path: Path) -> None:
    request = request_of(CASES["batch"], tmp_path)
    request["inputs"][1]["tensors"]["x"].update(dtype="float64")
    outcome = execute(runner, request, tmp_path)
    outcome.assert_failed("model-mismatch", 1)
    assert outcome.result.message == "inputs[1].tensors.x: is float64; the model takes float32"


@each()
@pytest.mark.parametrize("case", KINDS)
def test_what_an_engine_lacks_is_named(case: str, runner: Runner, tmp_path: Path) -> None:
    kind = KINDS[case][("openvino-rust", "tract-rust", "rten").index(runner.name)]
    outcome = execute(runner, request_of(CASES[case], tmp_path), tmp_path)
    if kind is None:
        assert outcome.exit_code == 0, outcome.stderr
        expected = [tensor["bytes"] for tensors in CASES[case]["expected"] for tensor in tensors]
        assert [Path(written.path).read_bytes().hex() for written in outcome.result.outputs] == expected
        return
    outcome.assert_failed(kind, 3)
    if kind == "model-unsupported":
        assert "Foo" in (outcome.result.message or "")


@each("openvino-rust")
def test_an_input_or_output_has_any_of_its_names(runner: Runner, tmp_path: Path) -> None:
    """Without its node, the input and the output of an identity are one tensor with two names."""
    request = request_of(CASES["first-free"], tmp_path)
    request["model"]["outputs"] = [{"name": "y", "dtype": "float32", "shape": [None, 2]}]
    outcome = execute(runner, request, tmp_path)
    assert outcome.exit_code == 0, outcome.stderr
    assert {written.name for written in outcome.result.outputs} == {"y"}


@each("openvino-rust")
def test_scalars_are_inputs_and_outputs(runner: Runner, tmp_path: Path) -> None:
    """OpenVINO's C API makes no shape of rank 0."""
    outcome = execute(runner, request_of(CASES["scalar"], tmp_path), tmp_path)
    assert outcome.exit_code == 0, outcome.stderr
    (written,) = outcome.result.outputs
    (expected,) = CASES["scalar"]["expected"][0]
    assert (written.shape, Path(written.path).read_bytes().hex()) == ((), expected["bytes"])


@each("rten")
def test_integers_outside_int32_are_not_clamped(runner: Runner, tmp_path: Path) -> None:
    request = request_of(CASES["two-inputs"], tmp_path)
    Path(request["inputs"][0]["tensors"]["ids"]["path"]).write_bytes(struct.pack("<3q", 1, 2**40, 3))
    outcome = execute(runner, request, tmp_path)
    outcome.assert_failed("type-unsupported", 3)
    assert '"ids" has values outside int32' in (outcome.result.message or "")


@each()
def test_the_model_is_a_file(runner: Runner, tmp_path: Path) -> None:
    request = request_of(CASES["two-inputs"], tmp_path)
    request["model"]["path"] = str(tmp_path / "out")
    execute(runner, request, tmp_path).assert_failed("model-missing", 1)


@each()
@pytest.mark.parametrize("prepacking", [None, True])
def test_threads_are_as_many_as_requested(
    prepacking: bool | None,  # noqa: FBT001
    runner: Runner,
    models: Path,
    tmp_path: Path,
) -> None:
    """RTen packs weights in its own pool, whose size it must be told before."""
    request = tensor_request(runner, models, tmp_path, "china")
    for threads in (1, 2):
        request["settings"] = {"threads": threads, "prepacking": prepacking, "overlap": True}
        effective = execute(runner, request, tmp_path).result.effective
        assert effective is not None
        assert effective.threads == threads
