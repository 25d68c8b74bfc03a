"""``life``: the phases of a process from spawn to exit, by the runner's stamps and the spawner's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from runoff.probes.base import Probe, Sample, durations
from runoff.probes.latency import SEGMENT_PARTS
from runoff.records.protocol import Once

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runoff.records.schema import MeterInfo, Record


class PhaseBreakdown(Struct, frozen=True):
    """The time of one process, by phase."""

    phases: dict[str, int]
    """Nanoseconds by phase, in order of time, ``exit`` last."""
    unaccounted_ns: int
    """Time between spawn and exit that belongs to no phase."""
    whole_ns: int


def phase_breakdown(record: Record) -> PhaseBreakdown:
    """Return the phases of the process of a record.

    Raises
    ------
    ValueError
        If the record has no runner's result.
    """
    if record.result is None:
        raise ValueError(f"record of {record.case} in block {record.block} has no result")
    phases = durations(record.result.phases)
    whole = record.exit_ns - record.spawn_ns
    if record.result.phases:
        phases["exit"] = record.exit_ns - record.result.phases[-1].end_ns
    return PhaseBreakdown(phases, whole - sum(phases.values()), whole)


def _read(record: Record, _meters: Sequence[MeterInfo]) -> Iterator[Sample]:
    if record.result is None:
        return
    spent = phase_breakdown(record)
    parts = spent.phases | {"unaccounted": spent.unaccounted_ns, "whole": spent.whole_ns}
    # parts of the inference, not phases
    parts |= {part: record.result.samples[part].first_ns for part in SEGMENT_PARTS if part in record.result.samples}
    for phase, ns in parts.items():
        yield Sample("duration", "ns", ns, phase)


LIFE = Probe(
    name="life",
    summary="phases of a process from spawn to exit, which add up to its wall time",
    measure=Once(),
    blocks=5,
    sampled=True,
    headline=("whole", "ns"),
    timed="life",
    repeats="process",
    main_metrics=("whole",),
    read=_read,
)
