"""``life``: where a process spends its life, from spawn to exit, by the runner's stamps and the spawner's."""

from __future__ import annotations

from runoff.probes.base import Probe
from runoff.records.protocol import Once

LIFE = Probe(
    name="life",
    summary="phases of a process from spawn to exit, which add up to its wall time",
    measure=Once(),
)
