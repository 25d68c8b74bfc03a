"""The probes: one file each, in the order of their passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff.probes.accuracy import ACCURACY
from runoff.probes.counters import COUNTERS
from runoff.probes.energy import ENERGY
from runoff.probes.latency import latency
from runoff.probes.life import LIFE
from runoff.probes.memory import MEMORY
from runoff.probes.process import PROCESS

if TYPE_CHECKING:
    from runoff.plan.suite import LatencyOptions
    from runoff.probes.base import Probe


def passes(minima: LatencyOptions) -> tuple[Probe, ...]:
    """Return all probes; each is a pass of its own over the cases."""
    return (ACCURACY, PROCESS, LIFE, latency(minima), MEMORY, COUNTERS, ENERGY)
