"""A synthetic run of thirteen targets and four models: some pairs did not run, or computed something else."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
from synthetic import CONTROL, MS, PROBES, Maker, case_of, run_of

from runoff.analysis.analyse import Analysis, analyse
from runoff.analysis.validity import DISAGREES
from runoff.records.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from runoff.records.schema import Case, Record, Run

TARGETS = {
    "torch": (1200, 31.0, 620),
    "torch-export": (1500, 30.0, 600),
    "torch-compile": (9000, 12.0, 900),
    "ort-python": (218, 9.3, 116),
    "ort-rust": (86, 9.1, 79),
    "ort-pyo3": (182, 9.35, 109),
    "capi-rust": (88, 9.15, 70),
    "ort-node": (250, 9.2, 165),
    "ort-node-wasm": (420, 33.0, 190),
    "openvino-python": (330, 7.9, 210),
    "tract-rust": (95, 14.0, 62),
    "rten": (84, 12.5, 58),
    "executorch": (410, 10.5, 130),
}
"""By target: milliseconds of a process, of a warm inference, and megabytes."""
MODELS = {"efficientnet-lite0": 1.0, "mobilenet_v2": 0.8, "regnet_x_400mf": 1.2, "vit_b_16": 6.0}
"""By model: the factor of its times."""
PROFILES = {"default": 1.0, "cold": 0.6, "latency": 1.1}
"""By profile: the factor of the time of a process."""
UNSUPPORTED = Reason(
    "model-unsupported", "rten: operator LayerNormalization of opset 17 is not implemented by this engine"
)
WRONG = Reason(DISAGREES, "outputs differ from the reference by 0.31 of the largest output (limit 0.05)")
CRASHED = Reason("crashed", "the runner ended with signal 11", "see its log")
ABSENT = Reason("needs-macos", "Core ML runs on macOS only", "run: nox -s bench, on a Mac")


def _maker(seed: int, factor: float, profile: str, threads: int, warm: int) -> Maker:
    maker = Maker(seed, warm, group_size=len(TARGETS) + 1)
    maker.phases, maker.warm_ms, maker.peak_mb = {}, {}, {}
    for name, (whole, inference, peak) in TARGETS.items():
        call = inference * factor * (0.6 if threads > 1 else 1)
        rest = whole * PROFILES[profile]
        parts = {"start": 2.0, "imports": 0.5 * rest, "load": 0.4 * rest, "preprocess": 3.0, "inference": call}
        maker.phases[name] = parts | {"output": 0.3, "exit": 0.1 * rest}
        maker.warm_ms[name], maker.peak_mb[name] = call, peak
    return maker


def _cases(model: str, profile: str, threads: int) -> Iterator[Case]:
    for target in TARGETS:
        skipped = UNSUPPORTED if (target, model) == ("rten", "vit_b_16") else None
        yield case_of(target, skipped=skipped, model=model, profile=profile, threads=threads)
    yield case_of(CONTROL, control_of="ort-python", model=model, profile=profile, threads=threads)
    yield case_of("coreml", skipped=ABSENT, model=model, profile=profile, threads=threads)


def _failure(case: Case, record: Record) -> Record:
    """Return the record as it is, or of a case that is wrong or crashed."""
    if (case.target, case.model) == ("tract-rust", "regnet_x_400mf"):
        return msgspec.structs.replace(record, status="error", reason=WRONG)
    if (case.target, case.model, case.settings.profile) == ("executorch", "mobilenet_v2", "latency"):
        return msgspec.structs.replace(record, status="error", reason=CRASHED, result=None, tool=[])
    return record


def many_targets(
    folder: Path | None = None,
    *,
    models: Sequence[str] = tuple(MODELS),
    profiles: Sequence[str] = tuple(PROFILES),
    threads: Sequence[int] = (1, 2),
    blocks: int = 6,
    warm: int = 20,
) -> Run:
    """Return the run."""
    cases: list[Case] = []
    records: list[Record] = []
    for place, (model, profile, count) in enumerate((m, p, t) for m in models for t in threads for p in profiles):
        maker = _maker(place, MODELS[model], profile, count, warm)
        made = list(_cases(model, profile, count))
        cases += made
        for case in made:
            for probe in PROBES if case.skipped is None else ():
                count_of = 1 if probe == "accuracy" else blocks
                records += [_failure(case, getattr(maker, probe)(case, block)) for block in range(count_of)]
    run = run_of(cases, records, folder)
    models_of: dict[str, Any] = dict.fromkeys(models, run.info.models["net"])
    run.info.models, run.info.elapsed_ns = models_of, 600_000 * MS
    return run


@cache
def analysis_of_many() -> Analysis:
    """Return the analysis of two models and two profiles, on one thread."""
    models, profiles = ("regnet_x_400mf", "vit_b_16"), ("default", "cold")
    return analyse(many_targets(models=models, profiles=profiles, threads=(1,), blocks=5, warm=8))
