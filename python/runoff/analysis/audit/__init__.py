"""Fairness audit: checks that the cases of a comparison ran under the same conditions, from the settings in effect."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec import Struct

from runoff.analysis.audit import measurement, practices, resources, software, work
from runoff.analysis.audit.group import AuditGroup, Outcome, in_effect
from runoff.analysis.validity import computes

if TYPE_CHECKING:
    from collections.abc import Callable

    from runoff.analysis.audit.group import Found
    from runoff.records.schema import Case, Run

POINTS: dict[str, Callable[[AuditGroup], Found | None]] = {
    "same engine": software.engine,
    "same library file": software.library,
    "same weights": work.model,
    "same input": work.inputs,
    "same output": work.outputs,
    "outputs checked while timed": work.checked,
    "threads": resources.threads,
    "provider": resources.provider,
    "precision": resources.precision,
    "denormals": software.denormals,
    "allocator": software.allocator,
    "image decoder": software.image_decoder,
    "settings profile": resources.profile,
    "same settings": resources.settings,
    "settings applied": resources.applied,
    "best practice": practices.practices,
    "environment": resources.environment,
    "timed the same way": measurement.timed,
    "clocks compared": measurement.clocks,
    "idle while waiting": measurement.waiting,
    "A/A control": measurement.control,
    "energy": measurement.energy,
}
"""By name, in the order of the report; a point that is None does not apply to this comparison."""


class AuditPoint(Struct, frozen=True, omit_defaults=True):
    """One point of the audit of one comparison."""

    comparison: tuple[str, ...]
    point: str
    outcome: Outcome
    detail: str
    blamed: tuple[str, ...] = ()
    """Targets that did not do what was requested."""


def audit(run: Run) -> list[AuditPoint]:
    """Return the points of every comparison in which at least one case ran, in the order of the plan.

    An A/A control does not compete: only the point on the noise floor includes it.
    """
    records = run.by_case()
    comparisons: defaultdict[tuple[str, ...], list[Case]] = defaultdict(list)
    for case in run.info.cases:
        if case.skipped is None and records[case.id] and computes(run, case.target):
            comparisons[case.comparison].append(case)
    points = []
    for comparison, ran in comparisons.items():
        cases = tuple(case for case in ran if case.control_of is None)
        if not cases:
            continue
        group = AuditGroup(
            run,
            cases,
            tuple(case for case in ran if case.control_of is not None),
            {case.id: in_effect(records[case.id]) for case in ran},
            {case.id: tuple(records[case.id]) for case in ran},
        )
        points += [AuditPoint(comparison, name, *found) for name, check in POINTS.items() if (found := check(group))]
    return points
