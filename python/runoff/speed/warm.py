"""Warm inferences of processes that live side by side and take turns in short blocks.

Two processes of one program differ by some tenths of a percent for their whole life (memory layout), so every round
starts a fresh set of them.
"""

from __future__ import annotations

import json
from statistics import median
from typing import TYPE_CHECKING

from runoff.probes.base import Probe
from runoff.processes import describe_exit
from runoff.records.protocol import Turns
from runoff.records.reason import Reason
from runoff.speed.candidates import NotMeasuredError
from runoff.speed.programs import TIMEOUT_S, Bench, Programs, noting, shuffled
from runoff.speed.ratios import Group

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runoff.processes import Live
    from runoff.speed.candidates import Candidate
    from runoff.speed.ratios import Unit

TURNS, TURN = 60, "0 0 0 0"
"""Turns of each process in a round, and what is asked for in one: the one photo again and again, some tens of
milliseconds together."""
WARM = Probe(name="turns", summary="inferences of live processes that take turns", measure=Turns(warmup=20))


class Warm:
    """A unit is a set of processes, a value the median inference of a turn."""

    def __init__(self, bench: Bench, names: Iterable[str]) -> None:
        self.group = Group(unit="ns")
        self._programs = Programs(bench, "default", names, self.group)
        self.versions = self._programs.versions
        self._bench = bench

    def measure(self, turn: int) -> None:
        """Add a set of processes."""
        live: dict[str, tuple[Candidate, Live]] = {}
        for name, candidate in self._programs.ready(f"warm.{turn}"):
            with noting(self.group, name):
                live[name] = candidate, self._start(name, candidate)
        unit: Unit = {name: [] for name in live}
        for block in range(TURNS):
            for name in shuffled((name for name in live if name not in self.group.reasons), f"warm.{turn}.{block}"):
                with noting(self.group, name):
                    unit[name].append(_inference(live[name][1]))
        for name, (candidate, process) in live.items():
            ended = process.close(TIMEOUT_S)
            if name not in self.group.reasons:
                with noting(self.group, name):
                    candidate.check(ended, self._bench.scratch / name, watched=False)
        self.group.units.append({name: values for name, values in unit.items() if name not in self.group.reasons})

    def _start(self, name: str, candidate: Candidate) -> Live:
        """Return a process that is warm and waits."""
        argv = candidate.command(self._programs.folder(name), WARM)
        process = self._bench.spawner.start(argv, candidate.environment())
        if process.ask("", TIMEOUT_S) != "ready\n":
            candidate.check(process.close(TIMEOUT_S), self._bench.scratch / name, watched=False)
            raise NotMeasuredError(Reason("garbage", "it does not say that it is ready for turns"))
        return process


def _inference(process: Live) -> float:
    """Return the median inference of a turn in ns."""
    answer = process.ask(f"{TURN}\n", TIMEOUT_S)
    if not answer:
        raise NotMeasuredError(Reason("crashed", f"it {describe_exit(process.close(TIMEOUT_S))} within a turn"))
    return float(median(json.loads(answer)["inference"]))
