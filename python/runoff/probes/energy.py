"""``energy``: joules of a whole process and of an inference, with what the idle machine draws taken off."""

from __future__ import annotations

from runoff.probes.base import Probe
from runoff.records.protocol import Once

ENERGY = Probe(
    name="energy",
    summary="joules and watts of a whole process and of an inference, idle subtracted (RAPL, NVML, Apple's counters)",
    measure=Once(),
)
