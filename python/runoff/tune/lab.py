"""Measures candidates as cases of an ordinary run: a candidate is a target of its own name, with other settings."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from runoff.adaptive.lab import Lab
from runoff.plan.cases import renamed
from runoff.statistics import Estimate, median
from runoff.tune.space import applied, name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runoff.adaptive.objective import Objective
    from runoff.measure.execute import Listener
    from runoff.measure.job import ExecutionContext
    from runoff.probes.base import Probe
    from runoff.records.files import RunWriter
    from runoff.records.schema import Case
    from runoff.tune.limits import Limit
    from runoff.tune.race import Logs
    from runoff.tune.space import Candidate

LIMIT_BLOCKS = 3
"""Processes of each candidate that are measured for a limit on what another probe measures."""


class RunLab(Lab):
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
        probes: Sequence[Probe],
        budget_s: float,
    ) -> None:
        super().__init__(context, writer, listener, probes, [objective, *(limit.objective for limit in limits)])
        self.default, self.control, self._prepared = cases
        self._info = context.targets[self.default.target]
        self._objective, self._limits = objective, limits
        self._began, self._budget_s = time.monotonic(), budget_s
        self._admit([self.default])

    def case(self, candidate: Candidate) -> Case:
        """Return the case of a candidate, which need not be measured yet."""
        settings = applied(candidate, self.default.settings)
        model = self._prepared if settings.prepared and self._prepared else self.default
        target = name_of(self.default.target, candidate)
        return renamed(self.default, target, format=model.format, made_from=model.made_from, settings=settings)

    def measure(self, candidates: Sequence[Candidate], *, control: bool = False) -> None:
        """Measure one block, with fresh processes; `control` adds the default a second time."""
        cases = [*map(self.case, candidates), *([self.control] if control else [])]
        self._admit([case for case in cases if not self.has(case)])
        self.run(cases, self._objective.probe, self.block)
        self.block += 1

    def logs(self, over: Candidate | None, under: Candidate, since: int) -> Logs:
        """Return the logarithms of over / under of each block from `since` on; None is the default's control."""
        return self.logs_of(self._objective, self.control if over is None else self.case(over), self.case(under), since)

    def failure(self, candidate: Candidate) -> str:
        """Return the reason if a candidate failed; empty if it did not."""
        return self.failure_of(self.case(candidate))

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
        samples = self.samples(objective or self._objective, self.case(candidate), since)
        return median(samples.processes) if samples.processes else None

    def spent(self) -> float:
        """Return the share of the time that is used up."""
        return (time.monotonic() - self._began) / self._budget_s

    def _admit(self, cases: Sequence[Case]) -> None:
        """Add cases to the run, and measure what limits need."""
        if not cases:
            return
        self.add([(case, self._info) for case in cases])
        bounded = [limit.objective for limit in self._limits]
        for probe in {one.probe for one in bounded if self._objective.probe not in one.metrics}:
            for block in range(LIMIT_BLOCKS):
                self.run(cases, probe, block)
