"""Prepared models: every runner that supports them computes the same output; the others report no support."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from runners_under_test import COMPUTING, MODEL, Runner, execute, golden

from runoff.models.prepared import prepare_file
from runoff.models.store import ModelStore, PreparedFile
from runoff.processes import Spawner

if TYPE_CHECKING:
    from pathlib import Path

    from runners_under_test import Document

READING = tuple(runner for runner in COMPUTING if runner.name.startswith("ort-"))
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


def request_for(runner: Runner, models: Path, folder: Path, prepared: PreparedFile) -> Document:
    request = golden("once-classify", runner, models, folder)
    request["model"] |= {"format": "ort", "path": prepared.path, "sha256": prepared.sha256}
    request["settings"]["prepared"] = True
    return request


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("runner", READING, ids=lambda runner: runner.name)
def test_a_prepared_model_gives_the_same_output(
    runner: Runner, settings: Document, prepared: PreparedFile, models: Path, tmp_path: Path
) -> None:
    request = request_for(runner, models, tmp_path, prepared)
    request["settings"] |= settings
    outcome = execute(runner, request, tmp_path)
    assert outcome.result.status == "ok", outcome.result.message
    assert outcome.result.effective is not None
    assert outcome.result.effective.ignored == ()
    assert outcome.result.top[0][0].label == "palace"
    reference = np.fromfile(models / MODEL / "china.reference.bin", np.float32)
    answer = np.fromfile(tmp_path / "out" / "logits.0.bin", np.float32)
    # the reference resizes the picture with a different library
    assert abs(answer - reference).max() < 0.05 * abs(reference).max()
    plain = golden("once-classify", runner, models, tmp_path)
    execute(runner, plain, tmp_path)
    usual = np.fromfile(tmp_path / "out" / "logits.0.bin", np.float32)
    assert abs(answer - usual).max() < NOISE * abs(usual).max()


@pytest.mark.parametrize("runner", COMPUTING, ids=lambda runner: runner.name)
def test_a_model_in_its_usual_format_is_not_prepared(runner: Runner, models: Path, tmp_path: Path) -> None:
    request = golden("once-classify", runner, models, tmp_path)
    request["settings"]["prepared"] = True
    effective = execute(runner, request, tmp_path).result.effective
    assert effective is not None
    assert effective.ignored == ("prepared",)
