"""Whether interleaved processes fit into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest.mock import Mock

import msgspec
import pytest
from orchestra import HEAD, capabilities, case_of, suite_of, target_info

from runoff.measure import room
from runoff.models.store import StoredModel
from runoff.plan.target import TargetInfo
from runoff.records.manifest import Manifest, StoredFile

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("a", "b", "c")


def model_of(size: int, folder: Path) -> StoredModel:
    manifest = Mock(spec=Manifest, files={"onnx": StoredFile("net.onnx", "0" * 64, 1000)})
    manifest.data = (StoredFile("weights.bin", "0" * 64, size - 1000),)
    return StoredModel(folder, manifest)


@pytest.mark.parametrize("probe", ["latency", "load"])
@pytest.mark.parametrize(
    ("free", "limit", "mode"),
    [(12e9, 1e15, "side-by-side"), (7.1e9, 1e15, "alone"), (12e9, 7e9, "alone"), (7.2e9, 7.2e9, "side-by-side")],
)
def test_processes_that_do_not_fit_run_one_after_the_other(
    free: float, limit: float, mode: str, probe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: Mock(available=free))
    monkeypatch.setattr(room, "memory_limit", lambda: limit)
    suite, cases, said = suite_of(HEAD), [case_of(name, probes=(probe,)) for name in NAMES], list[str]()
    able = capabilities(measures=("once", "latency", "accuracy", "turns", "load"))
    targets = {name: TargetInfo(target_info(name).target, able) for name in NAMES}
    models = {case.model: model_of(2_400_000_000, tmp_path) for case in cases}
    changed = room.with_room(suite, cases, models, targets, said.append)
    assert changed.measure.latency.mode == mode
    assert all(line.startswith(f"3 live processes of {cases[0].model} need about 7.2 GB, and ") for line in said)
    assert bool(said) == (mode == "alone")
    assert msgspec.to_builtins(changed)["measure"]["latency"]["mode"] == mode
