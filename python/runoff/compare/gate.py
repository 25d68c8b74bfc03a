"""Checks of a run against limits: whether they are exceeded, by how much, and whether that may be noise."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

from runoff.analysis.comparisons import MetricComparison, adjusted, in_run, within
from runoff.analysis.measurements import of_run
from runoff.analysis.summary import summarise
from runoff.analysis.wording import percent, words
from runoff.compare.metrics import parse_metric
from runoff.compare.pairing import NOT_THE_SAME
from runoff.compare.saved import Saved, against
from runoff.records.errors import ExitCode, RunoffError, did_you_mean
from runoff.records.machine import headline, same_machine
from runoff.report.text import Figure, figure_of, full

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from runoff.analysis.measurements import Measurements, Member
    from runoff.compare.limits import Limit
    from runoff.records.schema import Run

Outcome = Literal["passed", "exceeded", "failed"]
INCLUDED = "the interval includes the limit"


class LimitResult(Struct, frozen=True, kw_only=True):
    """One limit checked for one case."""

    outcome: Outcome
    """``failed`` if there is no number to check, or one that does not count."""
    case: str
    target: str
    comparison: str
    limit: str
    measured: str = ""
    """The case's value, with its interval."""
    change: str = ""
    """From the baseline, with its interval; empty for limits that are values."""
    verdict: str = ""
    note: str = ""


class Gate(Struct, frozen=True, kw_only=True):
    """The outcome of a gate."""

    run: str
    machine: str
    against: str
    """What changes are relative to; empty if no limit is a change."""
    checks: list[LimitResult]
    notes: list[str]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.outcome == "passed" for check in self.checks)


def gate(run: Run, limits: Sequence[Limit], saved: Saved | None, *, different_machines: bool) -> Gate:
    """Return the outcome of checking `run` against `limits`, at least one.

    Changes are from the baseline `saved`, or from the run's own without one.

    Raises
    ------
    RunoffError
        If a limit covers no case or names a metric that no case can have, or the machines differ.
    """
    data = of_run(run)
    notes = _machines(data, saved, different_machines=different_machines)
    checker = _Gate(data, summarise(run, data.samples), saved)
    pairs = [(limit, member) for limit in limits for member in checker.covered(limit)]
    lines = checker.comparisons(pairs)
    checks = [checker.check(limit, member, lines) for limit, member in pairs]
    if any(line.relative_to == "" and line.unit == "ns" and not line.paired for line in lines.values()):
        notes.append(f"raw times of two runs: {NOT_THE_SAME}")
    names = {base.target for limit, m in pairs if limit.relative and (base := data.baseline(m.comparison))}
    other = f"run {saved.run}" if saved and names else ", ".join(sorted(names))
    machine = headline(run.info.machine)
    return Gate(run=run.info.run_id, machine=machine, against=other, checks=checks, notes=notes)


def _machines(data: Measurements, saved: Saved | None, *, different_machines: bool) -> list[str]:
    if saved is None or same_machine(saved.machine, data.machine):
        return []
    names = [headline(machine) if machine else "unknown" for machine in (saved.machine, data.machine)]
    text = f"different machines: baseline ({names[0]}), run ({names[1]})"
    if different_machines:
        return [text]
    hint = "save a baseline on this machine, or measure both in one run; to compare anyway: --allow-different-machines"
    raise RunoffError(text, hint)


class _Gate:
    """The state that the checks of a run share."""

    def __init__(self, data: Measurements, summary: pd.DataFrame, saved: Saved | None) -> None:
        self.data = data
        self.summary = summary
        self.saved = saved

    def covered(self, limit: Limit) -> list[Member]:
        """Return the cases that a limit covers."""
        data = self.data
        mine = [m for m in data.members if m.computes and m.control_of is None and limit.covers(m)]
        mine = [member for member in mine if limit.metric.probe in member.probes]
        if limit.over:
            mine = [member for member in mine if self._peer(limit, member) is not None]
        if limit.relative:
            others = [member for member in mine if member not in self._bases(limit)]
            mine = others if others or self.saved is None else mine
        if not mine:
            targets = {member.target for member in data.members if member.control_of is None}
            strange = [name for name in (limit.over, limit.under, *limit.targets) if name and name not in targets]
            hint = did_you_mean(strange[0], targets) if strange else _scope(limit, data)
            raise RunoffError(
                f"nothing to gate: {limit.text!r} covers no case of {data.name}", hint, ExitCode.NOTHING_RUNS_HERE
            )
        self._check_name(limit, mine)
        return mine

    def _peer(self, limit: Limit, member: Member) -> Member | None:
        """Return the case that `member` is divided by."""
        peers = self.data.peers(member.comparison)
        return next((peer for peer in peers if peer.target == limit.under and limit.metric.probe in peer.probes), None)

    def _bases(self, limit: Limit) -> list[Member]:
        """Return the baselines, except those that the limit names, which are compared with the last one."""
        bases = [base for name in self.data.comparisons if (base := self.data.baseline(name)) is not None]
        others = self.data.baselines
        return bases + [m for m in self.data.members if m.target in others and m.target not in limit.targets]

    def _check_name(self, limit: Limit, mine: Sequence[Member]) -> None:
        rows = self.summary[self.summary["probe"] == limit.metric.probe]
        silent = all(limit.metric.probe in member.failures for member in mine)
        names = set(rows["metric"])
        if not silent and limit.metric.summary_name not in names:
            known = {str(parse_metric(f"{limit.metric.probe}.{name}")) for name in names if name}
            hint = did_you_mean(str(limit.metric), known)
            raise RunoffError(f"limit {limit.text!r}: no case has {limit.metric}", hint)
        for unit in set(rows.loc[rows["metric"] == limit.metric.summary_name, "unit"]):
            limit.check_unit(str(unit))

    def comparisons(self, pairs: Sequence[tuple[Limit, Member]]) -> dict[tuple[str, str], MetricComparison]:
        """Return the comparisons that limits on changes need, by case and metric."""
        wanted = {(m.case, str(limit.metric)): (m, limit.metric) for limit, m in pairs if limit.relative}.values()
        if self.saved is not None:
            lines = adjusted([against(self.saved, self.data, *one) for one in wanted])
        else:
            based = [(self.data.baseline(member.comparison), member, metric) for member, metric in wanted]
            lines = in_run(self.data, [(base, m, metric, m.case) for base, m, metric in based if base is not None])
        return {(line.label, line.metric): line for line in lines}

    def check(self, limit: Limit, member: Member, lines: dict[tuple[str, str], MetricComparison]) -> LimitResult:
        """Return the outcome of a limit for a case."""
        row = self._row(limit, member)
        done = LimitResult(
            outcome="failed",
            case=member.case,
            target=member.target,
            comparison=member.comparison,
            limit=limit.text,
            measured="" if row is None else full(figure_of(row.to_dict())),
        )
        why = self.data.failure(member, limit.metric)
        if not why and (row is None or row["status"] != "ok"):
            why = f"{limit.metric} was not measured" + (f": {row['reason']}" if row is not None else "")
        if why or row is None:
            return replace(done, note=why)
        peer = self._peer(limit, member)
        if limit.over and peer is not None:
            return _ratio(done, limit, within(self.data, member, peer, limit.metric, member.case))
        if limit.relative:
            return check_change(done, limit, lines[member.case, str(limit.metric)])
        return check_value(done, limit, figure_of(row.to_dict()))

    def _row(self, limit: Limit, member: Member) -> pd.Series | None:
        rows = self.summary
        mine = rows[(rows["case"] == member.case) & (rows["probe"] == limit.metric.probe)]
        mine = mine[mine["metric"] == limit.metric.summary_name]
        return mine.iloc[0] if len(mine) else None


def _scope(limit: Limit, data: Measurements) -> str:
    probes = sorted({probe for member in data.members for probe in member.probes})
    if limit.metric.probe not in probes:
        return f"the run has no probe {limit.metric.probe}, only {', '.join(probes)}"
    if limit.relative and not (limit.targets or limit.cases or limit.models):
        return "the run has one target and nothing to compare it with; add --baseline FILE"
    return "check targets, cases and models of the limit; for those of the run: runoff report RUN"


def check_change(check: LimitResult, limit: Limit, line: MetricComparison) -> LimitResult:
    """Return the check of a limit on a change, which exceeds it only if it is distinguishable from noise."""
    if line.reason or not isfinite(line.ratio.low):
        return replace(check, note=words(line.verdict))
    value, low, high = line.change
    change = f"{signed(value)} % ({signed(low)} to {signed(high)})"
    beyond = limit.beyond(value)
    outcome: Outcome = "exceeded" if beyond and line.verdict.differs else "passed"
    notes = []
    if low <= limit.value <= high:
        notes.append(INCLUDED)
    if beyond and not line.verdict.differs:
        notes.append("beyond the limit, but not distinguishable from noise")
    elif line.floor is not None and line.floor >= abs(limit.value) > 0:
        notes.append(f"the noise floor ({percent(line.floor)}) is not below the limit; measure longer")
    return replace(check, outcome=outcome, change=change, verdict=words(line.verdict), note="; ".join(notes))


def check_value(check: LimitResult, limit: Limit, figure: Figure) -> LimitResult:
    """Return the check of a limit on a value; the estimate decides."""
    if figure.value is None:
        return replace(check, note=f"{limit.metric} was not measured")
    holds = figure.low is not None and figure.high is not None and figure.low <= limit.value <= figure.high
    outcome: Outcome = "exceeded" if limit.beyond(figure.value) else "passed"
    return replace(check, outcome=outcome, note=INCLUDED if holds else "")


def _ratio(check: LimitResult, limit: Limit, line: MetricComparison) -> LimitResult:
    """Return the check of a limit on the ratio of two targets; the estimate decides."""
    ratio = line.ratio
    if line.reason or not isfinite(ratio.low):
        return replace(check, note=words(line.verdict))
    checked = check_value(check, limit, Figure(ratio.value, ratio.low, ratio.high, "", ratio.n))
    return replace(checked, measured=full(Figure(ratio.value, ratio.low, ratio.high, "")))


def signed(share: float) -> str:
    """Return a change in percent with its sign: ``+5.2``."""
    return f"{100 * share:+.1f}"
