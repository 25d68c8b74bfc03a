"""What every report shows first: a row for each target, in blocks that may be compared."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from runoff.analysis.trust import computes, say
from runoff.analysis.verdict import BASELINE, BASELINES, NO_DIFFERENCE
from runoff.report.text import Figure, finite, full, plural

if TYPE_CHECKING:
    import pandas as pd

    from runoff.analysis.analyse import Analysis
    from runoff.plan import Case

WALL = ("process", "wall")
WARM = ("latency", "inference.warm")
PEAK = (("memory", "peak_memory"), ("process", "peak_memory"))
"""The runner's own high-water mark where there is one, else what hyperfine saw."""
_WORST_FIRST = ("error", "unsupported", "not-measured", "ok")


class Row(Struct, frozen=True, kw_only=True):
    """A case in the overview."""

    case: str
    target: str
    profile: str
    """The profile, and what departs from it."""
    computes: bool
    """False for the null runners."""
    wall: Figure
    wall_vs: dict[str, str]
    """Verdict by baseline."""
    warm: Figure
    warm_vs: dict[str, str]
    peak: Figure
    peak_vs: dict[str, str]
    status: str


class Block(Struct, frozen=True, kw_only=True):
    """Cases with the same model, workload, threads and batch; `rows` go profile by profile."""

    model: str
    workload: str
    threads: int
    batch: int
    rows: list[Row]

    @property
    def title(self) -> str:
        """What the block has in common, as text."""
        return f"{self.model}, {self.workload}, {plural(self.threads, 'thread')}, batch {self.batch}"

    @property
    def slug(self) -> str:
        """The same as a part of a file's name."""
        return f"{self.model}-{self.workload}-t{self.threads}-b{self.batch}"

    @property
    def profiles(self) -> list[str]:
        """The profiles, in the order of the plan."""
        return list(dict.fromkeys(row.profile for row in self.rows))


class Missing(Struct, frozen=True):
    """Something that was asked for and not measured, with the cases and metrics that share the reason."""

    status: str
    reason: str
    cases: list[str]
    metrics: list[str]


_Lines = dict[tuple[str, str, str], list[dict[str, Any]]]


def blocks(analysis: Analysis) -> list[Block]:
    """Return the blocks of the run, in the order of the plan."""
    lines: _Lines = defaultdict(list)
    statuses: dict[str, set[str]] = defaultdict(set)
    for line in analysis.summary.to_dict("records"):
        lines[line["case"], line["probe"], line["metric"]].append({str(key): line[key] for key in line})
        if not _is_detail(line["probe"], line["metric"]):
            statuses[line["case"]].add(line["status"])
    grouped: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for case in _by_profile(analysis.run.info.cases):
        settings = case.settings
        key = (case.model, case.workload, settings.threads, settings.batch)
        status = next((worst for worst in _WORST_FIRST if worst in statuses[case.id]), "not-measured")
        grouped[key].append(_row(case, lines, status, real=computes(analysis.run, case.target)))
    return [
        Block(model=model, workload=workload, threads=threads, batch=batch, rows=rows)
        for (model, workload, threads, batch), rows in grouped.items()
    ]


def _is_detail(probe: str, metric: str) -> bool:
    """Return whether a metric may be missing without the case being any less measured."""
    return probe == "counters" or ".p9" in metric


def _by_profile(cases: tuple[Case, ...]) -> list[Case]:
    order = {name: place for place, name in enumerate(dict.fromkeys(map(_profile, cases)))}
    return sorted(cases, key=lambda case: order[_profile(case)])


def _profile(case: Case) -> str:
    """Return the case's profile and what departs from it."""
    _model, _workload, profile, _threads, _batch, *others = case.comparison
    return ", ".join((profile, *others))


def _row(case: Case, lines: _Lines, status: str, *, real: bool) -> Row:
    peak = next((name for name in PEAK if _figure(lines, case.id, name).value is not None), PEAK[0])
    return Row(
        case=case.id,
        target=case.target,
        profile=_profile(case),
        computes=real,
        wall=_figure(lines, case.id, WALL),
        wall_vs=_verdicts(lines, case.id, WALL),
        warm=_figure(lines, case.id, WARM),
        warm_vs=_verdicts(lines, case.id, WARM),
        peak=_figure(lines, case.id, peak),
        peak_vs=_verdicts(lines, case.id, peak),
        status=status,
    )


def _figure(lines: _Lines, case: str, name: tuple[str, str]) -> Figure:
    found = lines.get((case, *name))
    if not found:
        return Figure()
    line = found[0]
    value, low, high = (finite(line[column]) for column in ("estimate", "low", "high"))
    return Figure(value, low, high, line["unit"], int(line["n"]))


def _verdicts(lines: _Lines, case: str, name: tuple[str, str]) -> dict[str, str]:
    found = lines.get((case, *name), [])
    return {line["baseline"]: line["verdict"] for line in found if line["baseline"] in BASELINES}


def missing(summary: pd.DataFrame) -> list[Missing]:
    """Return what has no result, one entry for each reason, in the order of the plan."""
    absent = summary[summary["status"] != "ok"]
    grouped: dict[tuple[str, str], tuple[dict[str, None], dict[str, None]]] = {}
    for line in absent.to_dict("records"):
        cases, metrics = grouped.setdefault((line["status"], line["reason"]), ({}, {}))
        cases[line["case"]] = None
        metrics[f"{line['probe']} {line['metric']}".strip()] = None
    return [
        Missing(status, reason, list(cases), list(metrics)) for (status, reason), (cases, metrics) in grouped.items()
    ]


def as_dict(analysis: Analysis) -> dict[str, Any]:
    """Return the overview as plain dicts and lists, for ``--json``. Times are in ns, memory in bytes."""
    info = analysis.run.info
    overview = {
        "run": info.run_id,
        "folder": str(analysis.run.folder),
        "blocks": [{"title": block.title} | msgspec.to_builtins(block) for block in blocks(analysis)],
        "missing": missing(analysis.summary),
        "audit": analysis.audit,
        "harness": msgspec.to_builtins(analysis.harness)
        | {"own_ns": analysis.harness.own_ns, "own_share": analysis.harness.own_share},
        "skipped": {case.id: say(case.skipped) for case in info.cases if case.skipped},
    }
    plain: dict[str, Any] = msgspec.to_builtins(overview)
    return plain


def headlines(block: Block) -> list[str]:
    """Return, profile by profile, which target does best and how it stands to the baselines, in words."""
    told = []
    for profile in block.profiles:
        rows = [row for row in block.rows if row.profile == profile and row.computes]
        for what, figure, verdicts, best in _METRICS:
            measured = [row for row in rows if getattr(row, figure).value is not None]
            if measured:
                winner = min(measured, key=lambda row: getattr(row, figure).value)
                least = getattr(winner, figure)
                versus = _versus(getattr(winner, verdicts))
                told.append(f"{profile}, {what}: {winner.target} is the {best}, {full(least)}{versus}.")
    return told


_METRICS = (
    ("whole process", "wall", "wall_vs", "quickest"),
    ("warm inference", "warm", "warm_vs", "quickest"),
    ("peak memory", "peak", "peak_vs", "smallest"),
)


def _versus(verdicts: dict[str, str]) -> str:
    parts = [
        f"{NO_DIFFERENCE} from {name}" if verdict == NO_DIFFERENCE else f"against {name} {verdict}"
        for name, verdict in verdicts.items()
        if verdict != BASELINE
    ]
    return ": " + "; ".join(parts) if parts else ""
