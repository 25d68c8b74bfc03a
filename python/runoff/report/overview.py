"""The overview of every report: a row for each target, in blocks of comparable cases."""

from __future__ import annotations

import re
from collections import defaultdict
from math import isfinite
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import fields, replace

from runoff.analysis.audit import unfair
from runoff.analysis.metric_samples import Key
from runoff.analysis.validity import computes, say
from runoff.analysis.verdict import Verdict, read_verdict
from runoff.analysis.wording import words
from runoff.plan.baselines import baselines_of
from runoff.probes import PROBES
from runoff.probes.energy import ENERGY, PARTS, shown_domains
from runoff.probes.load import PER_REQUEST
from runoff.report.device import software
from runoff.report.families import is_crowded
from runoff.report.measured import timing_words
from runoff.report.text import REQUEST, Figure, figure_of, finite, plural

if TYPE_CHECKING:
    import pandas as pd

    from runoff.analysis.analyse import Analysis
    from runoff.records.schema import Case, RunInfo

WALL = ("process", "wall")
WARM = ("latency", "inference.warm")
RATE = ("load", PER_REQUEST)
PEAK = (("memory", "peak_memory"), ("process", "peak_memory"))
"""The runner's own high-water mark if there is one, else that of hyperfine."""
DETAIL = re.compile(r"\.p\d[\d.]*$")
"""Optional metrics, without which a case still counts as measured: percentiles."""
ABOVE = "outputs lose more than the limit of their precision"
_WORST_FIRST = ("error", "unsupported", "not-measured", "ok")


class Energy(Struct, frozen=True, kw_only=True):
    """The energy of a case in one domain, with idle power subtracted."""

    process: Figure
    process_vs: dict[str, Verdict]
    """Verdict by baseline."""
    inference: Figure
    inference_vs: dict[str, Verdict]


class Row(Struct, frozen=True, kw_only=True):
    """A case in the overview."""

    case: str
    target: str
    profile: str
    """The profile, and the settings that differ from it."""
    computes: bool
    """False for the null runners."""
    control_of: str | None = field(default=None, name="twin_of")
    """The baseline that it repeats as A/A control; its verdict against it is then the A/A result."""
    stability: str = ""
    """The verdict of `runoff.analysis.stability`; empty for a case that could not run."""
    wall: Figure
    wall_vs: dict[str, Verdict]
    """Verdict by baseline."""
    warm: Figure
    warm_vs: dict[str, Verdict]
    rate: Figure = Figure()
    """The time per request at the highest rate within the latency bound, shown as that rate."""
    rate_vs: dict[str, Verdict] = {}
    peak: Figure
    peak_vs: dict[str, Verdict]
    energy: dict[str, Energy] = {}
    """By domain: those of the block that were measured."""
    rivals: dict[str, dict[str, Verdict]] = {}
    """If it is the best of a comparison of many targets: the verdict on each other target, by target, in each respect:
    ``wall``, ``warm``, ``rate``, ``peak``, or a domain of energy."""
    status: str
    unfair: list[str] = []
    """Points of the fairness audit in which this case alone deviates."""
    software: str = ""
    """The device that computed, if it is a GPU that is emulated on the CPU."""
    reason: str = ""
    """Reason why it cannot run on this machine; empty if it can."""

    @property
    def deviation(self) -> str:
        """The points in `unfair` as text; empty if there are none."""
        return f"differs: {', '.join(self.unfair)}" if self.unfair else ""


class Block(Struct, frozen=True, kw_only=True):
    """Cases with the same model, workload, threads and batch; `rows` go profile by profile."""

    model: str
    workload: str
    threads: int
    batch: int
    rows: list[Row]
    baselines: list[str] = []
    """Targets of the block that others are compared with."""
    unfair: dict[str, list[str]] = {}
    """By profile: the points of the fairness audit that differ."""
    domains: list[str] = []
    """Domains for which energy is shown: the entire processor, and GPUs."""
    crowded: bool = False
    """Whether the run has so many targets that the best are shown first, and the others folded."""

    @property
    def title(self) -> str:
        """The values that the block's cases share, as text."""
        return f"{self.model}, {self.workload}, {plural(self.threads, 'thread')}, batch {self.batch}"

    @property
    def slug(self) -> str:
        """The title as a part of a file name."""
        return f"{self.model}-{self.workload}-t{self.threads}-b{self.batch}"

    @property
    def present(self) -> list[Row]:
        """The rows of cases that can run on this machine."""
        return [row for row in self.rows if not row.reason]

    @property
    def unavailable(self) -> list[Row]:
        """The other rows, which are listed below the tables."""
        return [row for row in self.rows if row.reason]

    @property
    def profiles(self) -> list[str]:
        """The profiles, in the order of the plan."""
        return list(dict.fromkeys(row.profile for row in self.rows))


class Missing(Struct, frozen=True):
    """A reason for missing values, with the cases and metrics that it applies to."""

    status: str
    reason: str
    cases: list[str]
    metrics: list[str]


class OutlierCounts(Struct, frozen=True):
    """The number of samples of a metric, of `n`, beyond Tukey's fences. None of them was dropped."""

    case: str
    probe: str
    metric: str
    mild: int
    """Beyond 1.5 interquartile ranges, not beyond 3."""
    severe: int
    n: int


_Lines = dict[tuple[str, str, str], list[dict[str, Any]]]


def blocks(analysis: Analysis) -> list[Block]:
    """Return the blocks of the run, in the order of the plan."""
    lines: _Lines = defaultdict(list)
    statuses: dict[str, set[str]] = defaultdict(set)
    differing = _differing(analysis)
    domains = shown_domains(analysis.run.info.meters)
    compared = _baselines(analysis.run.info)
    emulated = software(analysis.run)
    crowded = is_crowded(analysis.run)
    named = {case.id: ".".join(case.comparison) for case in analysis.run.info.cases}
    for line in analysis.summary.to_dict("records"):
        lines[line["case"], line["probe"], line["metric"]].append({str(key): line[key] for key in line})
        if line["status"] != "not-measured" or not _is_detail(line["probe"], line["metric"]):
            statuses[line["case"]].add(line["status"])
    grouped: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    baselines: dict[tuple[Any, ...], dict[str, None]] = defaultdict(dict)
    for case in _by_profile(analysis.run.info.cases):
        settings = case.settings
        key = (case.model, case.workload, settings.threads, settings.batch)
        status = next((worst for worst in _WORST_FIRST if worst in statuses[case.id]), "not-measured")
        row = replace(_row(case, lines, status, analysis, emulated.get(case.id, "")), unfair=differing.get(case.id, []))
        grouped[key].append(replace(row, rivals=_rivals(case, domains, analysis)) if crowded else row)
        baselines[key] |= dict.fromkeys(compared[case.comparison])
    return [
        Block(
            model=key[0],
            workload=key[1],
            threads=key[2],
            batch=key[3],
            rows=rows,
            baselines=list(baselines[key]),
            unfair={row.profile: differing[named[row.case]] for row in rows if named[row.case] in differing},
            domains=[name for name in domains if any(name in row.energy for row in rows)],
            crowded=crowded,
        )
        for key, rows in grouped.items()
    ]


def _baselines(info: RunInfo) -> dict[tuple[str, ...], list[str]]:
    """Return the targets that others are compared with, by comparison."""
    peers: dict[tuple[str, ...], list[Case]] = defaultdict(list)
    for case in info.cases:
        peers[case.comparison].append(case)
    return {name: [case.target for case in baselines_of(cases, info.baselines)] for name, cases in peers.items()}


def _differing(analysis: Analysis) -> dict[str, list[str]]:
    """Return, by comparison or case, the points of the audit that differ, and by comparison a loss above its limit."""
    points = {name: [point.point for point in found] for name, found in unfair(analysis.audit).items()}
    above = {one.case for one in analysis.precisions if one.above}
    for name in {".".join(case.comparison) for case in analysis.run.info.cases if case.id in above}:
        points.setdefault(name, []).append(ABOVE)
    return points


def _is_detail(probe: str, metric: str) -> bool:
    """Return whether a metric is optional: without it, a case still counts as measured."""
    return (probe in PROBES and PROBES[probe].optional) or bool(DETAIL.search(metric))


def _by_profile(cases: tuple[Case, ...]) -> list[Case]:
    order = {name: place for place, name in enumerate(dict.fromkeys(map(_profile, cases)))}
    return sorted(cases, key=lambda case: order[_profile(case)])


def _profile(case: Case) -> str:
    """Return the case's profile and the settings that differ from it."""
    _model, _workload, profile, _threads, _batch, *others = case.comparison
    return ", ".join((profile, *others))


def _row(case: Case, lines: _Lines, status: str, analysis: Analysis, emulated: str) -> Row:
    peak = next((name for name in PEAK if _figure(lines, case.id, name).value is not None), PEAK[0])
    steadiness = analysis.stability.get(case.id)
    return Row(
        case=case.id,
        target=case.target,
        profile=_profile(case),
        computes=computes(analysis.run, case.target),
        control_of=case.control_of,
        stability=steadiness.verdict if steadiness else "",
        **_measured(lines, case, wall=WALL, warm=WARM, rate=RATE, peak=peak),
        energy=_energy(case, lines, shown_domains(analysis.run.info.meters)),
        status=status,
        software=emulated,
        reason=say(case.skipped) if case.skipped else "",
    )


def _rivals(case: Case, domains: list[str], analysis: Analysis) -> dict[str, dict[str, Verdict]]:
    """Return the verdicts on the others of a comparison in the respects in which `case` is the best."""
    names = {"wall": (WALL,), "warm": (WARM,), "rate": (RATE,), "peak": PEAK}
    names |= {domain: ((ENERGY.name, f"inference.{domain}"),) for domain in domains}
    found = {
        respect: [analysis.leaders[key] for name in of if (key := Key(case.id, *name)) in analysis.leaders]
        for respect, of in names.items()
    }
    return {respect: verdicts[0] for respect, verdicts in found.items() if verdicts}


def _energy(case: Case, lines: _Lines, domains: list[str]) -> dict[str, Energy]:
    """Return the measured energy of a case, by domain."""
    by_domain = {}
    for domain in domains:
        names = {part: (ENERGY.name, f"{part}.{domain}") for part in PARTS}
        drawn = Energy(**_measured(lines, case, **names))
        if drawn.process.value is not None or drawn.inference.value is not None:
            by_domain[domain] = drawn
    return by_domain


def _measured(lines: _Lines, case: Case, **names: tuple[str, str]) -> dict[str, Any]:
    """Return the fields with the figure of each metric, and its verdicts by baseline."""
    figures: dict[str, Any] = {field: _figure(lines, case.id, name) for field, name in names.items()}
    return figures | {f"{field}_vs": _verdicts(lines, case, name) for field, name in names.items()}


def _figure(lines: _Lines, case: str, name: tuple[str, str]) -> Figure:
    rows = lines.get((case, *name))
    figure = figure_of(rows[0]) if rows else Figure()
    return replace(figure, unit=REQUEST) if name == RATE else figure


def _verdicts(lines: _Lines, case: Case, name: tuple[str, str]) -> dict[str, Verdict]:
    compared = (line for line in lines.get((case.id, *name), []) if line["baseline"])
    verdicts = {line["baseline"]: read_verdict(line) for line in compared}
    control = verdicts.get(case.control_of or "")
    if case.control_of and control and isfinite(control.low):
        verdicts[case.control_of] = replace(control, kind="A/A")
    return verdicts


def missing(summary: pd.DataFrame) -> list[Missing]:
    """Return the missing values, one entry for each reason, in the order of the plan."""
    incomplete = summary[summary["status"] != "ok"]
    grouped: dict[tuple[str, str], tuple[dict[str, None], dict[str, None]]] = {}
    for line in incomplete.to_dict("records"):
        cases, metrics = grouped.setdefault((line["status"], line["reason"]), ({}, {}))
        cases[line["case"]] = None
        metrics[f"{line['probe']} {line['metric']}".strip()] = None
    return [
        Missing(status, reason, list(cases), list(metrics)) for (status, reason), (cases, metrics) in grouped.items()
    ]


def ratios(analysis: Analysis) -> list[dict[str, Any]]:
    """Return the ratios of the headline metrics, with their corrected p-values and noise floors.

    Keys are columns of ``summary.csv``; missing numbers are None.
    """
    domains = shown_domains(analysis.run.info.meters)
    times = ((probe.name, probe.headline[0]) for probe in PROBES.values() if probe.timed)
    shown = {*times, *PEAK, *((ENERGY.name, f"{part}.{domain}") for part in PARTS for domain in domains)}
    return [
        {name: finite(line[name]) if name in _NUMBERS else line[name] for name in (*_NAMES, *_NUMBERS)}
        for line in analysis.summary.to_dict("records")
        if (line["probe"], line["metric"]) in shown and finite(line["ratio"]) is not None
    ]


_NAMES = ("case", "target", "probe", "metric", "unit", "baseline", "verdict", "verdict_kind", "verdict_reason")
_NUMBERS = ("ratio", "ratio_low", "ratio_high", "p_adjusted", "floor")


def outliers(analysis: Analysis) -> list[OutlierCounts]:
    """Return the number of outliers among the samples of each case, if they were counted."""
    counts: dict[tuple[str, str, str], dict[str, tuple[int, int]]] = defaultdict(dict)
    for line in analysis.summary.to_dict("records"):
        metric, _, kind = line["metric"].rpartition(".")
        if kind in ("mild_outliers", "severe_outliers") and finite(line["estimate"]) is not None:
            counts[line["case"], line["probe"], metric][kind] = int(line["estimate"]), int(line["n"])
    return [
        OutlierCounts(*key, kinds["mild_outliers"][0], kinds["severe_outliers"][0], kinds["mild_outliers"][1])
        for key, kinds in counts.items()
        if len(kinds) > 1
    ]


def as_dict(analysis: Analysis) -> dict[str, Any]:
    """Return the overview as plain dicts and lists, for ``--json``. Times are in ns, memory in bytes."""
    info = analysis.run.info
    overview = {
        "run": info.run_id,
        "folder": str(analysis.run.folder),
        "blocks": [{"title": block.title} | _in_words(block) for block in blocks(analysis)],
        "missing": missing(analysis.summary),
        "audit": analysis.audit,
        "ratios": ratios(analysis),
        "stability": analysis.stability,
        "precisions": _in_words(analysis.precisions),
        "outliers": outliers(analysis),
        "accuracy": [replace(one, images=[replace(i, picture="") for i in one.images]) for one in analysis.labelled],
        "timed": timing_words(analysis.run),
        "footprints": info.footprints,
        "meters": info.meters,
        "meters_lacking": info.unavailable_meters,
        "stops": info.stops,
        "precision": info.precision,
        "time_s": info.time_s,
        "harness": {
            **{name: getattr(info, name) for name in ("elapsed_ns", "measured_ns", "paused_ns", "making_ns")},
            "own_ns": info.overhead_ns,
            "own_share": info.overhead_share,
        },
        "skipped": {case.id: say(case.skipped) for case in info.cases if case.skipped},
    }
    plain: dict[str, Any] = msgspec.to_builtins(overview)
    return plain


def _in_words(value: Any) -> Any:  # noqa: ANN401 - anything that a block holds
    """Return `value` as plain dicts and lists, with its verdicts as text."""
    if isinstance(value, Verdict):
        return words(value)
    if isinstance(value, Struct):
        return {one.encode_name: _in_words(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, dict):
        return {key: _in_words(item) for key, item in value.items()}
    return [_in_words(item) for item in value] if isinstance(value, list) else value
