"""Series of points in time, made from lines of the history: the value of a case's metric at each version or run."""

from __future__ import annotations

from datetime import UTC, datetime
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from runoff.analysis.verdict import Verdict  # noqa: TC001 (msgspec evaluates the annotations)
from runoff.probes import PROBES
from runoff.records.errors import RunoffError, did_you_mean
from runoff.report.text import Figure

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from runoff.analysis.metric_samples import Metric

Line = dict[str, Any]
"""A line of the history, with the columns of the view `history`."""
By = Literal["date", "model", "runtime", "machine", "runoff"]
BY: tuple[By, ...] = get_args(By)
_SHORT = 12
"""Digits of a hash that are shown."""
_NEAREST = 5
"""Most cases that a hint lists."""


class Change(Struct, frozen=True, kw_only=True):
    """How a point compares with the previous one."""

    against: str
    """The run of the previous point."""
    verdict: Verdict
    """Its ratio is the previous value divided by the new one: above 1 is better."""
    how: str
    """What was compared: ``relative to ort-python in both runs``, or ``raw``."""


class Point(Struct, frozen=True, kw_only=True):
    """One metric of one case in one run."""

    run: str
    started: datetime
    """In UTC."""
    machine: str
    machine_key: str
    versions: dict[str, str]
    """``runtime``, ``model`` and ``runoff``, as text."""
    figure: Figure = Figure()
    missing: str = ""
    """Reason for a missing value."""
    stability: str = ""
    relative_to: str = ""
    """The last baseline of its run that the case was compared with; empty for the baseline itself."""
    relative: Figure = Figure()
    """The baseline's value divided by the case's, in its own run: above 1 is better."""
    new: tuple[str, ...] = ()
    """Versions that changed since the previous point on the same machine; the first point has all."""
    change: Change | None = None

    @property
    def measured(self) -> bool:
        """Whether there is a value."""
        return self.figure.value is not None


class Series(Struct, frozen=True, kw_only=True):
    """The points of one metric of one case, in order of time."""

    case: str
    metric: str
    computes: bool
    points: list[Point]


def cases_of(lines: Sequence[Line], pattern: str) -> list[str]:
    """Return the cases that match `pattern`, in the order of the latest run; without a pattern, all of that run.

    Without a pattern, A/A controls and the null runners are skipped.

    Raises
    ------
    RunoffError
        If no case matches.
    """
    if not lines:
        raise RunoffError("these runs have no results", "measure: runoff bench")
    if not pattern:
        latest = [line for line in lines if line["run"] == lines[-1]["run"]]
        shown = [line for line in latest if line["computes"] and not line["twin_of"]]
        return list(dict.fromkeys(line["case"] for line in shown or latest))
    by_run: dict[str, list[Line]] = {}
    for line in lines:
        by_run.setdefault(line["run"], []).append(line)
    known = dict.fromkeys(line["case"] for run in reversed(by_run.values()) for line in run)
    chosen = [case for case in known if fnmatchcase(case, pattern)]
    if not chosen:
        raise RunoffError(f"--case {pattern}: no such case", _nearest(pattern, known))
    return chosen


def _nearest(pattern: str, known: Collection[str]) -> str:
    """Return a hint that names the closest cases, or all if they are few."""
    if len(known) <= _NEAREST or get_close_matches(pattern, known, n=1):
        return did_you_mean(pattern, known)
    return f"the closest of {len(known)} cases: {', '.join(get_close_matches(pattern, known, n=_NEAREST, cutoff=0))}"


def series(lines: Iterable[Line], case: str, metric: Metric, by: By) -> Series | None:
    """Return the points of `metric` of `case`; None if no run has a value. `lines` are in order of time.

    By ``date`` every run has a point; by anything else, the last run of each version on each machine.
    """
    runs: dict[str, list[Line]] = {}
    for line in lines:
        if line["case"] == case:
            runs.setdefault(line["run"], []).append(line)
    points = _thinned([_point(run_lines, metric) for run_lines in runs.values()], by)
    if not any(point.measured for point in points):
        return None
    computes = any(line["computes"] for run_lines in runs.values() for line in run_lines)
    return Series(case=case, metric=str(metric), computes=computes, points=_with_new_versions(points))


def why_missing(lines: Sequence[Line], case: str, metric: Metric) -> str:
    """Return the reason why no run has a value of `metric` of `case`: that of the last run."""
    reasons = [_missing([line], metric) for line in lines if line["case"] == case and line["probe"] == metric.probe]
    specific = [reason for reason in reasons if reason != unmeasured(metric)]
    return specific[-1] if specific else unmeasured(metric)


def unmeasured(metric: Metric) -> str:
    """Return the reason for a run that does not have the metric at all."""
    return f"{metric} was not measured"


def _point(lines: Sequence[Line], metric: Metric) -> Point:
    """Return the point of one run; `lines` are the case's lines in that run."""
    first = lines[0]
    of_metric = [line for line in lines if (line["probe"], line["metric"]) == (metric.probe, metric.summary_name)]
    measured = [line for line in of_metric if line["status"] == "ok" and line["estimate"] is not None]
    values: dict[str, Any] = {}
    if measured:
        values["figure"] = _figure(measured[0], "estimate", "low", "high", measured[0]["unit"])
        compared = [line for line in measured if line["ratio"] is not None]
        peers = [line for line in compared if line["baseline"] not in (line["target"], line["twin_of"])]
        if peers:
            values |= {
                "relative_to": peers[-1]["baseline"],
                "relative": _figure(peers[-1], "ratio", "ratio_low", "ratio_high", "ratio"),
            }
    return Point(
        run=first["run"],
        started=first["started"].replace(tzinfo=UTC),
        machine=first["machine"],
        machine_key=first["machine_key"],
        versions=_versions(first),
        missing="" if measured else _missing(lines, metric),
        stability=(measured[0]["stability"] if measured else "") or "",
        **values,
    )


def _figure(line: Line, value: str, low: str, high: str, unit: str) -> Figure:
    return Figure(line[value], line[low], line[high], unit, line["n"] or 0)


def _missing(lines: Sequence[Line], metric: Metric) -> str:
    """Return the reason for a missing value: that of the metric, or else of its probe's headline."""
    for name in (metric.summary_name, PROBES[metric.probe].headline[0]):
        for line in lines:
            if (line["probe"], line["metric"] or "") == (metric.probe, name) and line["status"] != "ok":
                few = line["status"] == "not-measured" and name and metric.quantile is not None
                return f"{'omitted, too few samples' if few else line['status']}: {line['reason']}"
    return unmeasured(metric)


def _versions(line: Line) -> dict[str, str]:
    runtime = (line["runtime"], line["runtime_version"], line["runtime_build"])
    versions = {
        "runtime": " ".join(filter(None, runtime)),
        "model": f"model {line['model_sha256'][:_SHORT]}" if line["model_sha256"] else "",
        "runoff": f"runoff {line['runoff']}" if line["runoff"] else "",
    }
    return {name: text for name, text in versions.items() if text}


def _thinned(points: Sequence[Point], by: By) -> list[Point]:
    if by == "date":
        return list(points)
    last: dict[tuple[str, str], Point] = {}
    for point in points:
        if point.measured:
            key = (point.machine_key, point.versions.get(by, ""))
            last.pop(key, None)
            last[key] = point
    return list(last.values())


def _with_new_versions(points: Sequence[Point]) -> list[Point]:
    """Return the points, each with the versions that changed since the previous one on the same machine."""
    before: dict[str, dict[str, str]] = {}
    updated = []
    for point in points:
        known = before.get(point.machine_key, {})
        new = tuple(text for name, text in point.versions.items() if known.get(name) != text)
        updated.append(replace(point, new=new))
        before[point.machine_key] = point.versions
    return updated
