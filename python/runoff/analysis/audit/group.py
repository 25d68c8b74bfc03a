"""One comparison under audit, and the two checks that most points use."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from runoff.probes import is_interleaved

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runoff.records.protocol import Effective
    from runoff.records.schema import Case, InterleavingStats, Record, Run

Outcome = Literal["ok", "differs", "unknown"]


class Found(NamedTuple):
    """Result of the audit on one point."""

    outcome: Outcome
    detail: str
    blamed: tuple[str, ...] = ()
    """Targets that deviate from what was requested, or from most others; empty if it cannot be said which."""


@dataclass(frozen=True)
class AuditGroup:
    """A comparison: its cases that ran, and the settings in effect that their runners reported."""

    run: Run
    cases: tuple[Case, ...]
    controls: tuple[Case, ...]
    """A/A controls; not among `cases`."""
    effective: Mapping[str, tuple[Effective, ...]]
    """By case id, A/A controls included: the distinct settings in effect over its processes."""
    records: Mapping[str, tuple[Record, ...]]
    """By case id, A/A controls included."""

    def turned(self, case: Case) -> list[InterleavingStats | None]:
        """Return the interleaving of each process of an interleaved probe; None for a process that ran alone."""
        records = self.records[case.id]
        return [record.turned for record in records if is_interleaved(record.probe) and record.status == "ok"]


def in_effect(records: Iterable[Record]) -> tuple[Effective, ...]:
    """Return the distinct settings in effect over the processes of a case."""
    seen: list[Effective] = []
    for record in records:
        effective = record.result.effective if record.result else None
        if effective is not None and effective not in seen:
            seen.append(effective)
    return tuple(seen)


def same(values: Mapping[str, str | None], what: str) -> Found:
    """Return whether all targets of `values` have one value; a target without one leaves it unknown.

    Targets deviate that do not have the most frequent value: of several, the one that comes first in `values`.
    """
    distinct = Counter(value for value in values.values() if value)
    if len(distinct) > 1:
        detail = "; ".join(f"{target}: {value or 'not reported'}" for target, value in values.items())
        ((usual, _),) = distinct.most_common(1)
        return Found("differs", detail, tuple(target for target, value in values.items() if value not in (usual, None)))
    blind = sorted(target for target, value in values.items() if not value)
    if blind:
        return Found("unknown", f"{', '.join(blind)} did not report it")
    return (
        Found("ok", f"{what}: {next(iter(distinct))}")
        if distinct
        else Found("unknown", f"no {what} in this comparison")
    )


def requested(group: AuditGroup, field: Literal["threads", "provider", "precision"]) -> Found:
    """Return whether `field`, as it was in effect, is the one that each case requested."""
    differing, blind = {}, []
    for case in group.cases:
        wanted = getattr(case.settings, field)
        allowed = {wanted, None, *([most_threads(group, case)] if field == "threads" else [])}
        got = {getattr(effective, field) for effective in group.effective[case.id]}
        if not got or None in got:
            blind.append(case.target)
        if got - allowed:
            differing[case.target] = f"{case.target} requested {wanted}, got {', '.join(sorted(map(str, got)))}"
    if differing:
        return Found("differs", "; ".join(differing.values()), tuple(differing))
    if blind:
        return Found("unknown", f"{', '.join(sorted(blind))} did not report it")
    values = {case.target: getattr(case.settings, field) for case in group.cases}
    if len(set(values.values())) > 1:  # targets that compute on a provider of their own
        return Found("ok", "in effect as requested: " + ", ".join(f"{target} {one}" for target, one in values.items()))
    return Found("ok", f"{getattr(group.cases[0].settings, field)} in effect in all")


def most_threads(group: AuditGroup, case: Case) -> int:
    """Return the number of threads that a case may have: parallel execution adds ONNX Runtime's inter-op pool."""
    settings = case.settings
    if settings.execution != "parallel":
        return settings.threads
    return settings.threads + (settings.inter_threads or group.run.info.machine["cores_allowed"]) - 1


def not_compared(blind: Iterable[str]) -> str:
    """Return the end of a detail that names the targets that a point does not cover."""
    names = ", ".join(blind)
    return f"; not compared: {names}" if names else ""
