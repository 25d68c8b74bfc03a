"""One suite on several machines: the ratio of each case on each machine, and what holds on all of them."""

from __future__ import annotations

import json
from math import isfinite, isnan, log, nan
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from runoff.analysis.meta import Pooled, log_error, pool
from runoff.analysis.verdict import BETTER_WORSE, Verdict, decide, not_comparable, read_verdict
from runoff.compare.metrics import MAIN, parse_metric
from runoff.history import query
from runoff.history.runs import why_unreadable
from runoff.records.files import MACHINE_FILE
from runoff.records.machine import headline
from runoff.report.text import plural
from runoff.statistics import adjust

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runoff.history.runs import FoundRun
    from runoff.history.series import Line

_FEWEST_UNITS = 2
_METRICS = {f"{metric.probe}.{metric.summary_name}": str(metric) for metric in map(parse_metric, MAIN)}
"""By their names in ``summary.csv``: the metrics that are compared."""
_VERSIONS = {"model_sha256": "file of the model", "runtime_version": "version of the runtime", "runoff": "runoff"}


class OnMachine(Struct, frozen=True, kw_only=True):
    """A comparison on one machine."""

    machine: str
    verdict: Verdict
    """That of the machine's own report."""
    n: int = 0
    """Number of units."""


class AcrossMachines(Struct, frozen=True, kw_only=True):
    """A case compared with a baseline on one metric, on every machine."""

    case: str
    target: str
    baseline: str
    metric: str
    unit: str
    machines: tuple[OnMachine, ...]
    pooled: Pooled | None = None
    """None if fewer than two machines have an interval."""
    verdict: Verdict = Verdict()
    """On the ratio of a typical machine; of the only one, its own."""

    def where(self, *kinds: str) -> list[str]:
        """Return the machines with one of these kinds of verdict."""
        return [one.machine for one in self.machines if one.verdict.kind in kinds]


class Seen(Struct, frozen=True, kw_only=True):
    """A machine, and how its run ended."""

    name: str
    about: str
    state: str
    reason: str = ""
    run: str = ""


class Machines(Struct, frozen=True, kw_only=True):
    """The result of the command ``machines``."""

    suite: str
    machines: tuple[Seen, ...]
    comparisons: tuple[AcrossMachines, ...]
    notes: tuple[str, ...] = ()


def across(runs: Sequence[FoundRun], lost: Sequence[Seen] = ()) -> Machines:
    """Return the comparisons of `runs`, one for each machine; `lost` are machines that have no run.

    Runs without a summary are listed, and count in no comparison.
    """
    names = {run.info.run_id: _name(run) for run in runs}
    seen = [_seen(run, names[run.info.run_id]) for run in runs]
    readable = [run for run in runs if not why_unreadable(run)]
    lines = query.lines(readable, list(_METRICS)) if readable else []
    grouped: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        metric = _METRICS.get(f"{line['probe']}.{line['metric']}")
        compared = line["baseline"] and line["baseline"] != line["target"] and not line["twin_of"]
        if metric and compared and line["computes"] and line["unit"] in BETTER_WORSE:
            grouped.setdefault((line["case"], line["target"], line["baseline"], metric, line["unit"]), []).append(line)
    found = [_combined(key, [_on_machine(line, names) for line in own]) for key, own in grouped.items()]
    return Machines(
        suite=runs[0].suite if runs else "",
        machines=(*seen, *lost),
        comparisons=tuple(_judged(found)),
        notes=tuple(_notes(lines, names)),
    )


def _name(run: FoundRun) -> str:
    """Return the name of a run's machine in its cluster, else of the run."""
    state = _state(run)
    return str(state["name"]) if state else run.info.run_id


def _state(run: FoundRun) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((run.folder / MACHINE_FILE).read_bytes())
    except FileNotFoundError:
        return {}
    return found


def _seen(run: FoundRun, name: str) -> Seen:
    state = _state(run)
    return Seen(
        name=name,
        about=headline(run.info.machine),
        state=state.get("state") or ("finished" if run.info.finished else "interrupted"),
        reason=why_unreadable(run) or state.get("reason", ""),
        run=run.info.run_id,
    )


def _on_machine(line: Line, names: Mapping[str, str]) -> OnMachine:
    numbers = {key: nan if value is None else value for key, value in line.items()}
    return OnMachine(machine=names[line["run"]], verdict=read_verdict(numbers), n=line["n"] or 0)


def _combined(key: tuple[str, ...], machines: Sequence[OnMachine]) -> AcrossMachines:
    """Return a comparison with its ratio over all machines that have an interval."""
    case, target, baseline, metric, unit = key
    known = [
        one
        for one in machines
        if isfinite(one.verdict.low) and one.n >= _FEWEST_UNITS and one.verdict.low < one.verdict.high
    ]
    pooled = None
    if len(known) > 1:
        errors = [log_error(one.verdict.low, one.verdict.high, one.n) for one in known]
        pooled = pool([log(one.verdict.ratio) for one in known], errors)
    return AcrossMachines(
        case=case, target=target, baseline=baseline, metric=metric, unit=unit, machines=tuple(machines), pooled=pooled
    )


def _judged(found: Sequence[AcrossMachines]) -> list[AcrossMachines]:
    """Return the comparisons with verdicts; p-values are corrected over all comparisons of a metric and a baseline.

    The noise floor is the largest of the machines.
    """
    families: dict[tuple[str, str], list[int]] = {}
    for place, one in enumerate(found):
        if one.pooled:
            families.setdefault((one.metric, one.baseline), []).append(place)
    corrected = dict.fromkeys(range(len(found)), nan)
    for places in families.values():
        ps = adjust(np.array([_p(found[place]) for place in places]))
        corrected |= dict(zip(places, map(float, ps), strict=True))
    return [replace(one, verdict=_verdict(one, corrected[place])) for place, one in enumerate(found)]


def _p(one: AcrossMachines) -> float:
    return one.pooled.ratio.p if one.pooled else nan


def _verdict(one: AcrossMachines, p_adjusted: float) -> Verdict:
    if len(one.machines) == 1:
        return one.machines[0].verdict
    if one.pooled is None:
        return not_comparable("needs two machines", one.unit)
    floors = [on.verdict.floor for on in one.machines if not isnan(on.verdict.floor)]
    return decide(one.pooled.ratio, p_adjusted, max(floors, default=None), one.unit)


def _notes(lines: Sequence[Line], names: Mapping[str, str]) -> list[str]:
    """Return what differs between the machines other than the machines."""
    notes = []
    for column, what in _VERSIONS.items():
        values: dict[tuple[str, object], dict[str, None]] = {}
        for line in lines:
            if line[column]:
                values.setdefault((line["case"], line[column]), {})[names[line["run"]]] = None
        cases = [case for case, _ in values]
        differing = (
            [case for case in dict.fromkeys(cases) if cases.count(case) > 1] if len(set(cases)) < len(cases) else []
        )
        if differing:
            notes.append(
                f"the {what} differs between machines in {plural(len(differing), 'case')}, such as {differing[0]}"
            )
    return notes


def holds(one: AcrossMachines) -> str:
    """Return on which machines the comparison came out how: ``faster on all 5 machines``."""
    better, worse = BETTER_WORSE[one.unit]
    groups = {
        better: one.where("better"),
        worse: one.where("worse"),
        "no difference": one.where("no difference"),
        "undecided": one.where("undecided"),
        "not comparable": one.where("not comparable"),
    }
    found = {name: machines for name, machines in groups.items() if machines}
    if len(found) == 1:
        ((name, machines),) = found.items()
        return f"{name} on {'all ' if len(machines) > 1 else ''}{plural(len(machines), 'machine')}"
    total = len(one.machines)
    return "; ".join(f"{name} on {len(on)} of {total} ({_some(on)})" for name, on in found.items())


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f", {len(names) - most} more" if len(names) > most else "")
