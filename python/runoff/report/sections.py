"""The detailed sections of ``report.md``, which are folded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from runoff.probes import PROBES
from runoff.report import accuracy, browser, details, device, energy, load, matrix, precision, segmentation, sweeps
from runoff.report.measured import how_lines
from runoff.report.overview import DETAIL, blocks
from runoff.report.tables import BY_ID, bullets, markdown, table
from runoff.report.terminal import harness_line, missing_lines
from runoff.report.text import figure_of, full

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pandas as pd

    from runoff.analysis.analyse import Analysis
    from runoff.report.tables import Table

IN_FILES = "The images are files next to report.md; a comment does not show them."
HOW_TO_READ = """\
Numbers are medians over processes, with 95% intervals in brackets. A ratio is the baseline's value divided by the
target's, paired by block: 4x faster means a quarter of the time. The noise floor is the measured difference between the
baseline and its A/A control. "No difference" means that the interval includes 1, that the p-value, corrected for
multiple comparisons, is above 0.05, or that the difference is within the noise floor. hyperfine measures process times;
runners measure phases and inference times. Neither is subtracted from the other."""

STABILITY = (
    "The worst verdict comes first, with the evidence for it and then the rest. Thresholds: "
    "docs/stability-and-fairness.md."
)
ACCURACY = (
    "Outputs of each case compared with the references that were stored with the model: PyTorch's, or for an ONNX file "
    "those of ONNX Runtime without optimisation. The worst item counts. "
    "`max_rel_diff` is the largest difference divided by the largest output; `input_...` are differences of the input "
    "tensor in steps of 1/255; `top1_agrees` is the share of items with the same top class."
)
LIFE = (
    "Phases, in milliseconds, of one process per case: the one with the median total. They add up to the total. "
    "summary.csv has the median of each phase."
)
FOOTPRINT = (
    "What a case needs on disk to run, without the Python interpreter and the system's libraries. Compressed: "
    "each file with zstd, about what a download or a layer of an image weighs; imports: the phase of that name."
)
OUTLIERS = (
    "Samples beyond 1.5 (mild) and 3 (severe) interquartile ranges from the quartiles. All are included in every "
    "estimate and plot."
)


class Section(Struct, frozen=True):
    """A part of the report with a title."""

    title: str
    text: str
    """Markdown, complete."""


def validity(analysis: Analysis) -> Iterator[Section]:
    """Yield the sections on whether numbers are comparable and reliable."""
    yield from _shared("Fairness audit", details.audit(analysis))
    yield from _shared("Stability", details.stability(analysis, BY_ID), STABILITY)


def varied(analysis: Analysis) -> Iterator[Section]:
    """Yield the sections on what a suite varies: models, precision, settings, size of the graph, labels."""
    found = matrix.matrix_table(analysis)
    if found.lines:
        yield from _shared(matrix.title(analysis), found, matrix.NOTE)
    yield from _precision(analysis)
    yield from _shared("Load", details.text_table("load-table", analysis, BY_ID), load.note(analysis.run))
    yield from _shared("Segmentation", details.text_table("segmentation-table", analysis, BY_ID), segmentation.NOTE)
    yield from _shared("Sweeps", sweeps.sweep_table(analysis.sweeps), sweeps.SWEEP_NOTE)
    yield from _shared("Size of the graph", sweeps.growth_table(analysis.growth), sweeps.GROWTH_NOTE)
    yield from _labelled(analysis)


def sections(analysis: Analysis, plots: Sequence[Path]) -> Iterator[Section]:
    """Yield the other non-empty sections, the most useful first; `plots` are relative to the report."""
    yield Section("How to read this", HOW_TO_READ)
    yield Section("How it was measured", bullets(how_lines(analysis.run)) or "No inferences were timed.")
    yield from _plots(plots)
    yield from _shared(
        "Same output", details.accuracy(analysis, BY_ID), ACCURACY, "No outputs were compared with a reference."
    )
    yield from _shared("Footprint", details.footprint(analysis, BY_ID), FOOTPRINT)
    yield from _shared("Machine and versions", details.machine(analysis))
    yield Section("The harness", harness_line(analysis.run.info) + ".")
    if not analysis.life.empty:
        yield from _shared("Phases of a process", details.life(analysis, BY_ID), LIFE)
    yield from _energy(analysis)
    yield from _device(analysis)
    yield from _shared("In a browser", details.text_table("browser-table", analysis, BY_ID), browser.NOTE)
    yield from _shared("Ratios", details.ratio_table(analysis, BY_ID))
    yield from _probes(analysis)
    yield from _shared("Outliers", details.outlier_table(analysis, BY_ID), OUTLIERS)
    yield from _omitted_percentiles(analysis.summary)


def _shared(title: str, content: Table, note: str = "", empty: str = "") -> Iterator[Section]:
    """Yield the section with a table that the page also has; if the table is empty, the text `empty`, or nothing."""
    if content.lines:
        yield Section(title, "\n\n".join(filter(None, (note, markdown(content)))))
    elif empty:
        yield Section(title, empty)


def _energy(analysis: Analysis) -> Iterator[Section]:
    """Yield the section on energy; none if it was not requested."""
    missing = bullets(f"not read: {line}" for line in energy.unavailable(analysis.run))
    rows = list(energy.rows(analysis))
    parts = [energy.NOTE, table(energy.HEAD, rows)] if rows else []
    if rows or missing:
        yield Section("Energy", "\n\n".join([*parts, *([missing] if missing else [])]))


def _labelled(analysis: Analysis) -> Iterator[Section]:
    """Yield the section on accuracy; none without labelled images."""
    if analysis.labelled:
        tables = (accuracy.cases_table(analysis, BY_ID), accuracy.pairs_table(analysis))
        parts = [bullets(accuracy.lines(analysis)), accuracy.NOTE, *(markdown(one) for one in tables if one.lines)]
        yield Section("Accuracy", "\n\n".join([*parts, bullets(accuracy.image_lines(analysis))]).strip())


def _precision(analysis: Analysis) -> Iterator[Section]:
    """Yield the section on precisions; none if all cases are in fp32."""
    rows = precision.table(analysis, BY_ID, blocks(analysis))
    if rows.lines:
        nodes = precision.nodes_table(analysis, BY_ID)
        parts = [precision.NOTE, bullets(precision.sentences(analysis)), markdown(rows)]
        parts += [precision.NODES_NOTE, markdown(nodes)] if nodes.lines else []
        yield Section("Precision", "\n\n".join(filter(None, parts)))


def _device(analysis: Analysis) -> Iterator[Section]:
    """Yield the section on GPUs with dedicated memory; none if nothing was measured on one."""
    rows = list(device.rows(analysis))
    if rows:
        yield Section("On the GPU", f"{device.NOTE}\n\n{table(device.HEAD, rows)}")


def _omitted_percentiles(summary: pd.DataFrame) -> Iterator[Section]:
    lines = missing_lines(summary[summary["metric"].str.contains(DETAIL)])
    if lines:
        yield Section("Omitted percentiles", bullets(lines))


def _plots(plots: Sequence[Path]) -> Iterator[Section]:
    if plots:
        images = (f"![{path.stem}]({path.as_posix()})" for path in plots)
        yield Section("Plots", "\n\n".join([IN_FILES, *images]))


def _probes(analysis: Analysis) -> Iterator[Section]:
    """Yield a section for each probe: tables with a row for each metric and a column for each case."""
    first = analysis.summary.drop_duplicates(["case", "probe", "metric"])
    checks = [name for name, probe in PROBES.items() if probe.checks_outputs]
    measured = first[(first["n"] > 0) & first["estimate"].notna() & ~first["probe"].isin(checks)]
    for probe, lines in measured.groupby("probe", sort=False):
        wide = lines.assign(cell=[full(figure_of(line)) for line in lines.to_dict("records")]).pivot_table(
            index="metric", columns="case", values="cell", aggfunc="first", sort=False
        )
        parts = []
        for comparison, cases in _columns(analysis, [str(case) for case in wide.columns]):
            part = wide[list(cases.values())].dropna(how="all").fillna("")
            rows = (
                [str(metric), *map(str, values)] for metric, values in zip(part.index, part.to_numpy(), strict=True)
            )
            parts.append(f"{comparison}:\n\n{table(['metric', *cases], rows)}")
        yield Section(f"Probe {probe}", "\n\n".join(parts))


def _columns(analysis: Analysis, cases: list[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield, for each comparison, its title and its cases by target."""
    grouped: dict[str, dict[str, str]] = {}
    for case in analysis.run.info.cases:
        if case.id in cases:
            grouped.setdefault(", ".join(case.comparison), {})[case.target] = case.id
    yield from grouped.items()
