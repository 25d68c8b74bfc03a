"""GPUs with dedicated memory: the copies and the computation of an inference, and its peak memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runoff.probes.memory import DEVICE_PEAK
from runoff.report.text import figure_or_reason, finite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runoff.analysis.analyse import Analysis
    from runoff.records.schema import Run

PARTS = {"copy_in.warm": "copy in", "compute.warm": "compute", "copy_out.warm": "copy out"}
HEAD = ("case", *PARTS.values(), "GPU memory", "method", "GPU")
NOTE = """\
Warm inferences, from arrays on the host to arrays on the host, in parts: the copy to the GPU's memory, the computation,
and the copy back; each part ends when the GPU has finished it. GPU memory is the peak that NVIDIA's NVML reports during
a separate, untimed process; it includes CUDA's context. Details: docs/cuda.md."""


def rows(analysis: Analysis) -> Iterator[list[str]]:
    """Yield the rows of the table under `HEAD`: one for each case that was measured on such a GPU."""
    shown = {("latency", name) for name in PARTS} | {("memory", DEVICE_PEAK)}
    lines: dict[str, dict[str, dict[Any, Any]]] = {}
    for line in analysis.summary.to_dict("records"):
        if (line["probe"], line["metric"]) in shown:
            lines.setdefault(line["case"], {})[line["metric"]] = line
    devices = _devices(analysis.run)
    for case, found in lines.items():
        memory = found.get(DEVICE_PEAK, {})
        how = memory.get("reason", "") if finite(memory.get("estimate")) is not None else ""
        yield [
            case,
            *(figure_or_reason(found.get(name)) for name in (*PARTS, DEVICE_PEAK)),
            how,
            devices.get(case, "not reported"),
        ]


def _devices(run: Run) -> dict[str, str]:
    """Return, by case, the GPUs that its runner reported."""
    named: dict[str, dict[str, None]] = {}
    for record in run.records:
        if record.result and record.result.effective and record.result.effective.device:
            named.setdefault(record.case, {})[record.result.effective.device] = None
    return {case: ", ".join(names) for case, names in named.items()}


def software(run: Run) -> dict[str, str]:
    """Return, by case, the GPU that its runner reported, if that is emulated on the CPU."""
    return {case: names for case, names in _devices(run).items() if "(software)" in names}


def lines(analysis: Analysis) -> list[str]:
    """Return a sentence for each row, for the terminal."""
    sentences = []
    for case, *cells in rows(analysis):
        parts = ", ".join(f"{name} {cell}" for name, cell in zip(HEAD[1:5], cells, strict=False) if cell)
        sentences.append(f"on the GPU: {case}: {parts}")
    return sentences
