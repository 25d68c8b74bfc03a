"""Synthetic runs: the structure of a real run, with seeded random times."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from runoff.plan.cases import settings_words
from runoff.plan.settings import resolve
from runoff.records.protocol import Capabilities, Effective, Memory, Phase, Result, Settings, Timings
from runoff.records.reason import Reason
from runoff.records.schema import Case, InterleavingStats, Record, Run, RunInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PROBES = ("process", "life", "latency", "counters", "memory", "accuracy")
MS = 1_000_000
PHASES: dict[str, dict[str, float]] = {
    "torch": {
        "start": 20,
        "imports": 2600,
        "load": 150,
        "preprocess": 9,
        "inference": 40,
        "output": 1,
        "exit": 120,
    },
    "ort-python": {
        "start": 18,
        "imports": 190,
        "load": 55,
        "preprocess": 7,
        "inference": 12,
        "output": 1,
        "exit": 25,
    },
    "ort-rust": {
        "start": 2,
        "runtime": 3,
        "environment": 30,
        "load": 48,
        "preprocess": 3,
        "inference": 11,
        "output": 0.2,
        "exit": 12,
    },
    "ort-pyo3": {
        "start": 18,
        "imports": 60,
        "runtime": 3,
        "environment": 30,
        "load": 50,
        "preprocess": 3,
        "inference": 11,
        "output": 0.5,
        "exit": 15,
    },
    "null-rust": {"start": 1.0, "output": 0.1, "exit": 0.4},
}
WARM_MS = {"torch": 14.0, "ort-python": 5.9, "ort-rust": 5.8, "ort-pyo3": 5.85}
CONTROL = "ort-python-again"
WARM_UP = 6
"""Inferences of warm-up in records of live processes."""
PEAK_MB = {"torch": 853, "ort-python": 102, "ort-rust": 58, "ort-pyo3": 80, "null-rust": 3}


def case_of(
    target: str,
    probes: Iterable[str] = PROBES,
    skipped: Reason | None = None,
    control_of: str | None = None,
    model: str = "net",
    **settings: Any,
) -> Case:
    """Return a case of `target` on `model`."""
    made = resolve(settings)
    name = f"{model}.classify.{target}.{made.profile}.t{made.threads}.b{made.batch}"
    return Case(
        id=name,
        model=model,
        workload="classify",
        target=target,
        settings=made,
        probes=tuple(probes),
        variant=settings_words(made),
        control_of=control_of,
        skipped=skipped,
    )


def original(case: Case) -> str:
    """Return the target of a case; for an A/A control, the target that it repeats."""
    return case.control_of or case.target


def turned_of(**fields: Any) -> InterleavingStats:
    """Return the statistics of a live process interleaved with another."""
    usual: dict[str, Any] = {"group_size": 2, "inferences": 1, "warmup": 0, "steady": True, "checked": 1}
    return InterleavingStats(**(usual | fields))


def record(case: Case, probe: str, block: int, **fields: Any) -> Record:
    """Return a successful record."""
    usual: dict[str, Any] = {"case": case.id, "probe": probe, "block": block, "order": block, "status": "ok"}
    return Record(**(usual | fields))


def effective_of(target: str, settings: Settings) -> Effective:
    """Return the effective settings of the runner of `target`."""
    runtime = "torch" if target == "torch" else "onnxruntime"
    library = None if target == "torch" else "/env/libonnxruntime.so.1.32.0"
    effective = Effective(runtime, "1.32.0", "python", "cpu", settings.threads, "abc1234", library, denormals="kept")
    return msgspec.structs.replace(effective, allocator="glibc 2.36", image_decoder="libjpeg-turbo 3.1.0")


def result_of(case: Case, **fields: Any) -> Result:
    """Return a result of the case's runner."""
    effective = effective_of(original(case), case.settings)
    usual: dict[str, Any] = {"protocol": 1, "case": case.id, "status": "ok", "effective": effective}
    return Result(**(usual | fields))


def phases_of(durations_ns: dict[str, int], spawn_ns: int) -> tuple[Phase, ...]:
    """Return contiguous phases from `spawn_ns` on."""
    phases, at = [], spawn_ns
    for name, duration in durations_ns.items():
        phases.append(Phase(name, at, at + duration))
        at += duration
    return tuple(phases)


class Maker:
    """Creates records with the times of one seeded generator."""

    def __init__(self, seed: int, warm: int, group_size: int = 1) -> None:
        self.rng = np.random.default_rng(seed)
        self.warm = warm
        self.group_size = group_size
        self.phases, self.warm_ms, self.peak_mb = PHASES, WARM_MS, PEAK_MB

    def noisy(self, value: float, spread: float = 0.05) -> int:
        """Return `value` with log-normal noise."""
        return int(value * self.rng.lognormal(0, spread))

    def spent(self, case: Case) -> dict[str, int]:
        """Return nanoseconds by phase of one process."""
        return {name: self.noisy(ms * MS) for name, ms in self.phases[original(case)].items()}

    def life(self, case: Case, block: int) -> Record:
        """Return a record of the probe ``life``."""
        spent = self.spent(case)
        end = spent.pop("exit")
        phases = phases_of(spent, 1000)
        return record(
            case,
            "life",
            block,
            spawn_ns=1000,
            exit_ns=phases[-1].end_ns + end,
            result=result_of(case, phases=phases),
        )

    def process(self, case: Case, block: int) -> Record:
        """Return a record of the probe ``process``."""
        wall = sum(self.spent(case).values()) / 1e9
        seconds = {"time_wall_clock": wall, "time_user": wall * 0.8, "time_system": wall * 0.15}
        tool: dict[str, Any] = {name: {"value": value, "unit": "second"} for name, value in seconds.items()}
        tool["memory_peak_resident"] = {"value": self.peak_mb[original(case)] * 1e6, "unit": "byte"}
        return record(case, "process", block, tool=[tool | {"exit_code": 0}])

    def latency(self, case: Case, block: int) -> Record:
        """Return a record of the probe ``latency``: of a live process if it is interleaved with others."""
        spent = self.spent(case)
        spent.pop("exit")
        samples, live = {}, self.group_size > 1
        if original(case) in self.warm_ms:
            warm_ns = self.warm_ms[original(case)] * MS * self.rng.lognormal(0, 0.01)
            warm = tuple(self.noisy(warm_ns, 0.04) for _ in range(self.warm))
            if live:
                warm = tuple(int(warm_ns * 2) for _ in range(WARM_UP)) + _drifting(warm, block)
            samples["inference"] = Timings(spent["inference"], self.noisy(warm_ns * 1.2), warm)
            pixels = tuple(self.noisy(3 * MS) for _ in range(len(warm)))
            samples["preprocess"] = Timings(spent["preprocess"], self.noisy(4 * MS), pixels)
        turned = (
            turned_of(group_size=self.group_size, warmup=WARM_UP, busy_threads=1, waiting_share=0.0) if live else None
        )
        result = result_of(case, phases=phases_of(spent, 0), samples=samples)
        return record(case, "latency", block, result=result, turned=turned)

    def counters(self, case: Case, block: int) -> Record:
        """Return a record of the probe ``counters``."""
        clock = sum(self.spent(case).values()) / 1e6
        return record(case, "counters", block, tool=perf_events(clock))

    def memory(self, case: Case, block: int) -> Record:
        """Return a record of the probe ``memory``."""
        peak = self.noisy(self.peak_mb[original(case)] * 1e6, 0.002)
        after = {name: int(peak * 0.7) for name in self.phases[original(case)] if name != "exit"}
        return record(case, "memory", block, result=result_of(case, memory=Memory(peak, after)))

    def accuracy(self, case: Case, block: int) -> Record:
        """Return a record of the probe ``accuracy``."""
        if original(case) not in self.warm_ms:
            return record(case, "accuracy", block, result=result_of(case))
        parity = [
            {
                "item": item,
                "max_abs_diff": 1e-5,
                "max_rel_diff": 1e-6 * (item + 1),
                "cosine": 0.999999,
                "top1_agrees": True,
                "input_max_diff": 1.0 if "rust" in original(case) else 0.0,
                "input_mean_diff": 0.01,
            }
            for item in range(3)
        ]
        return record(case, "accuracy", block, result=result_of(case), parity=parity)


def _drifting(times_ns: tuple[int, ...], block: int) -> tuple[int, ...]:
    """Return times on a machine whose speed is a random walk, shared by all live processes of a block."""
    steps = np.random.default_rng(block).normal(0, 0.1, len(times_ns))
    return tuple((np.array(times_ns) * np.exp(np.sin(np.cumsum(steps)) * 0.35)).astype(int).tolist())


def perf_events(clock_ms: float) -> list[dict[str, Any]]:
    """Return the output of ``perf stat -j`` on a virtual machine without hardware counters."""
    names = {"task-clock": f"{clock_ms:f}", "context-switches": "12.000000", "page-faults": "5000.000000"}
    names |= dict.fromkeys(("cycles", "instructions", "branches", "branch-misses"), "<not supported>")
    events: list[dict[str, Any]] = [
        {"counter-value": value, "unit": "", "event": name} for name, value in names.items()
    ]
    events[0] |= {"unit": "msec", "metric-value": 0.98, "metric-unit": "CPUs utilized"}
    return events


def capabilities_of(target: str) -> Capabilities:
    """Return the capabilities of a target; those called ``null-...`` compute nothing."""
    effective = effective_of(target, Settings())
    return Capabilities(
        protocol=(1,),
        runner=target,
        language="any",
        runtime=effective.runtime,
        version=effective.version,
        build=effective.build,
        computes=not target.startswith("null"),
    )


def run_of(cases: Sequence[Case], records: Sequence[Record], folder: Path | None = None) -> Run:
    """Return a run of these cases and records."""
    info = RunInfo(
        run_id="20261122-120000-synthetic",
        suite={"suite": {"name": "synthetic"}},
        suite_text='[suite]\nname = "synthetic"\n',
        cases=tuple(cases),
        capabilities={case.target: capabilities_of(case.target) for case in cases},
        models={"net": {"source": "test", "weights": "seeded:0", "sha256": {"onnx": "ab" * 32, "pt": "cd" * 32}}},
        machine={"cpu": "Test CPU", "cores_allowed": 2, "virtualised": True, "system": "Linux", "kernel": "6.1"},
        tools={"hyperfine": "2.0.0", "perf": None, "runoff": "0.1.0"},
        seed=1,
        environments={case.target: {} for case in cases},
        started="2026-11-22T12:00:00Z",
        finished="2026-11-22T12:10:00Z",
        elapsed_ns=600_000 * MS,
        measured_ns=540_000 * MS,
        paused_ns=30_000 * MS,
    )
    return Run(folder or Path("results/synthetic"), info, tuple(records))


def synthetic_run(
    folder: Path | None = None,
    *,
    targets: Sequence[str] = tuple(PHASES),
    profiles: Sequence[str] = ("default", "cold"),
    batches: Sequence[int] = (1,),
    blocks: int = 10,
    warm: int = 60,
    seed: int = 1,
    live: bool = False,
) -> Run:
    """Return a complete run, with an unavailable target (``coreml``).

    A `live` run has an A/A control in every comparison, and interleaved processes on a drifting machine.
    """
    maker = Maker(seed, warm, group_size=len(targets) + 1 if live else 1)
    cases = [
        case_of(name, profile=profile, batch=batch, control_of=control_of)
        for profile in profiles
        for batch in batches
        for name, control_of in [
            *((target, None) for target in targets),
            *([(CONTROL, "ort-python")] if live and "ort-python" in targets else []),
        ]
    ]
    records = [
        getattr(maker, probe)(case, block)
        for case in cases
        for probe in PROBES
        for block in range(1 if probe == "accuracy" else blocks)
    ]
    reason = Reason("not-installed", "CoreML runs on macOS only", "run this suite on a Mac")
    cases.append(case_of("coreml", skipped=reason))
    return run_of(cases, records, folder)
