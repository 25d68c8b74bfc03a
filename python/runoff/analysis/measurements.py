"""Measurements to compare: samples, their machine, and facts about each case."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from runoff.analysis.audit import audit, unfair
from runoff.analysis.metric_samples import Key, MetricSamples, cells
from runoff.analysis.samples import tidy
from runoff.analysis.validity import computes, excluded, state
from runoff.models.store import prepared_in
from runoff.plan.baselines import baseline_of, baselines_of, find_control, repeated_target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

    from runoff.analysis.metric_samples import Metric
    from runoff.records.schema import Case, Record, Run


class Member(Struct, frozen=True, kw_only=True):
    """The facts about a case that a comparison needs."""

    case: str
    target: str
    comparison: str
    """The values that it shares with comparable cases, as text."""
    model: str = ""
    probes: tuple[str, ...] = ()
    control_of: str | None = None
    computes: bool = True
    failures: dict[str, str] = {}
    """By probe: the reason why it has no result."""
    made_of: str = ""
    """Engine and model by version and hash; empty if unknown."""
    failed: str = ""
    """Reason why no measurement of it counts; empty if it succeeded."""


@dataclass(frozen=True)
class Measurements:
    """Samples of one run or of one file."""

    name: str
    samples: pd.DataFrame
    """The columns of ``samples.csv``."""
    machine: dict[str, Any] | None
    members: tuple[Member, ...]
    baselines: tuple[str, ...] = ()
    """Targets that others are compared with, in the order of the suite."""
    unfair: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By comparison, or by case if they concern only that one: the points of the fairness audit that differ."""
    turns: frozenset[tuple[str, int]] = frozenset()
    """Case and block of each live process that was interleaved with others."""

    @cached_property
    def cells(self) -> dict[Key, MetricSamples]:
        """The samples by case, probe and metric."""
        return cells(self.samples)

    def cell(self, member: Member, metric: Metric) -> MetricSamples | None:
        """Return the samples of `metric` of a case; None if there are none."""
        return self.cells.get(Key(member.case, metric.probe, metric.cell))

    def unfair_points(self, member: Member) -> tuple[str, ...]:
        """Return the points of the fairness audit that differ for a case."""
        return (*self.unfair.get(member.comparison, ()), *self.unfair.get(member.case, ()))

    def failure(self, member: Member, metric: Metric) -> str:
        """Return the reason why no value of a case counts; empty if they do."""
        unfair = self.unfair_points(member)
        failed = member.failures.get(metric.probe) or member.failed
        return failed or (f"the fairness audit failed: {unfair[0]}" if unfair else "")

    def together(self, member: Member) -> frozenset[int]:
        """Return the blocks in which a case was interleaved with others."""
        return frozenset(block for case, block in self.turns if case == member.case)

    @cached_property
    def _groups(self) -> dict[str, list[Member]]:
        """The cases that compute by comparison, A/A controls included."""
        groups: dict[str, list[Member]] = {}
        for member in self.members:
            if member.computes:
                groups.setdefault(member.comparison, []).append(member)
        return groups

    def peers(self, comparison: str) -> list[Member]:
        """Return the cases of a comparison that compute, without the A/A control."""
        return [member for member in self._groups.get(comparison, []) if member.control_of is None]

    def control(self, comparison: str) -> Member | None:
        """Return the A/A control of a comparison."""
        return find_control(self._groups.get(comparison, []))

    def compared_with(self, comparison: str) -> list[Member]:
        """Return the baselines of a comparison; the noise floor is the last one's."""
        return baselines_of(self._groups.get(comparison, []), self.baselines)

    def baseline(self, comparison: str) -> Member | None:
        """Return the case of a comparison that the others are compared with: its last baseline, or its first case."""
        return baseline_of(self._groups.get(comparison, []), self.baselines)

    @property
    def comparisons(self) -> list[str]:
        """The comparisons, in order."""
        return list(dict.fromkeys(member.comparison for member in self.members))


def of_run(run: Run) -> Measurements:
    """Return the measurements of a run, with the failed points of its fairness audit."""
    found = unfair(audit(run)).items()
    texts = {name: tuple(f"{point.point} differs: {point.detail}" for point in points) for name, points in found}
    return replace(measured(run, tidy(run)), unfair=texts)


def measured(run: Run, samples: pd.DataFrame) -> Measurements:
    """Return the measurements of a run without its audit; `samples` are from `runoff.analysis.samples.tidy`."""
    wrong, records = excluded(run), run.by_case()
    members = []
    for case in run.info.cases:
        states = {probe: state(case, records[case.id], wrong, probe) for probe in case.probes}
        failures = {probe: f"{one.status}: {one.reason}" for probe, one in states.items() if one.status != "ok"}
        failed = next((failures[probe] for probe, one in states.items() if one.status == "error"), "")
        members.append(_member(run, case, records[case.id], failures, failed))
    turns = frozenset((r.case, r.block) for r in run.records if r.turned is not None and r.turned.group_size > 1)
    return Measurements(run.info.run_id, samples, run.info.machine, tuple(members), run.info.baselines, turns=turns)


def of_published(run: Run, samples: pd.DataFrame) -> Measurements:
    """Return the measurements of a published run: it has tables, but no raw results."""
    measured = set(samples["case"])
    members = tuple(
        _member(run, case, (), {} if case.id in measured else dict.fromkeys(case.probes, "not published"))
        for case in run.info.cases
    )
    return Measurements(run.info.run_id, samples, run.info.machine, members, run.info.baselines)


def _member(run: Run, case: Case, records: Iterable[Record], failures: dict[str, str], failed: str = "") -> Member:
    return Member(
        case=case.id,
        target=case.target,
        comparison=".".join(case.comparison),
        model=case.model,
        probes=case.probes,
        control_of=case.control_of,
        computes=computes(run, case.target),
        failures=failures,
        made_of=made_of(run, case, records),
        failed=failed,
    )


def made_of(run: Run, case: Case, records: Iterable[Record]) -> str:
    """Return a case's engine and model by version and hash; empty if both are unknown."""
    engine = " ".join(filter(None, engine_of(run, case, records)))
    file = model_sha256(run, case)
    return f"{engine}, model {file[:12]}" if file else engine


def engine_of(run: Run, case: Case, records: Iterable[Record]) -> tuple[str, str, str]:
    """Return runtime, version and build of a case's engine; empty if unknown.

    What was in effect in `records` counts; a published run only has the capabilities of its target.
    """
    effective = next((r.result.effective for r in records if r.result and r.result.effective), None)
    known = effective or run.info.capabilities.get(case.control_of or case.target)
    return (known.runtime, known.version, known.build or "") if known else ("", "", "")


def model_sha256(run: Run, case: Case) -> str:
    """Return the SHA-256 of the model's file that a case loads; empty if unknown."""
    stored = run.info.models.get(case.model, {})
    if case.made_from:
        return str((prepared_in(stored, case.format, case.made_from) or {}).get("sha256") or "")
    return str((stored.get("sha256") or {}).get(case.format) or "")


def of_table(name: str, samples: pd.DataFrame, machine: dict[str, Any] | None = None) -> Measurements:
    """Return the measurements of a bare table; a comparison is then a case's name without its target."""
    pairs = samples[["case", "target", "model"]].drop_duplicates(["case", "target"])
    targets = set(pairs["target"])
    members = [
        Member(
            case=str(case),
            target=str(target),
            comparison=_without(str(case), str(target)),
            model=str(model),
            control_of=origin if (origin := repeated_target(str(target))) in targets else None,
        )
        for case, target, model in pairs.itertuples(index=False)
    ]
    return Measurements(name, samples, machine, tuple(members), ("torch", "ort-python"))


def _without(case: str, target: str) -> str:
    return "" if case == target else case.replace(f".{target}.", ".", 1)
