"""Figures of a run beside those of the published tables A to E, row by row."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Any

import pandas as pd

from runoff.records.files import SUMMARY, read_info
from runoff.report.text import figure_of, full

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

WALL, WARM, PEAK = ("process", "wall"), ("latency", "inference.warm"), ("memory", "peak_memory")
FIRST = ("life", "inference")
REGNET = "regnet_x_400mf.classify"
GEOMETRIC = "geometric"
RUSTNN = "webnn-compute"
BATCHES = {
    ("torch", 1): "about 15 ms",
    ("torch", 4): "about 25 ms",
    ("torch", 8): "about 35 ms",
    ("torch", 16): "about 50 ms",
    ("torch", 32): "84 to 88 ms",
    ("ort-python", 1): "3.47 to 4.77 ms",
    ("ort-web-webgl", 1): "26.76 ms",
}
"""Table A, EfficientNet-B0: time of a batch by target and batch, on an M2 Max (its GPU, Core ML, WebGL in Chrome)."""
RUNS = {("torch", 1): "28.01 ms"}
"""Table B, MobileNetV2: mean of 100 runs on an M2; Core ML, not on this machine, took 0.49 ms."""
GRAPHS = {
    "layers_10x2": (
        ("ONNX CPU", "72.0 ms", "24.8 ms", "24.8 ms"),
        ("Core ML", "24.5 ms", "24.5 ms", "24.1 ms"),
        ("Core ML, low power", "133.3 ms", "61.0 ms", "59.3 ms"),
        ("Core ML, high performance", "23.8 ms", "23.9 ms", "23.9 ms"),
    ),
    "layers_50x4": (("backend not named", "63.77 ms", "19.95 ms", "19.00 ms"),),
    "mobilenet_v2": (
        ("ONNX CPU", "71.65 ms", "", "71.65 ms (expected)"),
        ("ONNX GPU", "44.49 ms", "", "44.49 ms (expected)"),
        ("Core ML", "11,093 ms", "", "50 to 100 ms (expected)"),
    ),
}
"""Table D: first, second and warm inference of rustnn 0.2.0, by model and backend, on Apple silicon."""
SEGMENTED = (
    ("sam_vit_h", "published: PyTorch on a GPU with CUDA", "4.17 s", "129.74 s", "5"),
    (
        "sam_vit_h",
        "published: ONNX Runtime on the CPU",
        "2.87 s",
        "failed: the decoder takes four inputs, not six",
        "0",
    ),
)
"""Table C: initialisation, inference and masks of Segment Anything, on a 512 x 512 geometric picture."""
PROCESS = (
    ("start to exit", "process", "wall", ("3,214 ms", "262.3 ms", "91.4 ms")),
    ("user", "process", "user", ("3,863 ms", "1,433.6 ms", "272.9 ms")),
    ("system", "process", "system", ("425 ms", "88.7 ms", "56.4 ms")),
    ("cycles", "counters", "cycles", ("15.80 billion", "6.11 billion", "1.20 billion")),
    ("instructions", "counters", "instructions", ("13.73 billion", "3.54 billion", "0.98 billion")),
    ("instructions per cycle", "counters", "ipc", ("0.87", "0.58", "0.81")),
    ("CPUs used", "counters", "cpus_utilised", ("1.385", "5.653", "3.548")),
    ("page faults", "counters", "page_faults", ("89,963", "28,474", "15,967")),
    ("context switches", "counters", "context_switches", ("275", "347", "160")),
    ("migrations", "counters", "migrations", ("16", "15", "21")),
    ("peak memory", "memory", "peak_memory", ("221 MB", "53 MB", "47.9 MB (allocations)")),
)
"""Table E, RegNetX-400MF, from an image to a label: PyTorch, ONNX Runtime from Python and from Rust."""
LEVELS = {(4, "all"): "260.4 ms", (4, "disable"): "234.4 ms", (8, "disable"): "228.8 ms"}
"""Table E: a whole Rust process, including the time of ``cargo run``, by threads and graph level."""


class Lines:
    """The summary of a run, or of a published run, by case, probe and metric."""

    def __init__(self, folder: Path) -> None:
        self.info = read_info(folder)
        self.report = (folder / "report.md").read_text(encoding="utf-8")
        self.cores = int(self.info.machine["cores_allowed"])
        self._lines: dict[tuple[str, str, str], list[dict[Any, Any]]] = {}
        for line in pd.read_csv(folder / SUMMARY).to_dict("records"):
            self._lines.setdefault((line["case"], line["probe"], line["metric"]), []).append(line)

    def value(self, case: str, metric: tuple[str, str]) -> dict[Any, Any] | None:
        """Return the line of a case's number; None if it was not measured."""
        found = self._lines.get((case, *metric), [])
        return found[0] if found and not isnan(found[0]["estimate"]) else None

    def ratio(self, case: str, metric: tuple[str, str], baseline: str) -> dict[Any, Any] | None:
        """Return the line with the ratio of a case to the target `baseline`; None without an interval."""
        found = [one for one in self._lines.get((case, *metric), []) if one["baseline"] == baseline]
        return found[0] if found and not isnan(found[0]["ratio_low"]) else None


def between(first: dict[Any, Any] | None, second: dict[Any, Any] | None) -> tuple[float, float, float] | None:
    """Return how many times `second` `first` is, with the widest bounds that both intervals allow."""
    if first is None or second is None:
        return None
    return first["estimate"] / second["estimate"], first["low"] / second["high"], first["high"] / second["low"]


def times(line: dict[Any, Any]) -> str:
    """Return a ratio with its interval."""
    return f"{line['ratio']:.2f}x ({line['ratio_low']:.2f} to {line['ratio_high']:.2f})"


def number(line: dict[Any, Any] | None, items: int = 1) -> str:
    """Return a value, of one of `items`, with its interval."""
    if line is None:
        return "not measured"
    return full(figure_of({**line, **{name: line[name] / items for name in ("estimate", "low", "high")}}))


def batches(lines: Lines, model: str, published: dict[tuple[str, int], str]) -> Iterator[Sequence[str]]:
    """Yield a row for each target, number of threads and batch of `model`: published, ours, ours for an item.

    Where an inference takes seconds, only the first was measured.
    """
    cases = [case for case in lines.info.cases if case.model == model and case.workload == "tensor"]
    for case in sorted(cases, key=lambda case: (case.settings.threads, case.target, case.settings.batch)):
        warm, first = lines.value(case.id, WARM), lines.value(case.id, FIRST)
        found = warm or first
        if found is None or case.control_of or case.settings.precision != "fp32":
            continue
        threads, batch = case.settings.threads, case.settings.batch
        ours, per_item, rate = number(found), number(found, batch), f"{batch * 1e9 / found['estimate']:,.1f}"
        note = "" if warm else "the first: "
        yield (
            case.target,
            str(threads),
            str(batch),
            published.get((case.target, batch), ""),
            note + ours,
            per_item,
            rate,
        )


def graphs(lines: Lines) -> Iterator[Sequence[str]]:
    """Yield the rows of table D: the published ones of each model, then ours."""
    for model, published in GRAPHS.items():
        for backend, *figures in published:
            yield model, f"published: {backend}", *figures
        for case in lines.info.cases:
            found = [lines.value(case.id, ("latency", f"inference.{part}")) for part in ("first", "second", "warm")]
            if case.model == model and case.control_of is None and any(found):
                yield model, case.target, *map(number, found)


def segmented(lines: Lines) -> Iterator[Sequence[str]]:
    """Yield the rows of table C: the published ones, then ours, with peak memory.

    Of the largest model, only the first inference was measured.
    """
    for row in SEGMENTED:
        yield *row, ""
    for case in lines.info.cases:
        if case.workload == "segment" and case.example == GEOMETRIC and not (case.control_of or case.segment):
            names = [word for word in case.variant if not word.startswith("example-")]
            warm, metrics = lines.value(case.id, WARM), (("life", "load"), FIRST, ("accuracy", "masks_kept"), PEAK)
            load, first, kept, peak = (lines.value(case.id, metric) for metric in metrics)
            inference = number(warm) if warm else f"the first: {number(first)}"
            yield (
                case.model,
                ", ".join([case.target, *names]),
                number(load),
                inference,
                f"{kept['estimate']:.0f}" if kept else "",
                number(peak),
            )


def processes(lines: Lines) -> Iterator[Sequence[str]]:
    """Yield the rows of table E: each number as published and ours, on one thread and on all."""
    for name, probe, metric, published in PROCESS:
        for target, theirs in zip(("torch", "ort-python", "ort-rust"), published, strict=True):
            cases = [f"{REGNET}.{target}.default.t{threads}.b1" for threads in (lines.cores, 1)]
            yield name, target, theirs, *(number(lines.value(case, (probe, metric))) for case in cases)


def levels(lines: Lines) -> Iterator[Sequence[str]]:
    """Yield whole Rust processes by threads and graph level, as published and ours."""
    for case in lines.info.cases:
        found = lines.value(case.id, WALL)
        level = case.settings.optimization
        if case.id.startswith(f"{REGNET}.ort-rust.default.") and level and found and case.control_of is None:
            yield str(case.settings.threads), level, LEVELS.get((case.settings.threads, level), ""), number(found)


def tables(lines: Lines) -> Iterator[tuple[str, Sequence[str], list[Sequence[str]]]]:
    """Yield heading, column names and rows of each published table that the run has figures for."""
    batch = ("target", "threads", "batch", "published, a batch", "here, a batch", "here, an item", "items per second")
    models = {case.model for case in lines.info.cases}
    targets = {case.target for case in lines.info.cases}
    if "efficientnet_b0" in models:
        yield "A: EfficientNet-B0, warm inference", batch, [*batches(lines, "efficientnet_b0", BATCHES)]
    if "mobilenet_v2" in models and targets.isdisjoint((RUSTNN, "ort-web-wasm")):
        yield "B: MobileNetV2, warm inference", batch, [*batches(lines, "mobilenet_v2", RUNS)]
    if RUSTNN in targets:
        head: tuple[str, ...] = ("model", "target", "first inference", "second", "warm")
        yield "D: WebNN through rustnn", head, [*graphs(lines)]
    if "segment" in {case.workload for case in lines.info.cases}:
        head = ("model", "target", "initialisation", "inference", "masks kept", "peak memory")
        yield "C: Segment Anything, everything in a 512 x 512 picture", head, [*segmented(lines)]
    if lines.value(f"{REGNET}.torch.default.t1.b1", ("counters", "page_faults")):
        head = ("", "target", "published", f"here, {lines.cores} threads", "here, 1 thread")
        yield "E: RegNetX-400MF, one image, whole process", head, [*processes(lines)]
        yield "E: by threads and graph level", ("threads", "level", "published", "here"), [*levels(lines)]
