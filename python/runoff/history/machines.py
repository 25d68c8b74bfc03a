"""One suite on several machines: the ratio of each case on each machine, and over all of them."""

from __future__ import annotations

from math import isfinite, isnan, log, nan
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from runoff.analysis.meta import Pooled, log_error, pool
from runoff.analysis.verdict import BETTER_WORSE, Verdict, decide, not_comparable, read_verdict
from runoff.compare.metrics import MAIN, parse_metric
from runoff.history import query
from runoff.history.runs import why_unreadable
from runoff.records.machine import headline
from runoff.report.text import plural
from runoff.statistics import adjust

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from runoff.history.runs import FoundRun
    from runoff.history.series import Line
    from runoff.records.machine_states import State

_FEWEST_UNITS = 2
_NAMED = 3
"""Most machines that a cell of the table names."""
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

    def where(self, kind: str) -> list[str]:
        """Return the machines with this kind of verdict."""
        return [one.machine for one in self.machines if one.verdict.kind == kind]


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


def across(runs: Sequence[FoundRun], states: Mapping[Path, State], notes: Sequence[str] = ()) -> Machines:
    """Return the comparisons of `runs`, one for each machine.

    Runs without a summary, and the machines of `states` (by folder) without a run, are listed, and count in no
    comparison.
    """
    seen = {str(run.folder): _seen(run, states.get(run.folder)) for run in runs}
    names = {folder: one.name for folder, one in seen.items()}
    lost = [
        Seen(name=one.name, about=one.kind, state=one.state, reason=one.reason)
        for folder, one in states.items()
        if str(folder) not in seen
    ]
    # by folder: runs of two clusters that started in the same second have the same id
    readable = [replace(run, info=replace(run.info, run_id=str(run.folder))) for run in runs if not why_unreadable(run)]
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
        machines=(*seen.values(), *lost),
        comparisons=tuple(_judged(found)),
        notes=(*notes, *_notes(lines)),
    )


def _seen(run: FoundRun, state: State | None) -> Seen:
    """Return the machine of a run by its name in its cluster, else by that of the run."""
    how = "finished" if run.info.finished else "interrupted"
    return Seen(
        name=state.name if state else run.info.run_id,
        about=headline(run.info.machine),
        state=state.state if state else how,
        reason=why_unreadable(run) or (state.reason if state else ""),
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
    ps = [one.pooled.ratio.p if one.pooled else nan for one in found]
    corrected = adjust(ps, [(one.metric, one.baseline) for one in found])
    return [replace(one, verdict=_verdict(one, p)) for one, p in zip(found, corrected, strict=True)]


def _verdict(one: AcrossMachines, p_adjusted: float) -> Verdict:
    if len(one.machines) == 1:
        return one.machines[0].verdict
    if one.pooled is None:
        return not_comparable("needs two machines", one.unit)
    floors = [on.verdict.floor for on in one.machines if not isnan(on.verdict.floor)]
    return decide(one.pooled.ratio, p_adjusted, max(floors, default=None), one.unit)


def _notes(lines: Sequence[Line]) -> list[str]:
    """Return what differs between the machines other than the machines."""
    notes = []
    for column, what in _VERSIONS.items():
        values: dict[str, set[str]] = {}
        for line in lines:
            if line[column]:
                values.setdefault(line["case"], set()).add(line[column])
        differing = [case for case, found in values.items() if len(found) > 1]
        if differing:
            notes.append(
                f"the {what} differs between machines in {plural(len(differing), 'case')}, such as {differing[0]}"
            )
    return notes


def holds(one: AcrossMachines) -> str:
    """Return on which machines the comparison came out how: ``faster on all 5 machines``."""
    better, worse = BETTER_WORSE[one.unit]
    words = {"better": better, "worse": worse}
    kinds = ("better", "worse", "no difference", "undecided", "not comparable")
    found = {words.get(kind, kind): machines for kind in kinds if (machines := one.where(kind))}
    if len(found) == 1:
        ((name, machines),) = found.items()
        return f"{name} on {'all ' if len(machines) > 1 else ''}{plural(len(machines), 'machine')}"
    total = len(one.machines)
    return "; ".join(f"{name} on {len(on)} of {total} ({_some(on)})" for name, on in found.items())


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f", {len(names) - _NAMED} more" if len(names) > _NAMED else "")
