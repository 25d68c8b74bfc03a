"""The probes, one file each. A new one is a file here and a line in `PROBES`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from runoff.probes import accuracy, counters, energy, latency, life, load, mappings, memory, operators, process

if TYPE_CHECKING:
    from runoff.probes.base import Probe

PROBES: dict[str, Probe] = {
    probe.name: probe
    for probe in (
        accuracy.ACCURACY,
        process.PROCESS,
        life.LIFE,
        latency.LATENCY,
        memory.MEMORY,
        counters.COUNTERS,
        energy.ENERGY,
        operators.OPERATORS,
        mappings.MAPPINGS,
        load.LOAD,
    )
}
"""By name, in the order of their passes over the cases."""


def is_interleaved(name: str) -> bool:
    """Return whether the probe called `name` interleaves live processes."""
    return name in PROBES and PROBES[name].engine == "interleaved"


def configured_probes(measure: object) -> tuple[Probe, ...]:
    """Return all probes, set up by the tables in the suite's ``[measure]``."""
    return tuple(
        replace(probe, measure=probe.configure(getattr(measure, probe.name))) if probe.configure else probe
        for probe in PROBES.values()
    )
