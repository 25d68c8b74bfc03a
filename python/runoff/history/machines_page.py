"""The comparison of machines as a table in the terminal, as Markdown, as HTML with forest plots, and as JSON."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from rich.text import Text

from runoff.analysis.comparisons import MetricComparison
from runoff.analysis.wording import ending, headline, ratio_words, tone, words
from runoff.compare.forest import draw
from runoff.compare.pairing import RunComparison
from runoff.history.machines import holds
from runoff.report.tables import bullets, table
from runoff.report.terminal import COLOURS, titled_table
from runoff.report.text import finite
from runoff.statistics import Ratio

if TYPE_CHECKING:
    from rich.console import Console

    from runoff.history.machines import AcrossMachines, Machines, Seen

PLOTTED = ("latency.median", "process.wall")
"""Metrics with a plot."""
_MOST_ROWS = 40
"""Most machines in a plot: of more, those with the smallest and the largest ratios."""
HOW_TO_READ = """\
A ratio is the baseline's value divided by the case's, in the same blocks on the same machine: above 1 is better than
the baseline. "Typical machine" is the random-effects mean over machines (DerSimonian and Laird, with the interval of
Knapp and Hartung). I² is the share of the differences between machines that is not chance, with the p-value of "all
machines have the same ratio". "Another machine" is the 95% prediction interval; it needs three machines."""
HEADS = ("case", "against", "metric", "typical machine", "on which machines", "I²", "another machine")


def cells(one: AcrossMachines) -> list[str]:
    """Return a row of the table."""
    pooled = one.pooled
    alike = f"{pooled.share:.0%} (p {pooled.p_alike:.2g})" if pooled else ""
    other = f"{pooled.low:.2f} to {pooled.high:.2f}" if pooled and isfinite(pooled.low) else ""
    return [one.case, one.baseline, one.metric, words(one.verdict), holds(one), alike, other]


def _machine(one: Seen) -> str:
    reason = f": {one.reason}" if one.reason else ""
    return f"{one.name}: {one.about}; {one.state}{reason}"


def show(found: Machines, console: Console) -> None:
    """Print the machines, the table and the notes."""
    for machine in found.machines:
        style = "" if machine.state == "finished" else "yellow"
        console.print(Text(_machine(machine), style=style), soft_wrap=True)
    for case in dict.fromkeys(one.case for one in found.comparisons):
        printed = titled_table(case)
        for name in HEADS[1:]:
            printed.add_column(name)
        for one in found.comparisons:
            if one.case == case:
                row = [Text(cell) for cell in cells(one)[1:]]
                row[2] = Text(headline(one.verdict), style=COLOURS[tone(one.verdict)]).append(ending(one.verdict))
                printed.add_row(*row)
        console.print()
        console.print(printed)
    for note in found.notes:
        console.print(Text(note, style="yellow"), soft_wrap=True)


def markdown(found: Machines) -> str:
    """Return the page in Markdown."""
    parts = [
        f"# {found.suite} on {len(found.machines)} machines\n",
        bullets(map(_machine, found.machines)) + "\n",
        f"{HOW_TO_READ}\n",
        table(HEADS, map(cells, found.comparisons)) + "\n",
        bullets(found.notes),
    ]
    return "\n".join(parts).rstrip("\n") + "\n"


def page(found: Machines) -> bytes:
    """Return the page in HTML: one file."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    plots = [(one, forest(one)) for one in found.comparisons if one.metric in PLOTTED]
    values = {
        "title": f"{found.suite} on {len(found.machines)} machines",
        "machines": [(_machine(one), one.state == "finished") for one in found.machines],
        "how": HOW_TO_READ,
        "heads": HEADS,
        "rows": [(cells(one), tone(one.verdict)) for one in found.comparisons],
        "plots": [
            (f"{one.case}, {one.metric}", Markup(svg))  # noqa: S704 (made by Vega, which escapes)
            for one, svg in plots
            if svg
        ],
        "notes": found.notes,
    }
    return templates.get_template("machines.html.j2").render(values).encode()


def forest(one: AcrossMachines) -> str:
    """Return the plot of the ratio by machine, with that of a typical machine last, as SVG; empty without intervals."""
    machines = sorted((on for on in one.machines if isfinite(on.verdict.low)), key=lambda on: on.verdict.ratio)
    notes = []
    if len(machines) > _MOST_ROWS:
        notes.append(f"{_MOST_ROWS} of {len(machines)} machines: those with the smallest and the largest ratios")
        machines = [*machines[: _MOST_ROWS // 2], *machines[-_MOST_ROWS // 2 :]]
    rows = [(on.machine, on.verdict) for on in machines]
    if one.pooled:
        rows.append(("typical machine", one.verdict))
    lines = [
        MetricComparison(
            label=name,
            metric=one.metric,
            unit=one.unit,
            ratio=Ratio(verdict.ratio, verdict.low, verdict.high, 0, verdict.p_adjusted),
            floor=finite(verdict.floor),
            p_adjusted=verdict.p_adjusted,
        )
        for name, verdict in rows
    ]
    return draw(RunComparison(one.baseline, one.target, lines, notes, [])).decode()


def as_dict(found: Machines) -> dict[str, Any]:
    """Return the result for JSON; unknown numbers are null."""
    return {
        "suite": found.suite,
        "machines": found.machines,
        "comparisons": [_comparison(one) for one in found.comparisons],
        "notes": found.notes,
    }


def _comparison(one: AcrossMachines) -> dict[str, Any]:
    pooled = one.pooled
    names = ("spread", "share", "p_alike", "low", "high")
    return {
        **{name: getattr(one, name) for name in ("case", "target", "baseline", "metric", "unit")},
        "verdict": words(one.verdict),
        "kind": one.verdict.kind,
        **{name: finite(getattr(one.verdict, name)) for name in ("ratio", "low", "high", "p_adjusted", "floor")},
        "machines": [
            {"machine": on.machine, "verdict": words(on.verdict), "ratio": ratio_words(on.verdict)}
            for on in one.machines
        ],
        "between": {name: finite(getattr(pooled, name)) for name in names} if pooled else None,
    }
