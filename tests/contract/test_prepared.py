"""Prepared models: every runner that supports them computes the same output; the others report no support."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from runners_under_test import COMPUTING, MODEL, READ_PREPARED, Runner, execute, golden

from runoff.models.prepared import OPTIMIZER, prepare_file
from runoff.models.store import ModelStore, PreparedFile
from runoff.processes import Spawner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from runners_under_test import Document

SETTINGS: tuple[dict[str, object], ...] = (
    {},
    {"optimization": "disable"},
    {"optimization": "basic", "prepacking": False, "arena": False},
    {"optimization": "all", "prepacking": True},
)
NOISE = 1e-4
"""Share of the largest output: optimisation levels add the same numbers in a different order."""


@pytest.fixture(scope="session")
def prepared(models: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedFile:
    """Return the small model's prepared file, written by runoff's own program."""
    with Spawner(tmp_path_factory.mktemp("prepare")) as spawner:
        made = prepare_file(ModelStore(models).get(MODEL), spawner, print)
    assert isinstance(made, PreparedFile), made
    return made


@pytest.fixture(scope="session")
def optimized(models: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedFile:
    """Return the small model as an optimized ONNX file."""
    with Spawner(tmp_path_factory.mktemp("optimize")) as spawner:
        made = prepare_file(ModelStore(models).get(MODEL), spawner, print, "onnx", OPTIMIZER)
    assert isinstance(made, PreparedFile), made
    return made


@pytest.fixture(scope="session")
def unprepared(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Runner], NDArray[np.float32]]:
    """Return a function that returns a runner's output from the usual file, computed once."""

    @cache
    def compute(runner: Runner) -> NDArray[np.float32]:
        folder = tmp_path_factory.mktemp("unprepared")
        effective = execute(runner, golden("once-classify", runner, models, folder), folder).result.effective
        assert effective is not None
        assert "mapped-model" not in effective.practices
        return np.fromfile(folder / "out" / "logits.0.bin", np.float32)

    return compute


def request_for(runner: Runner, models: Path, folder: Path, prepared: PreparedFile) -> Document:
    request = golden("once-classify", runner, models, folder)
    request["model"] |= {"format": "ort", "path": prepared.path, "sha256": prepared.sha256}
    request["settings"]["prepared"] = True
    return request


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("runner", READ_PREPARED, ids=lambda runner: runner.name)
def test_a_prepared_model_gives_the_same_output(
    runner: Runner,
    settings: Document,
    prepared: PreparedFile,
    unprepared: Callable[[Runner], NDArray[np.float32]],
    models: Path,
    tmp_path: Path,
) -> None:
    request = request_for(runner, models, tmp_path, prepared)
    request["settings"] |= settings
    outcome = execute(runner, request, tmp_path)
    assert outcome.result.status == "ok", outcome.result.message
    assert outcome.result.effective is not None
    assert outcome.result.effective.ignored == ()
    assert "mapped-model" in outcome.result.effective.practices
    assert outcome.result.top[0][0].label == "palace"
    reference = np.fromfile(models / MODEL / "china.reference.bin", np.float32)
    answer = np.fromfile(tmp_path / "out" / "logits.0.bin", np.float32)
    # the reference resizes the picture with a different library
    assert abs(answer - reference).max() < 0.05 * abs(reference).max()
    usual = unprepared(runner)
    assert abs(answer - usual).max() < NOISE * abs(usual).max()


def test_a_model_in_its_usual_format_is_not_prepared(implementation: Runner, models: Path, tmp_path: Path) -> None:
    request = golden("once-classify", implementation, models, tmp_path)
    request["settings"]["prepared"] = True
    effective = execute(implementation, request, tmp_path).result.effective
    assert effective is not None
    assert effective.ignored == ("prepared",)
    assert "mapped-model" not in effective.practices


@pytest.mark.parametrize("runner", READ_PREPARED, ids=lambda runner: runner.name)
def test_an_optimized_onnx_file_gives_the_same_output(
    runner: Runner,
    optimized: PreparedFile,
    unprepared: Callable[[Runner], NDArray[np.float32]],
    models: Path,
    tmp_path: Path,
) -> None:
    request = golden("once-classify", runner, models, tmp_path)
    request["model"] |= {"path": optimized.path, "sha256": optimized.sha256}
    request["settings"] |= {"prepared": "onnx", "threads": 2, "spin_duration_us": 100, "spin_backoff_max": 8}
    outcome = execute(runner, request, tmp_path)
    assert outcome.result.effective is not None, outcome.result.message
    assert outcome.result.effective.ignored == ()
    assert "mapped-model" not in outcome.result.effective.practices
    answer = np.fromfile(tmp_path / "out" / "logits.0.bin", np.float32)
    usual = unprepared(runner)
    assert abs(answer - usual).max() < NOISE * abs(usual).max()


@pytest.mark.parametrize(
    "line",
    [
        None,
        'network.register_buffer("scale", torch.ones(1), persistent=False)',
        "network.scale = torch.ones(1)",
        "network.scales = {0: [torch.ones(1)]}",
        "network.scale = torch.ones(1).item()",
    ],
    ids=["weights", "buffer", "attribute", "list", "number"],
)
def test_torch_uses_weights_in_place_whatever_else_the_network_holds(
    line: str | None, unprepared: Callable[[Runner], NDArray[np.float32]], models: Path, tmp_path: Path
) -> None:
    (runner,) = (runner for runner in COMPUTING if runner.name == "torch")
    folder = tmp_path / "run"
    folder.mkdir()
    request = golden("once-classify", runner, models, folder)
    request["settings"]["prepared"] = True
    if line is not None:
        use = "network.register_forward_hook(lambda module, _, y: y * getattr(module, 'scales', {0: [1]})[0][0])"
        lines = ("network = efficientnet_lite0()", line, use, "return network")
        body = "".join(f"    {text}\n" for text in lines)
        imports = "import torch\nfrom runoff_runners.torch_builders import efficientnet_lite0\n"
        (tmp_path / "builders_of_this_test.py").write_text(f"{imports}def build():\n{body}")
        request["model"]["builder"] = "builders_of_this_test:build"
    target = runner.make()
    # the builder is in the folder of this test
    env = {**target.env, "PYTHONPATH": f"{target.env['PYTHONPATH']}:{tmp_path}"}
    found = execute(Runner("torch", lambda: msgspec.structs.replace(target, env=env), "pt"), request, folder)
    assert found.result.effective is not None, found.result.message
    assert found.result.effective.practices == ("mapped-model",)
    # what it holds in addition multiplies by one
    assert np.array_equal(np.fromfile(folder / "out" / "logits.0.bin", np.float32), unprepared(runner))
