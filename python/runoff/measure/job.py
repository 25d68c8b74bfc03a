"""A job: the cases that are started together; and the context that every job needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from runoff.measure.energy.meters import Meters
from runoff.measure.huge_pages import with_huge_pages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from runoff.measure.stopping import Sampling
    from runoff.models.store import StoredModel
    from runoff.plan.suite import Suite
    from runoff.plan.target import Target, TargetInfo
    from runoff.probes.base import Probe
    from runoff.processes import Spawner
    from runoff.records.reason import Reason
    from runoff.records.schema import Case, Record


class Job(Struct, frozen=True):
    """The cases that are started together."""

    cases: tuple[Case, ...]
    probe: Probe
    block: int

    @property
    def name(self) -> str:
        """Progress label of this job."""
        first = self.cases[0]
        targets = ", ".join(case.target for case in self.cases)
        return f"{self.probe.name} {self.block + 1}  {first.model} {first.workload} {first.settings.profile} {targets}"


class ExecutionContext(Struct, frozen=True, kw_only=True):
    """Everything that jobs need."""

    suite: Suite
    targets: Mapping[str, TargetInfo]
    models: Mapping[str, StoredModel]
    tool_reasons: Mapping[str, Reason]
    """By name, the tools that cannot be used."""
    spawner: Spawner
    scratch: Path
    secret: str
    """Determines the order of the inputs; no runner knows it."""
    sampling: Sampling
    """Decides when a pass has enough blocks."""
    before: Sequence[Record] = ()
    """Records that an interrupted run already has."""
    run_folder: Path | None = None
    """Where profiles are kept."""
    meters: Meters = Meters()
    """Sources of energy readings, for the probe ``energy``."""

    def target(self, case: Case, probe: Probe) -> Target:
        """Return the runner of `case` as `probe` starts it."""
        target = self.targets[case.target].target
        return (
            with_huge_pages(target)
            if probe.engine == "interleaved" and self.suite.measure.latency.huge_pages
            else target
        )
