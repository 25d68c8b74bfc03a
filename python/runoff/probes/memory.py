"""``memory``: resident memory by phase and its peak, read by the process itself (``VmRSS``, ``VmHWM``).

A runner in a browser reports the sum over all its processes, and runoff its distance from that of an empty page.

On NVIDIA's GPUs also the peak of their memory, by NVML: see `runoff.measure.device_memory`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff.probes.base import Probe, Sample, Shortfall
from runoff.records.protocol import Once

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runoff.records.schema import DeviceMemory, MeterInfo, Record

DEVICE_PEAK = "device.peak_memory"
"""Peak memory of a process on NVIDIA's GPUs."""
OVER_PAGE = "over_page"
"""Peak memory of a browser, less that with an empty page."""
_PAGE = "page"
"""Phase at whose end the page is open and empty."""


def _read(record: Record, _meters: Sequence[MeterInfo]) -> Iterator[Sample]:
    if record.device_memory and record.device_memory.peak_bytes is not None:
        yield Sample(DEVICE_PEAK, "bytes", record.device_memory.peak_bytes)
    memory = record.result.memory if record.result else None
    if memory is None:
        return
    if memory.peak_bytes is not None:
        yield Sample("peak_memory", "bytes", memory.peak_bytes)
        if _PAGE in memory.after:
            yield Sample(OVER_PAGE, "bytes", memory.peak_bytes - memory.after[_PAGE])
    for phase, resident in memory.after.items():
        yield Sample("resident", "bytes", resident, phase)


def _on_device(records: Sequence[Record]) -> list[DeviceMemory]:
    return [record.device_memory for record in records if record.device_memory]


def _shortfalls(records: Sequence[Record], _meters: Sequence[MeterInfo]) -> Iterator[Shortfall]:
    watched = _on_device(records)
    if watched and all(memory.peak_bytes is None for memory in watched):
        yield Shortfall(DEVICE_PEAK, "bytes", watched[0].reason)


def _notes(records: Sequence[Record], _meters: Sequence[MeterInfo]) -> dict[str, str]:
    methods = dict.fromkeys(memory.how for memory in _on_device(records) if memory.peak_bytes is not None)
    notes = {DEVICE_PEAK: f"NVML: {'; '.join(methods)}"} if methods else {}
    found = (record.result.memory.method for record in records if record.result and record.result.memory)
    own = dict.fromkeys(filter(None, found))
    return notes | (dict.fromkeys(("peak_memory", OVER_PAGE), "; ".join(own)) if own else {})


MEMORY = Probe(
    name="memory",
    summary="resident memory after each phase, and its peak",
    measure=Once(memory=True),
    blocks=3,
    watches_device=True,
    headline=("peak_memory", "bytes"),
    main_metrics=("peak_memory",),
    aliases={"peak": "peak_memory"},
    read=_read,
    shortfalls=_shortfalls,
    notes=_notes,
)
