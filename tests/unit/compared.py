"""Synthetic runs of interleaved live processes on a machine of drifting speed, and their gates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace
from synthetic import case_of, record, result_of, run_of

from runoff.compare.gate import gate as check_gate
from runoff.compare.limits import parse_limit
from runoff.records.files import RunWriter
from runoff.records.protocol import Timings
from runoff.records.schema import InterleavingStats

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.compare.gate import Gate
    from runoff.records.schema import Case, Record, Run

MS = 1_000_000
BLOCKS, TURNS = 8, 60
MACHINE = {
    "cpu": "Test CPU",
    "cores_allowed": 2,
    "architecture": "x86_64",
    "kernel": "6.1",
    "virtualised": True,
    "system": "Linux",
}
EQUAL = {"main": 10.0, "change": 10.0}
"""Speeds of equal targets, for `turns_run`."""


def turns_run(speeds: dict[str, float], *, seed: int = 1, drift: float = 1.0, control: bool = True) -> Run:
    """Return a run of interleaved live processes: `speeds` in ms by target, the baseline first."""
    rng = np.random.default_rng(seed)
    base = next(iter(speeds))
    cases = [case_of(name, ("latency",)) for name in speeds]
    if control:
        again = f"{base}-again"
        cases.append(replace(case_of(again, ("latency",)), control_of=base))
        speeds = {**speeds, again: speeds[base]}
    records = []
    for block in range(BLOCKS):
        # one machine for all: its speed drifts within and between blocks
        machine = drift * np.exp(np.cumsum(rng.normal(0, 0.02, TURNS)) + rng.normal(0, 0.2))
        for case in cases:
            own = rng.lognormal(0, 0.003) * machine * rng.lognormal(0, 0.01, TURNS)
            records.append(latency_of(case, block, speeds[case.target] * MS * own))
    run = run_of(cases, records)
    run.info.baselines = (base,)
    run.info.machine = dict(MACHINE)
    return run


def latency_of(case: Case, block: int, ns: np.ndarray[Any, Any]) -> Record:
    """Return a record of the probe ``latency``, of a live process with these times, shape ``(turns,)``."""
    warm = tuple(int(value) for value in ns)
    turned = InterleavingStats(group_size=3, inferences=1, warmup=0, steady=True, checked=1)
    return record(
        case,
        "latency",
        block,
        turned=turned,
        result=result_of(case, samples={"inference": Timings(warm[0], None, warm)}),
    )


def with_record(run: Run, bad: Record) -> Run:
    """Return `run` with `bad` instead of the record of the same case and order."""
    return replace(
        run, records=tuple(bad if one.order == bad.order and one.case == bad.case else one for one in run.records)
    )


def write(run: Run, folder: Path) -> Path:
    """Write `run` as a folder."""
    writer = RunWriter(folder, run.info)
    for one in run.records:
        writer.append(one)
    return folder


def gate(run: Run, *texts: str, saved: Any = None, different_machines: bool = False, **scope: Any) -> Gate:
    """Return the gate of `run` for limits of a scope."""
    limits = [parse_limit(text, **scope) for text in texts]
    return check_gate(run, limits, saved, different_machines=different_machines)
