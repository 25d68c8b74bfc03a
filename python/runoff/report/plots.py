"""The figures of a run, as SVG: files for papers and ``report.md``, and the same drawings for the page."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import altair as alt
import vl_convert
from msgspec import Struct

from runoff.records.machine import headline
from runoff.report import confusion, curves, panels, sweep_plots
from runoff.report.families import is_crowded
from runoff.report.frame import NARROW, WIDE
from runoff.report.load_plot import load_curves
from runoff.report.overview import blocks
from runoff.report.palette import AXIS, GRID, INK, MUTED, SURFACE, target_colours
from runoff.report.pareto import front_words, pareto, size_chart
from runoff.report.precision_plot import precision
from runoff.report.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runoff.analysis.analyse import Analysis
    from runoff.report.frame import Frame
    from runoff.report.overview import Block

    _Chart = tuple[str, str, Block | None, Callable[[Frame], Any]]
    """A figure's name, the title of its block or sweep, its block, and the function that makes its chart."""

_FONT = "sans-serif"


class Plot(Struct, frozen=True, kw_only=True):
    """A figure with data."""

    name: str
    """Name of its files, without a suffix."""
    kind: str
    """A key of `_TITLES`."""
    title: str
    where: str
    """Title of its block."""
    notes: list[str]
    """How to read it, a line each."""
    machine: str
    block: Block | None
    """None for a sweep or a confusion matrix, which have several blocks."""
    wide: Any
    """The Altair chart for a page."""
    chart: Callable[[Frame], Any]
    """Makes the chart for another frame."""

    def titled(self) -> Any:  # noqa: ANN401 - Altair's charts share no type
        """Return the chart for a separate file, with its title."""
        chart = styled(self.wide)
        chart.title = alt.TitleParams(self.title, subtitle=[self.where, self.machine, *self.notes])
        return chart


class Drawn(Struct, frozen=True, kw_only=True):
    """A drawn figure."""

    plot: Plot
    svg: str
    narrow: str
    """The SVG for a phone, without a title."""


def draw(analysis: Analysis) -> Iterator[Drawn]:
    """Yield each figure, drawn."""
    _, narrow_frame = _frames(analysis)
    for plot in figures(analysis):
        svg = vl_convert.vegalite_to_svg(plot.titled().to_json())
        narrow = vl_convert.vegalite_to_svg(styled(plot.chart(narrow_frame)).to_json())
        yield Drawn(plot=plot, svg=svg, narrow=narrow)


def figures(analysis: Analysis) -> Iterator[Plot]:
    """Yield each figure of the run that has data."""
    machine, (frame, _) = headline(analysis.run.info.machine), _frames(analysis)
    all_blocks = blocks(analysis)
    charts = (*_of_blocks(analysis, all_blocks), *_batches(all_blocks), *_sweeps(analysis), *_confusions(analysis))
    for name, where, block, chart in charts:
        wide = chart(frame)
        if wide is not None:
            kind = name.partition("-")[0]
            more = front_words(block) if block and kind == "pareto" else []
            more += ["dashed: as much faster as there are threads"] if name.startswith("sweep-threads-") else []
            yield Plot(
                name=name,
                kind=kind,
                title=_TITLES[kind],
                where=where,
                notes=[_NOTES[kind], *more],
                machine=machine,
                block=block,
                wide=wide,
                chart=chart,
            )


def _frames(analysis: Analysis) -> tuple[Frame, Frame]:
    """Return the frames of figures for a page and for a phone."""
    if not is_crowded(analysis.run):
        return WIDE, NARROW
    colours = target_colours((case.target for case in analysis.run.info.cases), crowded=True)
    return WIDE.crowd(colours), NARROW.crowd(colours)


def _of_blocks(analysis: Analysis, all_blocks: list[Block]) -> Iterator[_Chart]:
    for block in all_blocks:
        for kind, chart in _charts(analysis, block):
            yield f"{kind}-{block.slug}", block.title, block, chart


def _charts(analysis: Analysis, block: Block) -> Iterator[tuple[str, Callable[[Frame], Any]]]:
    yield "life", partial(panels.life, analysis.life, block)
    yield "ratio", partial(panels.ratios, analysis.summary, block)
    yield "warm", partial(curves.warm, analysis.samples, block)
    yield "precision", partial(precision, analysis, block)
    yield "load", partial(load_curves, analysis, block)
    yield "pareto", partial(pareto, block)
    yield "memory", partial(panels.memory, block)
    sizes = {case: sum(one.parts.values()) for case, one in analysis.run.info.footprints.items() if one.parts}
    yield "size", partial(size_chart, block, sizes)
    for domain in block.domains:
        yield f"energy-{domain}", partial(panels.energy, block, domain)


_TITLES = {
    "life": "Time from process start to exit, by phase",
    "ratio": "Process time, compared with the baselines",
    "warm": "Warm inference, all samples",
    "precision": "Warm inference in each precision",
    "load": "Latency over the rate of requests",
    "pareto": "Time against memory, and cold against warm",
    "memory": "Peak memory of the process",
    "energy": "Energy per inference",
    "batch": "Time per item, throughput and memory over the batch",
    "size": "Size on disk against time",
    "sweep": "One setting at a time, compared with its first value",
    "growth": "Cost by the number of operations in the graph",
    "confusion": "Confusion matrix",
}
_NOTES = {
    "life": "one process per target, the one with the median total",
    "ratio": "paired ratios with 95% intervals; right of 1 is faster; band: noise floor; grey: A/A control",
    "warm": "share of inferences within a time; further left is faster; outliers are included",
    "precision": "median and 95% interval; in words: compared with fp32, and the largest difference of outputs from it",
    "load": "from due time to response; points: processes; lines: their medians; dashed: the bound; right is better",
    "pareto": "further down and further left is better; filled: on the front, where no other case is better in both",
    "memory": "peak RSS, median and 95% interval",
    "energy": "with preprocessing, idle power subtracted; median and 95% interval",
    "batch": "median warm inference by item: lower is faster; items per second: higher is faster; peak RSS",
    "size": "environment or program, library and model; further down and further left is better; filled: on the front",
    "sweep": "paired ratios with 95% intervals; above 1 takes less",
    "growth": "points: medians over blocks; lines: fitted in each block, a fixed part and a cost per operation",
    "confusion": "labelled images by true class (rows) and predicted class (columns); orange: wrong",
}


def styled(chart: Any) -> Any:  # noqa: ANN401 - Altair's charts share no type
    """Return `chart` in the look of every figure of runoff."""
    copy = chart.copy(deep=False)  # Altair's `configure` makes a deep copy, which takes most of a report's time
    copy.config = alt.Config(
        font=_FONT,
        background=SURFACE,
        title=alt.TitleConfig(
            anchor="start", fontSize=16, subtitleFontSize=11, color=INK, subtitleColor=MUTED, offset=12
        ),
        axis=alt.AxisConfig(
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
            labelColor=INK,
            titleColor=MUTED,
            gridColor=GRID,
            domainColor=AXIS,
            tickColor=AXIS,
        ),
        legend=alt.LegendConfig(labelFontSize=12, titleFontSize=12, labelColor=INK, titleColor=MUTED),
        view=alt.ViewConfig(stroke=None),
    )
    return copy


def _sweeps(analysis: Analysis) -> Iterator[_Chart]:
    """Yield a chart for each swept setting, and one of the size of synthetic graphs."""
    for name, where, group in sweep_plots.by_setting(analysis.sweeps):
        yield name, where, None, partial(sweep_plots.sweep_chart, group)
    if analysis.growth:
        yield "growth", "synthetic networks layers_LxK", None, partial(sweep_plots.growth_chart, analysis.growth)


def _batches(all_blocks: list[Block]) -> Iterator[_Chart]:
    """Yield charts of time per item, throughput and memory over the batch, if several batches were measured."""
    groups: dict[tuple[str, str, int], list[Block]] = {}
    for block in all_blocks:
        groups.setdefault((block.model, block.workload, block.threads), []).append(block)
    for (model, workload, threads), group in groups.items():
        where = f"{model}, {workload}, {plural(threads, 'thread')}"
        yield f"batch-{model}-{workload}-t{threads}", where, None, partial(curves.sweep, group)


def _confusions(analysis: Analysis) -> Iterator[_Chart]:
    """Yield a matrix for each group of cases with equal predictions."""
    for labelled in analysis.labelled:
        for group in labelled.groups:
            where = confusion.where(analysis.run, labelled, group)
            yield f"confusion-{labelled.model}-{group.name}", where, None, partial(confusion.matrix, labelled, group)
