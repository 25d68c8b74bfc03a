"""Synthetic runs with injected power."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from synthetic import case_of, record, result_of, run_of

from runoff.records.schema import EnergyWindow, MeterInfo

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runoff.records.schema import Case, Record, Run

SECONDS = 2.0
IDLE_W = 10.0
METER = MeterInfo(
    name="powercap",
    source="RAPL, the processor's own counters, read from a test",
    domains={"package": "processor package", "core": "cores of the package"},
    resolution_j=61e-6,
    step_s=0.001,
    unavailable={"dram": "it may be read by root only"},
)
DRAWN = {"torch": (60.0, 30.0, 1, 40), "ort-python": (30.0, 25.0, 8, 200), "ort-rust": (30.0, 25.0, 20, 210)}
"""By target: watts of processes and of inferences, and the number of each in a window."""


def window(part: str, watts: float, count: int = 0, **fields: Any) -> EnergyWindow:
    """Return a window of `SECONDS` with the given watts of the package and half as many of the cores."""
    usual: dict[str, Any] = {
        "joules": {"powercap.package": watts * SECONDS, "powercap.core": watts * SECONDS / 2},
        "seconds": {"powercap": SECONDS},
        "others": 0.02,
    }
    return EnergyWindow(part=part, start_ns=0, end_ns=round(SECONDS * 1e9), count=count, **(usual | fields))


def windows(
    process: tuple[float, int] = (30.0, 4),
    inference: tuple[float, int] | None = (25.0, 200),
    idle: tuple[float, float] = (IDLE_W, IDLE_W),
    **fields: Any,
) -> tuple[EnergyWindow, ...]:
    """Return the four windows of a record; `fields` apply to the process window."""
    middle = [window("process", *process, **fields)]
    if inference:
        middle.append(window("inference", *inference))
    return (window("idle-before", idle[0]), *middle, window("idle-after", idle[1]))


def of_case(case: Case, *blocks: Sequence[EnergyWindow]) -> list[Record]:
    """Return the records of a case, one for each block."""
    # outputs of all runners that compute are compared
    parity = [] if case.target.startswith("null") else [{"item": 0, "max_rel_diff": 0.0}]
    return [
        record(case, "energy", block, energy=tuple(parts), result=result_of(case), parity=parity)
        for block, parts in enumerate(blocks)
    ]


def energy_run(folder: Path | None = None, *, blocks: int = 4, others: float = 0.02) -> Run:
    """Return a run of three targets and a null runner, with 1% noise in power."""
    rng = np.random.default_rng(1)
    cases = [case_of(name, ("energy",)) for name in (*DRAWN, "null-rust")]
    records = []
    for case in cases:
        process_w, inference_w, processes, inferences = DRAWN.get(case.target, (12.0, 0.0, 900, 0))
        made = []
        for _ in range(blocks):
            noise = rng.normal(1, 0.01, 2).tolist()
            inference = (inference_w * noise[1], inferences) if inferences else None
            made.append(windows((process_w * noise[0], processes), inference, others=others))
        records += of_case(case, *made)
    run = run_of(cases, records, folder)
    run.info.meters = (METER,)
    run.info.unavailable_meters = {"nvml": "no NVIDIA GPU can be queried: NVML Shared Library Not Found"}
    return run
