"""The setting `overlap`: outputs and failures do not depend on which thread reads the first batch."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from runners_under_test import MODEL, Runner, execute, golden

if TYPE_CHECKING:
    from pathlib import Path

    from runners_under_test import Document, Outcome


def both(runner: Runner, request: Document, folder: Path) -> tuple[Outcome, Outcome]:
    """Return the outcomes of the request without and with overlap."""
    request.setdefault("settings", {})["overlap"] = False
    without = execute(runner, request, folder)
    request["settings"]["overlap"] = True
    return without, execute(runner, request, folder)


def test_overlap_does_not_change_the_outputs(overlapping_program: Runner, models: Path, tmp_path: Path) -> None:
    outputs: list[bytes] = []
    request = golden("once-classify", overlapping_program, models, tmp_path)
    for overlap in (False, True):
        request["settings"]["overlap"] = overlap
        result = execute(overlapping_program, request, tmp_path).result
        assert result.status == "ok"
        assert result.effective is not None
        assert result.effective.ignored == ()
        assert result.effective.threads in (None, 1)
        assert result.samples["preprocess"].first_ns > 100_000
        outputs.append((tmp_path / "out" / "logits.0.bin").read_bytes())
    assert outputs[0] == outputs[1]


@pytest.mark.clock
def test_the_phase_is_the_time_waited(overlapping: Runner, models: Path, tmp_path: Path) -> None:
    request = golden("once-classify", overlapping, models, tmp_path)
    result = both(overlapping, request, tmp_path)[1].result
    phases = {phase.name: phase.end_ns - phase.start_ns for phase in result.phases}
    assert phases["preprocess"] < result.samples["preprocess"].first_ns


@pytest.mark.parametrize("batch", [2, 4])
def test_a_first_batch_of_several_items(batch: int, overlapping: Runner, models: Path, tmp_path: Path) -> None:
    request = golden("accuracy-classify", overlapping, models, tmp_path)
    request["settings"]["batch"] = batch
    without, overlapped = (outcome.result for outcome in both(overlapping, request, tmp_path))
    assert [tensor.items for tensor in overlapped.tensors] == ([(0, 1), (2,)] if batch == 2 else [(0, 1, 2)])
    assert overlapped.tensors == without.tensors
    assert overlapped.top == without.top


@pytest.mark.parametrize("damage", ["missing", "half"])
def test_a_bad_picture_is_the_same_failure(damage: str, overlapping: Runner, models: Path, tmp_path: Path) -> None:
    request = golden("once-classify", overlapping, models, tmp_path)
    path = tmp_path / "out" / "broken.jpg"
    if damage == "half":
        whole = (models / MODEL / "china.jpg").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    request["inputs"] = [{"image": str(path)}]
    without, overlapped = both(overlapping, request, tmp_path)
    assert overlapped.exit_code == without.exit_code == 1
    for key in ("status", "kind", "message", "hint"):
        assert overlapped.document[key] == without.document[key]
    assert [phase.name for phase in overlapped.result.phases] == [phase.name for phase in without.result.phases]


def test_a_failure_does_not_wait_for_the_picture(overlapping: Runner, models: Path, tmp_path: Path) -> None:
    """Nothing is written to this pipe, so a thread that reads the picture from it never ends."""
    request = golden("once-classify", overlapping, models, tmp_path)
    path = tmp_path / "out" / "endless.jpg"
    os.mkfifo(path)
    request["inputs"] = [{"image": str(path)}]
    request["model"]["path"] = str(tmp_path / f"nothing.{overlapping.format}")
    request["settings"]["overlap"] = True
    execute(overlapping, request, tmp_path).assert_failed("model-missing", 1)


def test_tensors_have_nothing_to_overlap(overlapping: Runner, models: Path, tmp_path: Path) -> None:
    request = golden("latency-tensor", overlapping, models, tmp_path)
    without, overlapped = (outcome.result for outcome in both(overlapping, request, tmp_path))
    assert overlapped.status == "ok"
    assert overlapped.effective is not None
    assert without.effective is not None
    assert overlapped.effective.ignored == without.effective.ignored
