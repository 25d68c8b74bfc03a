"""Fairness audit: checks that the cases of a comparison ran under the same conditions, from the settings in effect."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec import Struct

from runoff.analysis.audit import measurement, practices, resources, software, work
from runoff.analysis.audit.group import AuditGroup, Outcome, in_effect
from runoff.analysis.validity import computes
from runoff.plan.baselines import baseline_of, baselines_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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
    """Targets that deviate from what was requested, or from most others; empty if it cannot be said which."""
    cases: tuple[str, ...] = ()
    """Ids of the cases that alone are not compared fairly; empty if none is, as when a baseline deviates."""


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
        baselines = {case.target for case in baselines_of(ran, run.info.baselines)}
        baselines |= {case.target for case in [baseline_of(ran, run.info.baselines)] if case}
        for name, check in POINTS.items():
            if found := check(group):
                blamed = () if baselines & {*found.blamed} else found.blamed
                own = tuple(case.id for case in cases if case.target in blamed)
                points.append(AuditPoint(comparison, name, *found, own))
    return points


def unfair(points: Iterable[AuditPoint]) -> dict[str, list[AuditPoint]]:
    """Return the points that differ, by id of a case that they concern, or by name of the comparison."""
    found: defaultdict[str, list[AuditPoint]] = defaultdict(list)
    for point in points:
        for name in (point.cases or [".".join(point.comparison)]) if point.outcome == "differs" else ():
            found[name].append(point)
    return dict(found)
