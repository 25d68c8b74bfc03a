"""The measure `mappings`: what holds the memory of a runner's process."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from runners_under_test import RUNNERS, execute, golden

from runoff.probes.mappings import ALLOCATED, LANGUAGE, RUNTIME, by_holder

if TYPE_CHECKING:
    from pathlib import Path

BY_NAME = {runner.name: runner for runner in RUNNERS}


@pytest.mark.parametrize("name", ["ort-python", "ort-rust"])
def test_mappings_and_the_peak_are_reported_after_each_phase(name: str, models: Path, tmp_path: Path) -> None:
    runner = BY_NAME[name]
    outcome = execute(runner, golden("mappings-tensor", runner, models, tmp_path), tmp_path)
    assert (outcome.exit_code, outcome.result.status) == (0, "ok"), outcome.stderr
    memory, effective = outcome.result.memory, outcome.result.effective
    assert memory is not None
    assert effective is not None
    phases = [phase.name for phase in outcome.result.phases if phase.name != "start"]
    peaks = [memory.peak_after[name] for name in phases]
    held = [by_holder(memory.mappings[name], effective.runtime) for name in phases]
    # the kernel's counters of the peak lag behind by some pages
    assert all(after > 0.99 * before for before, after in pairwise(peaks))
    assert all(sum(own.values()) < peak * 1.05 for own, peak in zip(held, peaks, strict=True))
    last = held[phases.index("inference")]
    assert last[RUNTIME] > 5e6
    assert last[ALLOCATED] > 15e6  # the weights
    assert (last[LANGUAGE] > 5e6) == (name == "ort-python")
    # ONNX Runtime's module for Python does not report its arena
    assert bool(memory.arena) == (name == "ort-rust")
    if memory.arena:
        load, inference = memory.arena["load"], memory.arena["inference"]
        assert 0 < load.in_use_bytes < inference.most_in_use_bytes <= inference.reserved_bytes
