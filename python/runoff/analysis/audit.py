"""Fairness audit: what has to be the same in a comparison, checked against what was really in effect."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from runoff.analysis.trust import computes, disagreements, say
from runoff.models.store import PREPARED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runoff.plan import Case
    from runoff.protocol import Effective
    from runoff.store import Record, Run

Outcome = Literal["ok", "differs", "unknown"]
_WORDS = {"prepared": "prepared model", "overlap": "overlapped preprocessing"}
"""Settings whose names do not say what a target lacks."""
MOST_STEPS = 2.0
"""Inputs may differ by two steps of 255: right decoders and resizers may each round a pixel differently."""


class Point(Struct, frozen=True):
    """One point of the audit of one comparison."""

    comparison: tuple[str, ...]
    point: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True)
class _Group:
    """A comparison: its cases that ran, and what their runners said was in effect."""

    cases: tuple[Case, ...]
    effective: Mapping[str, tuple[Effective, ...]]
    records: Mapping[str, tuple[Record, ...]]


def audit(run: Run) -> list[Point]:
    """Return the points of every comparison in which at least one case ran, in the order of the plan."""
    records: defaultdict[str, list[Record]] = defaultdict(list)
    for record in run.records:
        records[record.case].append(record)
    comparisons: defaultdict[tuple[str, ...], list[Case]] = defaultdict(list)
    for case in run.info.cases:
        if case.skipped is None and records[case.id] and computes(run, case.target):
            comparisons[case.comparison].append(case)
    points = []
    for comparison, cases in comparisons.items():
        group = _Group(
            tuple(cases),
            {case.id: _effective(records[case.id]) for case in cases},
            {case.id: tuple(records[case.id]) for case in cases},
        )
        found = [_engine(group), _library(group), _model(run, group), _inputs(group), _answers(run, group)]
        found += [_threads(group), _provider(group), _settings(group), _ignored(run, group)]
        points += [Point(comparison, name, outcome, detail) for name, outcome, detail in found]
    return points


def _effective(records: Iterable[Record]) -> tuple[Effective, ...]:
    """Return the distinct things in effect over the processes of a case."""
    seen: list[Effective] = []
    for record in records:
        effective = record.result.effective if record.result else None
        if effective is not None and effective not in seen:
            seen.append(effective)
    return tuple(seen)


_Found = tuple[str, Outcome, str]


def _same(name: str, values: Mapping[str, str | None], what: str) -> _Found:
    """Return whether all targets of `values` have one value; a target without one leaves it unknown."""
    distinct = {value for value in values.values() if value}
    if len(distinct) > 1:
        return name, "differs", "; ".join(f"{target}: {value}" for target, value in values.items())
    blind = sorted(target for target, value in values.items() if not value)
    if blind:
        return name, "unknown", f"{', '.join(blind)} did not say"
    return (name, "ok", f"{what}: {distinct.pop()}") if distinct else (name, "unknown", f"no {what} in this comparison")


def _onnxruntimes(group: _Group) -> dict[str, tuple[Effective, ...]]:
    """Return what was in effect for each target that ran on ONNX Runtime."""
    return {
        case.target: group.effective[case.id]
        for case in group.cases
        if any(effective.runtime == "onnxruntime" for effective in group.effective[case.id])
    }


def _engine(group: _Group) -> _Found:
    engines = {
        target: " and ".join(sorted({f"{e.version} ({e.build or 'build not told'})" for e in seen}))
        for target, seen in _onnxruntimes(group).items()
    }
    return _same("same engine", engines, "ONNX Runtime")


def _library(group: _Group) -> _Found:
    """Return whether all that load a library load the same; Python's wheel links the same build into its module."""
    files = {
        target: {e.library.replace("\\", "/").rsplit("/", 1)[-1] for e in seen if e.library}
        for target, seen in _onnxruntimes(group).items()
    }
    loaded = {target: " and ".join(sorted(names)) for target, names in files.items() if names}
    name, outcome, detail = _same("same library file", loaded, "library")
    linked = sorted(files.keys() - loaded.keys())
    return name, outcome, f"{detail}; linked into its own module: {', '.join(linked)}" if linked else detail


def _model(run: Run, group: _Group) -> _Found:
    name = group.cases[0].model
    told = run.info.models.get(name, {})
    hashes = told.get("sha256") or {}
    if not hashes:
        return "same weights", "unknown", f"run.json has no SHA-256 of {name}"
    detail = ", ".join(f"{kind} {value[:12]}" for kind, value in sorted(hashes.items()))
    prepared = told.get("prepared")
    if prepared is None or all(case.format != PREPARED for case in group.cases):
        return "same weights", "ok", detail
    source = str(prepared["key"].get("model_sha256"))
    outcome: Outcome = "ok" if source in hashes.values() else "differs"
    return "same weights", outcome, f"{detail}, {PREPARED} {prepared['sha256'][:12]} prepared from {source[:12]}"


def _inputs(group: _Group) -> _Found:
    if group.cases[0].workload == "tensor":
        return "same input", "ok", "all read the same tensor files"
    worst: dict[str, float] = {}
    for case in group.cases:
        for record in group.records[case.id]:
            found = [check["input_max_diff"] for check in record.parity if check.get("input_max_diff") is not None]
            if found:
                worst[case.target] = max(worst.get(case.target, 0.0), *found)
    if not worst:
        return "same input", "unknown", "no accuracy probe compared the tensors that went in"
    outcome: Outcome = "ok" if max(worst.values()) <= MOST_STEPS else "differs"
    blind = sorted({case.target for case in group.cases} - worst.keys())
    if blind and outcome == "ok":
        outcome = "unknown"
    detail = ", ".join(f"{target} {value:.3g}" for target, value in worst.items())
    return "same input", outcome, f"largest difference in steps of 255: {detail}" + _not_said(blind)


def _not_said(blind: Iterable[str]) -> str:
    names = ", ".join(blind)
    return f"; not compared: {names}" if names else ""


def _answers(run: Run, group: _Group) -> _Found:
    wrong = disagreements(run)
    told = [f"{case.target}: {say(wrong[case.id])}" for case in group.cases if case.id in wrong]
    if told:
        return "same answer", "differs", "; ".join(told)
    worst = {
        case.target: max(check["max_rel_diff"] for record in group.records[case.id] for check in record.parity)
        for case in group.cases
        if any(record.parity for record in group.records[case.id])
    }
    blind = sorted({case.target for case in group.cases} - worst.keys())
    detail = ", ".join(f"{target} {value:.1e}" for target, value in worst.items()) or "none compared"
    outcome: Outcome = "unknown" if blind else "ok"
    return "same answer", outcome, f"largest relative difference: {detail}" + _not_said(blind)


def _asked(name: str, group: _Group, wanted: Mapping[str, object], field: str) -> _Found:
    """Return whether `field` of what was in effect is what the case asked for."""
    differing, blind = [], []
    for case in group.cases:
        got = {getattr(effective, field) for effective in group.effective[case.id]}
        if not got or None in got:
            blind.append(case.target)
        if got - {wanted[case.id], None}:
            differing.append(f"{case.target} asked for {wanted[case.id]}, got {', '.join(sorted(map(str, got)))}")
    if differing:
        return name, "differs", "; ".join(differing)
    if blind:
        return name, "unknown", f"{', '.join(sorted(blind))} did not say"
    return name, "ok", f"{next(iter(wanted.values()))} in effect in all"


def _threads(group: _Group) -> _Found:
    return _asked("threads", group, {case.id: case.settings.threads for case in group.cases}, "threads")


def _provider(group: _Group) -> _Found:
    return _asked("provider", group, {case.id: case.settings.provider for case in group.cases}, "provider")


def _settings(group: _Group) -> _Found:
    first = group.cases[0].settings
    others = sorted({case.target for case in group.cases if case.settings != first})
    if others:
        return "same settings", "differs", f"not those of {group.cases[0].target}: {', '.join(others)}"
    return "same settings", "ok", f"profile {first.profile}"


def _ignored(run: Run, group: _Group) -> _Found:
    why = run.info.models.get(group.cases[0].model, {}).get("not_prepared")
    told = {
        case.target: sorted({name for effective in group.effective[case.id] for name in effective.ignored})
        for case in group.cases
    }
    lacks = [f"{target} has no {_words(names)}" for target, names in told.items() if names]
    if why and any("prepared" in names for names in told.values()):
        lacks.append(f"not prepared: {why}")
    # not unfair: every target gets all of the profile that it has a way to apply
    return "settings applied", "ok", "; ".join(lacks) or "all"


def _words(names: Iterable[str]) -> str:
    return ", ".join(_WORDS.get(name, name) for name in names)
