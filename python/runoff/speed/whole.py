"""Whole processes: a block is one process of each candidate, in random order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff.probes.memory import MEMORY
from runoff.records.reason import Reason
from runoff.speed.candidates import NotMeasuredError
from runoff.speed.programs import TIMEOUT_S, Bench, Programs, noting
from runoff.speed.ratios import Group

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runoff.probes.base import Probe
    from runoff.speed.candidates import Candidate
    from runoff.speed.ratios import Unit

PROCESS_BLOCKS, MEMORY_BLOCKS = 8, 2
"""Blocks in a round."""
SLOW, SLOW_EVERY = "torch", 4
"""It takes as long as seventy of the others, so it takes part in every fourth block only."""


class Whole:
    """Wall time as hyperfine sees it, or with the probe `memory` the peak that the process itself reads."""

    def __init__(self, bench: Bench, profile: str, names: Iterable[str], probe: Probe) -> None:
        self.group = Group(unit="bytes" if probe is MEMORY else "ns")
        self._programs = Programs(bench, profile, names, self.group)
        self.versions = self._programs.versions
        self._bench = bench
        self._probe = probe
        self._blocks = MEMORY_BLOCKS if probe is MEMORY else PROCESS_BLOCKS
        self._seed = f"{probe.name}.{profile}"

    def measure(self, turn: int) -> None:
        """Add the blocks of a round."""
        for block in range(self._blocks):
            unit: Unit = {}
            for name, candidate in self._programs.ready(f"{self._seed}.{turn}.{block}"):
                if name != SLOW or block % SLOW_EVERY == 0:
                    with noting(self.group, name):
                        unit[name] = [self._one(name, candidate)]
            self.group.units.append(unit)

    def _one(self, name: str, candidate: Candidate) -> float:
        """Return what one process took."""
        scratch, tool = self._programs.folder(name), self._probe.tool
        argv = candidate.command(scratch, self._probe)
        if tool:
            argv = tool.wrap(str(tool.find()), argv, scratch)
        finished = self._bench.spawner.run(argv, candidate.environment(), TIMEOUT_S)
        result = candidate.check(finished, scratch, watched=tool is not None)
        if tool:
            return round(float(tool.read(scratch)[0]["time_wall_clock"]["value"]) * 1e9)
        if result is None or result.memory is None or not result.memory.peak_bytes:
            raise NotMeasuredError(Reason("garbage", "its result names no peak memory"))
        return result.memory.peak_bytes
