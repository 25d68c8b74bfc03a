"""Measures candidates as cases of an ordinary run: a candidate is a target of its own name, with other settings."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from runoff.analysis.metric_samples import MetricSamples, pair
from runoff.measure.execute import FAILED, measure_block
from runoff.probes import PROBES
from runoff.statistics import Estimate, median
from runoff.tune.space import applied, name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from runoff.measure.execute import Listener
    from runoff.measure.job import ExecutionContext
    from runoff.probes.base import Probe
    from runoff.records.files import RunWriter
    from runoff.records.schema import Case, Record
    from runoff.tune.objective import Limit, Objective
    from runoff.tune.race import Logs
    from runoff.tune.space import Candidate

LIMIT_BLOCKS = 3
"""Processes of each candidate that are measured for a limit on what another probe measures."""


class RunLab:
    """A `runoff.tune.search.Lab` on the run that `writer` writes.

    `cases` are the default, its A/A control, and the default with the file that was prepared, if there is one.
    """

    def __init__(
        self,
        context: ExecutionContext,
        writer: RunWriter,
        listener: Listener,
        cases: tuple[Case, Case, Case | None],
        objective: Objective,
        limits: Sequence[Limit],
        probes: dict[str, Probe],
        budget_s: float,
    ) -> None:
        self.default, self.control, self._prepared = cases
        self.block = 0
        self._targets = dict(context.targets)
        self._context = msgspec.structs.replace(context, targets=self._targets)
        self._writer, self._listener = writer, listener
        self._objective, self._limits, self._probes = objective, limits, probes
        self._cases: dict[str, Case] = {}
        self._done: list[Record] = []
        self._values: defaultdict[tuple[str, str], dict[int, NDArray[np.float64]]] = defaultdict(dict)
        """By objective and case: the samples of each block."""
        self._failures: dict[str, str] = {}
        self._began, self._budget_s = time.monotonic(), budget_s
        self._admit([self.default])

    def case(self, candidate: Candidate) -> Case:
        """Return the case of a candidate, which need not be measured yet."""
        target = name_of(self.default.target, candidate)
        settings = applied(candidate, self.default.settings)
        model = self._prepared if settings.prepared and self._prepared else self.default
        identity = ".".join((self.default.model, self.default.workload, target, *self.default.variant))
        replaced = {"format": model.format, "made_from": model.made_from, "settings": settings}
        return msgspec.structs.replace(self.default, id=identity, target=target, **replaced)

    def measure(self, candidates: Sequence[Candidate], *, control: bool = False) -> None:
        """Measure one block, with fresh processes; `control` adds the default a second time."""
        cases = [*map(self.case, candidates), *([self.control] if control else [])]
        self._admit([case for case in cases if case.id not in self._cases])
        self._run(cases, self._objective.probe, self.block)
        self.block += 1

    def logs(self, over: Candidate | None, under: Candidate, since: int) -> Logs:
        """Return the logarithms of over / under of each block from `since` on; None is the default's control."""
        sides = [self.control if over is None else self.case(over), self.case(under)]
        baseline, case = (self._samples(self._objective.name, side, since) for side in sides)
        together = range(since, self.block) if PROBES[self._objective.probe].engine == "interleaved" else ()
        return pair(case, baseline, together)

    def failure(self, candidate: Candidate) -> str:
        """Return the reason if a candidate failed; empty if it did not."""
        return self._failures.get(self.case(candidate).id, "")

    def over_limit(self, candidate: Candidate, since: int) -> str:
        """Return the limit that a candidate may exceed, by the upper end of its interval; empty for none."""
        for limit in self._limits:
            own = self._objective.probe in limit.objective.metrics
            found = self.estimate(candidate, limit.objective, since if own else 0)
            if found is None or not found.high <= limit.most:
                return limit.text
        return ""

    def estimate(self, candidate: Candidate, objective: Objective | None = None, since: int = 0) -> Estimate | None:
        """Return the typical value of a candidate with its 95% interval; None if it has no values."""
        samples = self._samples((objective or self._objective).name, self.case(candidate), since)
        return median(samples.processes) if samples.processes else None

    def spent(self) -> float:
        """Return the share of the time that is used up."""
        return (time.monotonic() - self._began) / self._budget_s

    def _samples(self, objective: str, case: Case, since: int) -> MetricSamples:
        blocks = {block: values for block, values in self._values[objective, case.id].items() if block >= since}
        return MetricSamples("", tuple(blocks.values()), tuple(blocks))

    def _admit(self, cases: Sequence[Case]) -> None:
        """Add cases to the run; compare their outputs with the references, and measure what limits need."""
        if not cases:
            return
        info = self._writer.info
        for case in cases:
            self._cases[case.id] = case
            self._targets[case.target] = self._targets[self.default.target]
            info.capabilities[case.target] = info.capabilities[self.default.target]
            info.environments[case.target] = info.environments[self.default.target]
        info.cases = tuple(self._cases.values())
        self._writer.save_info()
        self._run(cases, "accuracy", 0)
        bounded = [limit.objective for limit in self._limits]
        for probe in {one.probe for one in bounded if self._objective.probe not in one.metrics}:
            for block in range(LIMIT_BLOCKS):
                self._run(cases, probe, block)

    def _run(self, cases: Sequence[Case], probe: str, block: int) -> None:
        made = measure_block(self._context, cases, self._probes[probe], block, self._done, self._writer, self._listener)
        self._done += made
        wanted = [self._objective, *(limit.objective for limit in self._limits)]
        for record in made:
            if record.status in FAILED:
                self._failures[record.case] = str(record.reason)
            for objective in wanted:
                if record.status == "ok" and probe in objective.metrics:
                    values = objective.values(record, self._cases[record.case], self._writer.info.meters)
                    if len(values):
                        self._values[objective.name, record.case][block] = values
