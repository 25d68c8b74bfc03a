"""Cases of an ordinary run that are added while it is measured."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from runoff.analysis.metric_samples import MetricSamples, pair
from runoff.measure.execute import FAILED, measure_block
from runoff.measure.machine import variables_that_matter
from runoff.probes import PROBES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from runoff.adaptive.objective import Objective
    from runoff.measure.execute import Listener
    from runoff.measure.job import ExecutionContext
    from runoff.plan.target import TargetInfo
    from runoff.probes.base import Probe
    from runoff.records.files import RunWriter
    from runoff.records.schema import Case, Record


class Lab:
    """Adds cases to the run that `writer` writes, and measures blocks of them; `objectives` are kept."""

    def __init__(
        self,
        context: ExecutionContext,
        writer: RunWriter,
        listener: Listener,
        probes: Sequence[Probe],
        objectives: Sequence[Objective],
    ) -> None:
        self.block = 0
        """Number of blocks so far."""
        self._targets = dict(context.targets)
        self._context = msgspec.structs.replace(context, targets=self._targets)
        self._writer, self._listener = writer, listener
        self._probes = {probe.name: probe for probe in probes}
        self._objectives = objectives
        self._cases: dict[str, Case] = {}
        self._done: list[Record] = []
        self._values: defaultdict[tuple[str, str], dict[int, NDArray[np.float64]]] = defaultdict(dict)
        """By objective and case: the samples of each block."""
        self._failures: dict[str, str] = {}

    def add(self, cases: Sequence[tuple[Case, TargetInfo]]) -> None:
        """Add cases to the run, each with its target, and compare their outputs with the references."""
        info = self._writer.info
        for case, target_info in cases:
            self._cases[case.id] = case
            self._targets[case.target] = target_info
            if target_info.capabilities:
                info.capabilities[case.target] = target_info.capabilities
            info.environments[case.target] = variables_that_matter(target_info.target.environment())
        info.cases = tuple(self._cases.values())
        self._writer.save_info()
        self.run([case for case, _ in cases], "accuracy", 0)

    def has(self, case: Case) -> bool:
        """Return whether a case was added."""
        return case.id in self._cases

    def run(self, cases: Sequence[Case], probe: str, block: int) -> None:
        """Measure a block of `probe`, with fresh processes."""
        made = measure_block(self._context, cases, self._probes[probe], block, self._done, self._writer, self._listener)
        self._done += made
        for record in made:
            if record.status in FAILED:
                self._failures[record.case] = str(record.reason)
            for objective in self._objectives:
                if record.status == "ok" and probe in objective.metrics:
                    values = objective.values(record, self._cases[record.case], self._writer.info.meters)
                    if len(values):
                        self._values[objective.name, record.case][block] = values

    def failure_of(self, case: Case) -> str:
        """Return the reason if a case failed; empty if it did not."""
        return self._failures.get(case.id, "")

    def samples(self, objective: Objective, case: Case, since: int = 0) -> MetricSamples:
        """Return the samples of a case from block `since` on."""
        blocks = {block: values for block, values in self._values[objective.name, case.id].items() if block >= since}
        return MetricSamples("", tuple(blocks.values()), tuple(blocks))

    def logs_of(self, objective: Objective, over: Case, under: Case, since: int = 0) -> list[NDArray[np.float64]]:
        """Return the logarithms of over / under of each block from `since` on, shape ``(pairs,)``."""
        together = range(since, self.block) if PROBES[objective.probe].engine == "interleaved" else ()
        return pair(self.samples(objective, under, since), self.samples(objective, over, since), together)
