"""A new probe and a new target each take one file and one line in a registry; measured with real processes."""

from __future__ import annotations

import importlib.util
import io
from typing import TYPE_CHECKING

import pytest
from orchestra import manifest_of
from rich.console import Console

import runoff.bench
from runoff.analysis.samples import tidy
from runoff.analysis.stability import stability
from runoff.analysis.summary import summarise
from runoff.bench import bench
from runoff.compare.metrics import parse_metric
from runoff.models.store import StoredModel
from runoff.probes import PROBES
from runoff.records.errors import ExitCode
from runoff.records.files import read_run
from runoff.records.manifest import Example, StoredFile
from runoff.records.protocol import TensorSpec
from runoff.targets import BUILT_IN

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

PROBE_FILE = """
from runoff.probes.base import Probe, Sample, Shortfall
from runoff.records.protocol import Once

def read(record, meters):
    yield Sample("delay", "ns", record.result.phases[0].end_ns - record.spawn_ns)

def shortfalls(records, meters):
    yield Shortfall("colour", "nm", f"{len(records)} processes have none")

STARTUP = Probe(
    name="startup",
    summary="spawn to the end of the first phase",
    measure=Once(),
    blocks=4,
    sampled=True,
    headline=("delay", "ns"),
    timed="startup",
    main_metrics=("delay",),
    aliases={"": "delay"},
    read=read,
    shortfalls=shortfalls,
    notes=lambda records, meters: {"delay": "by the runner's clock"},
)
"""
TARGET_FILE = """
import sys
from runoff.targets.base import runner_in

def mine():
    return runner_in(sys.executable, "mine", "null_runner")
"""
SUITE = """
[suite]
name = "extended"
models = ["net"]
targets = ["mine", "null-python"]
probes = ["startup"]
"""


def module_of(folder: Path, name: str, text: str) -> ModuleType:
    """Write a module and import it."""
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Store a placeholder model: the null runner does not open it."""
    file = StoredFile("file", "ab" * 32, 1)
    (tmp_path / "file").write_bytes(b"x")
    tensor = TensorSpec("tensor", "float32", (None, 3))
    example = Example("photo", file, file, file, "label")
    manifest = manifest_of(files={"onnx": file}, examples=(example,), inputs=(tensor,), outputs=(tensor,))
    net = StoredModel(tmp_path, manifest)
    monkeypatch.setattr(runoff.bench, "ensure_models", lambda *_: {"net": net})


@pytest.mark.usefixtures("model")
def test_a_probe_and_a_target_are_a_file_and_a_line_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROBES, "startup", module_of(tmp_path, "startup", PROBE_FILE).STARTUP)
    monkeypatch.setitem(BUILT_IN, "mine", module_of(tmp_path, "mine", TARGET_FILE).mine)
    (tmp_path / "extended.toml").write_text(SUITE, encoding="utf-8")
    folder, code = bench(tmp_path / "extended.toml", tmp_path / "results", Console(file=io.StringIO()))
    run = read_run(folder)
    assert [record.reason for record in run.records if record.reason] == []
    assert code == ExitCode.OK
    assert [(record.probe, record.status) for record in run.records] == [("startup", "ok")] * 2 * 4
    assert run.info.stops["startup"].widest is not None
    summary = summarise(run, tidy(run))
    lines = {(line["target"], line["metric"]): line for line in summary.to_dict("records")}
    for target in ("mine", "null-python"):
        delay = lines[target, "delay"]
        assert (delay["probe"], delay["n"], delay["unit"]) == ("startup", 4, "ns")
        assert delay["low"] < delay["estimate"] < delay["high"]
        assert delay["reason"] == "by the runner's clock"
        assert lines[target, "colour"]["reason"] == "4 processes have none"
    assert str(parse_metric("startup.delay")) == "startup"
    assert all(any("startup" in text for text in found.evidence) for found in stability(run, summary).values())
