"""OpenVINO and tract: their own prepared files, threads and precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from runners_under_test import IN_RUST, MODEL, RUNNERS, Document, Runner, execute, golden, launch, tensor_request

from machine import FULL
from runoff import paths
from runoff.models.prepared import prepare_models
from runoff.models.store import ModelStore
from runoff.plan.cases import plan_case
from runoff.plan.settings import resolve
from runoff.plan.target import TargetInfo
from runoff.processes import Spawner
from runoff.records.protocol import Capabilities

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.models.store import PreparedFile

OPENVINO, TRACT = (
    next(runner for runner in RUNNERS if runner.name == name) for name in ("openvino-python", "tract-python")
)
OWN = (OPENVINO, TRACT)
CONVERTER = paths.environments() / "rten-convert"
READ_PREPARED = (*OWN, *(runner for runner in IN_RUST if runner.name != "rten" or FULL or CONVERTER.is_dir()))
"""Those in Rust read the same files, and RTen one that only ``nox -s rten-convert`` makes."""
NOISE = 1e-4


def capabilities_of(runner: Runner) -> Capabilities:
    return msgspec.json.decode(launch(runner, "--probe").stdout, type=Capabilities)


@pytest.fixture(scope="module", params=READ_PREPARED, ids=lambda runner: runner.name)
def ready(
    request: pytest.FixtureRequest, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Runner, PreparedFile]:
    """Return a runner, and the file that runoff prepares for it."""
    runner: Runner = request.param
    info = TargetInfo(runner.make(), capabilities_of(runner))
    model = ModelStore(models).get(MODEL)
    case = plan_case(MODEL, "classify", resolve({"profile": "cold"}), (), model.formats, info)
    with Spawner(tmp_path_factory.mktemp("prepare")) as spawner:
        made = prepare_models((case,), {MODEL: model}, {runner.name: info}, spawner, print)
    assert made.reasons == {}
    (file,) = made.models[MODEL].prepared.values()
    assert (made.cases[0].format, made.cases[0].made_from) == (file.format, "onnx")
    return runner, file


def request_for(runner: Runner, file: PreparedFile, models: Path, folder: Path) -> Document:
    request = golden("once-classify", runner, models, folder)
    request["model"] |= {"format": file.format, "path": file.path, "sha256": file.sha256}
    request["settings"]["prepared"] = True
    return request


def test_a_prepared_file_gives_the_same_output(
    ready: tuple[Runner, PreparedFile], models: Path, tmp_path: Path
) -> None:
    outputs = []
    for request in (request_for(*ready, models, tmp_path), golden("once-classify", ready[0], models, tmp_path)):
        outcome = execute(ready[0], request, tmp_path)
        assert outcome.result.effective is not None, outcome.result.message
        assert outcome.result.effective.ignored == ()
        outputs.append(np.fromfile(tmp_path / "out" / "logits.0.bin", np.float32))
        mapped = request["model"]["format"] in ("openvino", "rten")
        assert ("mapped-model" in outcome.result.effective.practices) == mapped
    assert abs(outputs[0] - outputs[1]).max() < NOISE * abs(outputs[1]).max()


def test_a_prepared_file_is_for_one_batch(ready: tuple[Runner, PreparedFile], models: Path, tmp_path: Path) -> None:
    runner, file = ready
    request = request_for(runner, file, models, tmp_path)
    request["inputs"] *= 2
    request["settings"]["batch"] = 2
    outcome = execute(runner, request, tmp_path)
    if runner.name == "rten":  # keeps free dimensions
        assert outcome.exit_code == 0, outcome.stderr
        return
    outcome.assert_failed("model-mismatch", 1)
    assert not file.fits("cpu", "fp32", 2)
    assert not file.fits("cpu", "bf16", 1)
    assert file.fits("cpu", "fp32", 1)


def test_openvino_computes_in_the_requested_precision_and_says_so(models: Path, tmp_path: Path) -> None:
    """A Xeon computes in bf16 unless it is asked not to."""
    request = tensor_request(OPENVINO, models, tmp_path, "china")
    effective = execute(OPENVINO, request, tmp_path).result.effective
    assert effective is not None
    assert (effective.precision, effective.provider, effective.threads) == ("fp32", "cpu", 1)
    request["settings"]["precision"] = "bf16"
    outcome = execute(OPENVINO, request, tmp_path)
    if "bf16" in capabilities_of(OPENVINO).precisions:
        assert outcome.result.effective is not None
        assert outcome.result.effective.precision == "bf16"
    else:
        outcome.assert_failed("provider-unavailable", 3)
        assert "does not compute in 'bf16' on this CPU" in (outcome.result.message or "")


def test_threads_beyond_those_of_an_engine_are_ignored_and_reported(models: Path, tmp_path: Path) -> None:
    for runner, threads, ignored in ((TRACT, 1, ("threads",)), (OPENVINO, 2, ())):
        request = tensor_request(runner, models, tmp_path, "china")
        request["settings"]["threads"] = 2
        effective = execute(runner, request, tmp_path).result.effective
        assert effective is not None
        assert (effective.threads, effective.ignored) == (threads, ignored)


@pytest.mark.parametrize("runner", OWN, ids=lambda runner: runner.name)
def test_the_latency_profile_computes_the_same(runner: Runner, models: Path, tmp_path: Path) -> None:
    """Outputs may stay in the runtime's memory until the next inference: each item's must be its own."""
    found = []
    for profile in ("default", "latency"):
        request = tensor_request(runner, models, tmp_path, "china", "flower", "chelsea")
        request["settings"]["profile"] = profile
        outcome = execute(runner, request, tmp_path)
        assert outcome.result.status == "ok", outcome.result.message
        found.append([np.fromfile(tensor.path, np.float32) for tensor in outcome.result.outputs])
    assert len(found[0]) == 3
    assert not np.array_equal(found[0][0], found[0][1])
    for usual, other in zip(*found, strict=True):
        assert np.array_equal(usual, other)
