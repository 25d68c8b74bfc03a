"""Building blocks for tests of the orchestrator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from runoff.measure.job import Job
from runoff.plan.suite import Suite, parse_suite
from runoff.plan.target import Target, TargetInfo
from runoff.probes import PROBES
from runoff.processes import Finished
from runoff.records.manifest import Example, Manifest, StoredFile, StoredTensor
from runoff.records.protocol import Capabilities, Phase, Preprocess, Result, Settings
from runoff.records.schema import Case, Record, RunInfo

if TYPE_CHECKING:
    from runoff.records.reason import Reason

HEAD = """
[suite]
name = "tiny"
models = ["net"]
targets = ["mine"]
probes = ["life"]
"""


def suite_of(text: str) -> Suite:
    """Return the suite that `text` describes."""
    return parse_suite(text, "tiny.toml")


def capabilities(**changes: Any) -> Capabilities:
    """Return the capabilities of a runner that supports everything, except `changes`."""
    able: dict[str, Any] = {
        "protocol": (1,),
        "runner": "mine",
        "language": "shell",
        "runtime": "none",
        "workloads": ("classify", "tensor"),
        "formats": ("onnx",),
        "providers": ("cpu",),
        "measures": ("once", "latency", "accuracy"),
    }
    return Capabilities(**{**able, **changes})


def target_info(name: str = "mine", *, model_format: str | None = None, **changes: Any) -> TargetInfo:
    """Return a target whose runner reports `capabilities`."""
    return TargetInfo(Target(name=name, command=("/bin/true",), format=model_format), capabilities(**changes))


def case_of(name: str, probes: tuple[str, ...] = ("life",), skipped: Reason | None = None) -> Case:
    """Return a case of the target `name`."""
    return Case(
        id=f"net.classify.{name}",
        model="net",
        workload="classify",
        target=name,
        settings=Settings(),
        probes=probes,
        skipped=skipped,
    )


def job_of(name: str, probe: str, block: int = 0) -> Job:
    """Return a job of the target `name`."""
    return Job((case_of(name, (probe,)),), PROBES[probe], block)


def finished(**changes: Any) -> Finished:
    """Return a process that ran from 1,000 to 2,000 ns and succeeded, except `changes`."""
    well: dict[str, Any] = {
        "exit_code": 0,
        "spawn_ns": 1000,
        "exit_ns": 2000,
        "timed_out": False,
        "stdout": "",
        "stderr": "",
    }
    return Finished(**{**well, **changes})


def result_of(*stamps: tuple[str, int, int], case: str = "c", **fields: Any) -> Result:
    """Return a result with phases of the given names, starts and ends."""
    return Result(protocol=1, case=case, phases=tuple(Phase(*stamp) for stamp in stamps), **{"status": "ok", **fields})


def record_of(case: str = "net.classify.mine", probe: str = "life", **fields: Any) -> Record:
    """Return a record that is ok, except `fields`."""
    return Record(**{"case": case, "probe": probe, "block": 0, "order": 0, "status": "ok", **fields})


def info_of(*cases: Case) -> RunInfo:
    """Return the contents of ``run.json`` for a run of `cases`."""
    return RunInfo(
        run_id="tiny-1",
        suite=msgspec.to_builtins(suite_of(HEAD)),
        suite_text=HEAD,
        cases=cases,
        capabilities={},
        models={},
        machine={"cpu": "abacus", "cores_allowed": 2, "virtualised": False, "system": "L", "kernel": "1"},
        tools={"runoff": "0"},
        seed=1,
        started="2026-11-22T10:15:00+00:00",
    )


def example_of(name: str, image: StoredFile, tensor: StoredFile, reference: StoredFile) -> Example:
    """Return an example with one input, called ``input``, and one output, called ``logits``."""
    given, wanted = (
        StoredTensor(file.path, file.sha256, file.bytes, "float32", (1, file.bytes // 4))
        for file in (tensor, reference)
    )
    return Example(name, {"input": given}, {"logits": wanted}, image, "daisy")


def manifest_of(**fields: Any) -> Manifest:
    """Return the manifest of a model with empty fields, except `fields`."""
    nothing: dict[str, Any] = {
        "name": "net",
        "source": "here",
        "weights": "seeded:0",
        "builder": "package:function",
        "inputs": (),
        "outputs": (),
        "preprocess": Preprocess(3, 2, "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        "files": {},
        "labels": StoredFile("file", "cd" * 32, 1),
        "examples": (),
        "checks": (),
        "made_with": {},
    }
    return Manifest(**{**nothing, **fields})
