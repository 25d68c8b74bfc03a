"""Comparisons of two runs, and of two targets within one run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runoff.analysis.comparisons import RAW, MetricComparison, across, adjusted, in_run, shares
from runoff.analysis.metric_samples import Metric
from runoff.analysis.verdict import BETTER_WORSE
from runoff.compare.metrics import MAIN, parse_metric
from runoff.records.errors import ExitCode, RunoffError, did_you_mean
from runoff.records.machine import headline, same_machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runoff.analysis.comparisons import Side
    from runoff.analysis.measurements import Measurements, Member

NOT_THE_SAME = "conditions differ between runs; raw values include that difference"
INTERLEAVE = "to exclude it, measure both in one run"


@dataclass(frozen=True)
class RunComparison:
    """The lines of a comparison, with notes and the audit points that differ."""

    first: str
    second: str
    lines: list[MetricComparison]
    unfair: list[str]
    """Points of the fairness audits that differ."""
    notes: list[str]


def choose_metrics(names: Sequence[str], *sides: Measurements) -> list[Metric]:
    """Return the metrics called `names`; by default the main ones, or all if none of those was measured."""
    if names:
        return [parse_metric(name) for name in dict.fromkeys(names)]
    present = [{(key.probe, key.metric) for key in side.cells} for side in sides]
    shared = set.intersection(*present)
    main = [metric for metric in map(parse_metric, MAIN) if (metric.probe, metric.cell) in shared]
    return main or [
        Metric(key.probe, key.metric)
        for key in dict.fromkeys(sides[0].cells)
        if (key.probe, key.metric) in shared and sides[0].cells[key].unit in BETTER_WORSE
    ]


def compare_targets(data: Measurements, first: str, second: str, names: Sequence[str]) -> RunComparison:
    """Return the comparison of the target `second` with `first`, from every comparison that has both."""
    metrics = choose_metrics(names, data)
    targets = {member.target for member in data.members}
    for name in (first, second):
        if name not in targets:
            raise RunoffError(f"{data.name} has no target {name!r}", did_you_mean(name, targets))
    wanted = [
        (one, other, metric, comparison)
        for comparison, one, other in _couples(data, first, second)
        for metric in metrics
        if names or data.cell(one, metric) or data.cell(other, metric)
    ]
    lines = in_run(data, wanted)
    _refuse_nothing(lines, f"{data.name} has no comparison of {first} and {second}")
    notes = []
    if not all(line.paired or line.reason for line in lines):
        notes.append(f"{data.name} did not interleave {first} and {second}: the values include drift between them")
    return RunComparison(first, second, lines, _unfair(data), notes)


def _couples(data: Measurements, first: str, second: str) -> list[tuple[str, Member, Member]]:
    found = []
    for comparison in data.comparisons:
        by_target = {member.target: member for member in data.members if member.comparison == comparison}
        if first in by_target and second in by_target:
            found.append((comparison, by_target[first], by_target[second]))
    if found or any(len(data.peers(comparison)) > 1 for comparison in data.comparisons):
        return found
    # files of other tools do not group their commands
    cases = {member.target: member for member in data.members}
    return [(f"{first}, {second}", cases[first], cases[second])]


def compare_runs(
    first: Measurements,
    second: Measurements,
    names: Sequence[str],
    relative_to: str | None,
    *,
    different_machines: bool,
) -> RunComparison:
    """Return the comparison of each case of `second` with the same case of `first`, on the metrics `names`.

    Without `names`, the main metrics are compared. Both cases are relative to the target `relative_to`; empty for raw
    values; None if runoff chooses.

    Raises
    ------
    RunoffError
        If the machines differ, or the two have nothing in common.
    """
    notes = _machines(first, second, different_machines=different_machines)
    lines = []
    for one, other in _same_cases(first, second, notes):
        for metric in choose_metrics(names, first, second):
            if not names and first.cell(one, metric) is None and second.cell(other, metric) is None:
                continue
            target = _reference((first, one), (second, other), metric, relative_to, notes)
            lines.append(across((first, one), (second, other), metric, one.case, target))
    _refuse_nothing(lines, f"{first.name} and {second.name} have no metric of the same case")
    if any(not line.relative_to and line.unit == "ns" for line in lines):
        notes.append(f"{NOT_THE_SAME}; {INTERLEAVE}")
    unfair = [f"{side.name}: {text}" for side in (first, second) for text in _unfair(side)]
    return RunComparison(first.name, second.name, adjusted(lines), unfair, list(dict.fromkeys(notes)))


def _machines(first: Measurements, second: Measurements, *, different_machines: bool) -> list[str]:
    unknown = [side.name for side in (first, second) if side.machine is None]
    if unknown or first.machine is None or second.machine is None:
        return [f"unknown machine: {' and '.join(unknown)}; the machines may differ"]
    if same_machine(first.machine, second.machine):
        return []
    named = " and ".join(f"{side.name} ({headline(side.machine)})" for side in (first, second) if side.machine)
    if not different_machines:
        raise RunoffError(f"different machines: {named}", "to compare anyway: --allow-different-machines")
    return [f"different machines: {named}"]


def _same_cases(first: Measurements, second: Measurements, notes: list[str]) -> list[tuple[Member, Member]]:
    ones, others = ([m for m in side.members if m.computes and m.control_of is None] for side in (first, second))
    by_case = {member.case: member for member in others}
    shared = [(member, by_case[member.case]) for member in ones if member.case in by_case]
    only = len(ones) == len(others) == 1
    commands = len(ones) == len(others) and _commands(ones) and _commands(others)
    if shared or not (only or commands):
        return shared
    pairs = list(zip(ones, others, strict=True))
    named = "; ".join(f"{one.case} and {other.case}" for one, other in pairs)
    notes.append(f"the only case of each: {named}" if only else f"no names in common, compared by position: {named}")
    return pairs


def _commands(members: Sequence[Member]) -> bool:
    """Return whether these are commands in a file of another tool; their names do not show what they share."""
    return all(member.case == member.target for member in members)


def _reference(first: Side, second: Side, metric: Metric, relative_to: str | None, notes: list[str]) -> str:
    """Return the target that both cases are relative to, or `RAW`."""
    sides = (first, second)
    if relative_to is not None:
        named = {peer.target for data, member in sides for peer in data.peers(member.comparison)}
        if relative_to and relative_to not in named:
            raise RunoffError(f"--relative-to {relative_to}: no run has that target", did_you_mean(relative_to, named))
        return RAW if relative_to == first[1].target else relative_to
    cells = [data.cell(member, metric) for data, member in sides]
    bases = [base for data, member in sides if (base := data.baseline(member.comparison)) is not None]
    names = {base.target for base in bases}
    # only times drift
    if any(cell is None or cell.unit != "ns" for cell in cells) or len(bases) < len(sides) or len(names) > 1:
        return RAW
    (name,) = names
    if name in {member.target for _, member in sides} or not all(shares(side, metric, name) for side in sides):
        return RAW
    if bases[0].made_of != bases[1].made_of:
        before, after = _differing(bases[0].made_of, bases[1].made_of)
        notes.append(f"{name} itself changed in {second[0].name}, from {before} to {after}; comparing raw values")
        return RAW
    return name


def _differing(one: str, other: str) -> tuple[str, str]:
    """Return the parts of each description that are missing in the other."""
    ones, others = one.split(", "), other.split(", ")
    left, right = [part for part in ones if part not in others], [part for part in others if part not in ones]
    return ", ".join(left) or "unknown", ", ".join(right) or "unknown"


def _refuse_nothing(lines: list[MetricComparison], message: str) -> None:
    if not lines:
        raise RunoffError(message, "samples.csv of a run lists its cases and metrics", ExitCode.NOTHING_RUNS_HERE)


def _unfair(data: Measurements) -> list[str]:
    return [
        f"not a fair comparison: {comparison}: {text}" for comparison, texts in data.unfair.items() for text in texts
    ]
