"""``latency``: isolated inference inside a live process: first, second, then warm ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff.probes.base import Probe
from runoff.records.protocol import Latency, Turns

if TYPE_CHECKING:
    from runoff.plan.suite import LatencyOptions


def latency(minima: LatencyOptions) -> Probe:
    """Return the probe with the minima that the suite asks for."""
    measure = Latency(min_samples=minima.min_samples, min_ns=round(minima.min_time_s * 1e9), warmup=minima.warmup)
    return Probe(name="latency", summary="inference in a live process: first, second and warm", measure=measure)


def turns(warmup: int) -> Probe:
    """Return the same probe for a runner that is asked turn by turn; `warmup` inferences come before the first."""
    return Probe(name="latency", summary="inference in live processes that take turns", measure=Turns(warmup=warmup))
