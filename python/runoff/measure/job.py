"""What is started together, and all that starting it needs."""

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
    """What is started together."""

    cases: tuple[Case, ...]
    probe: Probe
    block: int

    @property
    def name(self) -> str:
        """What a person is told that runs now."""
        first = self.cases[0]
        targets = ", ".join(case.target for case in self.cases)
        return f"{self.probe.name} {self.block + 1}  {first.model} {first.workload} {first.settings.profile} {targets}"


class ExecutionContext(Struct, frozen=True, kw_only=True):
    """All that executing needs."""

    suite: Suite
    targets_info: Mapping[str, TargetInfo]
    models: Mapping[str, StoredModel]
    tool_reasons: Mapping[str, Reason]
    """By name, the tools that cannot be used."""
    spawner: Spawner
    scratch: Path
    secret: str
    """Fixes the order of the inputs; no runner is told."""
    sampling: Sampling
    """Says when a pass has enough blocks."""
    before: Sequence[Record] = ()
    """What an interrupted run has already."""
    meters: Meters = Meters()
    """Sources of energy readings, for the probe ``energy``."""

    def target(self, case: Case, probe: Probe) -> Target:
        """Return the runner of `case` as `probe` starts it."""
        target = self.targets_info[case.target].target
        return (
            with_huge_pages(target)
            if probe.engine == "interleaved" and self.suite.measure.latency.huge_pages
            else target
        )
