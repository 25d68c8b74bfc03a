"""``report.md``: a run in words and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from runoff.analysis.verdict import percent
from runoff.machine import headline
from runoff.report import energy
from runoff.report.measured import how_lines
from runoff.report.overview import Row, blocks, headlines, outliers, ratios
from runoff.report.palette import PHASES
from runoff.report.terminal import audit_lines, harness_line, missing_lines
from runoff.report.text import Figure, finite, full

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from runoff.analysis.analyse import Analysis
    from runoff.report.overview import Block

NEAR_ONE = 0.99
"""From here on a cosine needs all its digits."""
HOW_TO_READ = """\
Numbers are medians over processes, with 95 % intervals in brackets. A ratio is paired: the baseline's value
divided by the target's at the same time, so that 4x faster means a quarter of the time. The floor is what the baseline
seems to differ from itself, run twice under two names. "No difference" means that the interval includes 1, that the
p-value, corrected for all comparisons made, is above 0.05, or that the difference is within the floor. Process times
are hyperfine's; phases and inference times are the runner's own; neither is subtracted from the other."""


def report(analysis: Analysis, plots: Sequence[Path]) -> str:
    """Return the text of ``report.md``; `plots` are paths relative to it."""
    made = blocks(analysis)
    parts = [f"# runoff: {analysis.run.info.run_id}", headline(analysis.run.info.machine), HOW_TO_READ]
    parts += _warnings(analysis)
    parts.append("## Verdicts")
    for block in made:
        parts += [
            f"### {block.title}",
            _bullets(headlines(block)) or "Nothing was measured.",
            overview(block),
        ]
    parts += ["## How it was measured", _bullets(how_lines(analysis.run)) or "No inferences were timed."]
    parts += _energy(analysis)
    parts += _stability(analysis)
    parts += _ratios(analysis)
    parts += _plots(plots)
    parts += _life(analysis)
    parts += _probes(analysis)
    parts += _outliers(analysis)
    parts += ["## Same answer", _accuracy(analysis.summary)]
    parts += ["## Fairness audit", _audit(analysis)]
    parts += ["## Not measured", _bullets(missing_lines(analysis.summary)) or "All that was asked for was measured."]
    parts += ["## The harness", harness_line(analysis.harness) + "."]
    parts += ["## Machine and versions", _facts(analysis)]
    parts += [
        "## Files",
        _bullets(["[samples.csv](samples.csv)", "[summary.csv](summary.csv)", "[run.json](run.json)"]),
    ]
    return "\n\n".join(parts) + "\n"


def _warnings(analysis: Analysis) -> list[str]:
    lines = audit_lines(analysis)
    return ["**Warning.** What differs between targets, beside the targets:\n\n" + _bullets(lines)] if lines else []


def overview(block: Block) -> str:
    """Return the table of one block."""
    against = [f"vs {name}" for name in block.baselines]
    joules = [word for name in block.domains for word in (f"energy of an inference ({name})", *against)]
    head = ["profile", "target", "whole process", *against, "warm inference", *against, *joules, "peak memory"]
    return table([*head, "stability", "status"], (_overview_cells(row, block) for row in block.rows))


def _overview_cells(row: Row, block: Block) -> Iterator[str]:
    baselines = block.baselines
    yield from (row.profile, f"*{row.target}*" if row.twin_of else row.target, full(row.wall))
    yield from (row.wall_vs.get(name, "") for name in baselines)
    yield full(row.warm)
    yield from (row.warm_vs.get(name, "") for name in baselines)
    for domain in block.domains:
        drawn = row.energy.get(domain)
        yield full(drawn.inference) if drawn else ""
        yield from (drawn.inference_vs.get(name, "") if drawn else "" for name in baselines)
    yield from (full(row.peak), row.stability, row.status)


def _energy(analysis: Analysis) -> list[str]:
    """Return the section on energy; none where it was not asked for."""
    missing = _bullets(f"not read: {line}" for line in energy.lacking(analysis.run))
    rows = list(energy.rows(analysis))
    told = [energy.NOTE, table(energy.HEAD, rows)] if rows else []
    return ["## Energy", *told, *([missing] if missing else [])] if rows or missing else []


def _stability(analysis: Analysis) -> list[str]:
    note = (
        "The worst that holds stands first, then the evidence: what made the verdict, then what was fine or could not "
        "be told. docs/stability-and-fairness.md has the thresholds."
    )
    rows = (
        [case, ", ".join(found.holds) or found.verdict, "; ".join(found.evidence)]
        for case, found in analysis.stability.items()
    )
    return ["## Stability", note, table(["case", "stability", "evidence"], rows)] if analysis.stability else []


def _ratios(analysis: Analysis) -> list[str]:
    rows = (
        [
            *(line["case"], f"{line['probe']} {line['metric']}", line["baseline"]),
            *(_digits(line[name]) for name in ("ratio", "ratio_low", "ratio_high")),
            "" if line["p_adjusted"] is None else f"{line['p_adjusted']:.2g}",
            "" if line["floor"] is None else percent(line["floor"]),
            line["verdict"],
        ]
        for line in ratios(analysis)
    )
    head = ["case", "metric", "baseline", "ratio", "low", "high", "p, corrected", "floor", "verdict"]
    lines = list(rows)
    return ["## Ratios", table(head, lines)] if lines else []


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _outliers(analysis: Analysis) -> list[str]:
    """Return how many samples lie far from the others."""
    note = (
        "Samples beyond 1.5 (mild) and 3 (severe) interquartile ranges from the quartiles. They are counted here and "
        "stay in every estimate and plot."
    )
    rows = [
        [found.case, f"{found.probe} {found.metric}", f"{found.n:,}", f"{found.mild:,}", f"{found.severe:,}"]
        for found in outliers(analysis)
    ]
    return ["## Outliers", note, table(["case", "metric", "samples", "mild", "severe"], rows)] if rows else []


def _plots(plots: Sequence[Path]) -> list[str]:
    shown = [path for path in plots if path.suffix == ".png"]
    return ["## Plots", *(f"![{path.stem}]({path.as_posix()})" for path in shown)] if shown else []


def _life(analysis: Analysis) -> list[str]:
    life = analysis.life
    if life.empty:
        return []
    note = (
        "Phases of one process for each case, the one whose whole time is the median; they add up to it. "
        "Milliseconds. Medians phase by phase are in summary.csv."
    )
    wide = life.assign(ms=life["duration_ns"] / 1e6).pivot_table(
        index="case", columns="phase", values="ms", sort=False, aggfunc="sum"
    )
    known = list(PHASES)
    phases = sorted(map(str, wide.columns), key=lambda name: known.index(name) if name in known else len(known))
    rows = (
        [str(case), *(_ms(values[phase]) for phase in phases), _ms(values.sum())] for case, values in wide.iterrows()
    )
    return ["## Life of a process", note, table(["case", *phases, "whole"], rows)]


def _ms(value: Any) -> str:  # noqa: ANN401 - a cell of a table
    return "" if pd.isna(value) else f"{value:,.1f}"


def _probes(analysis: Analysis) -> Iterator[str]:
    """Yield a table for each probe, with a row for each metric and case."""
    first = analysis.summary.drop_duplicates(["case", "probe", "metric"])
    measured = first[(first["n"] > 0) & first["estimate"].notna() & (first["probe"] != "accuracy")]
    for probe, lines in measured.groupby("probe", sort=False):
        yield f"## Probe {probe}"
        wide = lines.assign(cell=[_cell(line) for line in lines.to_dict("records")]).pivot_table(
            index="metric", columns="case", values="cell", aggfunc="first", sort=False
        )
        for comparison, cases in _columns(analysis, [str(case) for case in wide.columns]):
            part = wide[list(cases.values())].dropna(how="all").fillna("")
            rows = (
                [str(metric), *map(str, values)] for metric, values in zip(part.index, part.to_numpy(), strict=True)
            )
            yield f"{comparison}:\n\n" + table(["metric", *cases], rows)


def _columns(analysis: Analysis, cases: list[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield, for each comparison, its words and its cases by target."""
    grouped: dict[str, dict[str, str]] = {}
    for case in analysis.run.info.cases:
        if case.id in cases:
            grouped.setdefault(", ".join(case.comparison), {})[case.target] = case.id
    yield from grouped.items()


def _cell(line: dict[Any, Any]) -> str:
    value, low, high = (finite(line[column]) for column in ("estimate", "low", "high"))
    return full(Figure(value, low, high, line["unit"], int(line["n"])))


def _accuracy(summary: pd.DataFrame) -> str:
    lines = summary[(summary["probe"] == "accuracy") & (summary["n"] > 0)]
    if lines.empty:
        return "No outputs were compared with a reference."
    wide = lines.pivot_table(index="case", columns="metric", values="estimate", sort=False)
    metrics = [str(metric) for metric in wide.columns]
    rows = (
        [str(case), *(_plain(value) for value in values)]
        for case, values in zip(wide.index, wide.to_numpy(), strict=True)
    )
    note = (
        "Worst item of each case, against what PyTorch answered when the model was stored. `max_rel_diff` is "
        "the largest difference divided by the largest output; `input_...` are differences of the tensor that "
        "went in, in steps of 255; `top1_agrees` is a share."
    )
    return f"{note}\n\n{table(['case', *metrics], rows)}"


def _plain(value: float) -> str:
    if np.isnan(value):
        return ""
    return f"{value:.8g}" if value > NEAR_ONE else f"{value:.2g}"


def _audit(analysis: Analysis) -> str:
    """Return a row for each point and outcome, with the comparisons that share it."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for point in analysis.audit:
        found.setdefault((point.point, point.outcome, point.detail), []).append(", ".join(point.comparison))
    count = len({point.comparison for point in analysis.audit})
    rows = ([*key, f"all {count}" if len(where) == count else "; ".join(where)] for key, where in found.items())
    return table(["point", "outcome", "detail", "comparisons"], rows)


def _facts(analysis: Analysis) -> str:
    info = analysis.run.info
    facts = {**info.machine, "seed": info.seed, "started": info.started, "finished": info.finished}
    facts |= {f"{name} version": version or "missing" for name, version in info.tools.items()}
    for name, can in info.capabilities.items():
        facts[f"{name} runtime"] = f"{can.runtime} {can.version} {can.build or ''}".strip()
    for name, model in info.models.items():
        facts[f"model {name}"] = f"{model.get('source', 'source unknown')}, weights {model.get('weights', 'unknown')}"
    return table(["fact", "value"], ([key, _fact(value)] for key, value in facts.items()))


def _fact(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={word}" for key, word in value.items()) or "none"
    return "not told" if value is None else str(value)


def table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table; bars and line breaks in cells are made harmless."""
    lines = [_line(head), _line("---" for _ in head), *(_line(row) for row in rows)]
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
