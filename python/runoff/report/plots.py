"""Plots of a run, as PNG and SVG, made offline by Altair and vl-convert. The import takes seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt
import vl_convert

from runoff.machine import headline
from runoff.report import panels
from runoff.report.overview import blocks
from runoff.report.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runoff.analysis.analyse import Analysis
    from runoff.report.overview import Block

_FONT = "sans-serif"


def draw(analysis: Analysis) -> Iterator[tuple[str, bytes]]:
    """Yield each plot's file name and content."""
    for name, chart in charts(analysis):
        spec = _styled(chart).to_json()
        yield f"{name}.png", vl_convert.vegalite_to_png(spec, scale=2)
        yield f"{name}.svg", vl_convert.vegalite_to_svg(spec).encode()


def charts(analysis: Analysis) -> Iterator[tuple[str, Any]]:
    """Yield each plot's name and Altair chart; what was not measured has no plot."""
    machine = headline(analysis.run.info.machine)
    made = blocks(analysis)
    for block in made:
        for kind, chart in (
            ("life", panels.life(analysis.life, block)),
            ("ratio", panels.ratios(analysis.summary, block)),
            ("warm", panels.warm(analysis.samples, block)),
            ("memory", panels.memory(block)),
            *((f"energy-{domain}", panels.energy(block, domain)) for domain in block.domains),
        ):
            if chart is not None:
                what = kind.partition("-")[0]
                title = alt.TitleParams(_TITLES[what], subtitle=[block.title, machine, _NOTES[what]])
                yield f"{kind}-{block.slug}", chart.properties(title=title)
    yield from _sweeps(made, machine)


_TITLES = {
    "life": "Where a process spends its life",
    "ratio": "Whole process, against the baselines",
    "warm": "Warm inference, all samples",
    "memory": "Peak memory of the process",
    "energy": "Energy of an inference",
}
_NOTES = {
    "life": "one process for each target, the one whose whole time is the median; from spawn to exit",
    "ratio": "paired ratios and 95 % interval; right of 1 is faster; grey: a baseline against itself",
    "warm": "share of inferences answered within a time; further left is faster; no outlier is left out",
    "memory": "median and 95 % interval; resident memory at its highest",
    "energy": "with its preprocessing, what the idle machine draws taken off; median and 95 % interval",
}


def _styled(chart: Any) -> Any:  # noqa: ANN401 - Altair's charts share no type
    return (
        chart.configure(font=_FONT, background="white")
        .configure_title(anchor="start", fontSize=16, subtitleFontSize=11, subtitleColor="#555", offset=12)
        .configure_axis(labelFontSize=12, titleFontSize=12, titleFontWeight="normal", gridColor="#e6e6e6")
        .configure_legend(labelFontSize=12, titleFontSize=12)
        .configure_view(stroke="#cccccc")
    )


def _sweeps(made: list[Block], machine: str) -> Iterator[tuple[str, Any]]:
    """Yield the time per item over the batch, where several batches were measured."""
    groups: dict[tuple[str, str, int], list[Block]] = {}
    for block in made:
        groups.setdefault((block.model, block.workload, block.threads), []).append(block)
    for (model, workload, threads), group in groups.items():
        chart = panels.sweep(group)
        if chart is not None:
            what = f"{model}, {workload}, {plural(threads, 'thread')}"
            subtitle = [what, machine, "median warm inference divided by the batch; lower is faster"]
            title = alt.TitleParams("Time per item over the batch", subtitle=subtitle)
            yield f"batch-{model}-{workload}-t{threads}", chart.properties(title=title)
