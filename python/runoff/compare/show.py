"""A comparison as a table in the terminal, as Markdown and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from runoff.analysis.wording import ending, headline, tone, words
from runoff.report.tables import table
from runoff.report.terminal import COLOURS, figure_text, titled_table
from runoff.report.text import estimated, finite, full

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from runoff.analysis.comparisons import MetricComparison
    from runoff.analysis.verdict import Verdict
    from runoff.compare.pairing import RunComparison

_NARROW = 16
"""Longest name that heads a column of figures."""


def how(line: MetricComparison) -> str:
    """Return the kind of comparison, as text."""
    if line.relative_to:
        return f"relative to {line.relative_to} in both runs"
    return "paired by block" if line.paired else "raw"


def print_comparison(comparison: RunComparison, console: Console) -> None:
    """Print the table, the failed audit points above it and the notes below."""
    for text in comparison.unfair:
        console.print(Text(text, style="bold red"), soft_wrap=True)
    names = (comparison.first, comparison.second)
    heads = names if max(map(len, names)) <= _NARROW else ("A", "B")
    letters = ("", "") if heads == names else ("A: ", "B: ")
    title = f"{letters[1]}{names[1]} against {letters[0]}{names[0]}"
    console.print(Text(title, style="bold"), soft_wrap=True)
    for label in dict.fromkeys(line.label for line in comparison.lines):
        lines = [line for line in comparison.lines if line.label == label]
        console.print()
        console.print(_table(label, lines, heads))
        console.print(Text(_hows(lines), style="dim"), soft_wrap=True)
    for note in comparison.notes:
        console.print(Text(note, style="yellow"), soft_wrap=True)


def _hows(lines: Sequence[MetricComparison]) -> str:
    """Return the kinds of comparison in one line, by metric if they differ."""
    metrics: dict[str, list[str]] = {}
    for line in lines:
        if not line.reason:
            metrics.setdefault(how(line), []).append(line.metric)
    if len(metrics) <= 1:
        return "".join(metrics)
    return "; ".join(f"{', '.join(names)}: {words}" for words, names in metrics.items())


def _table(label: str, lines: Sequence[MetricComparison], heads: Sequence[str]) -> Table:
    table = titled_table(label)
    for place, heading in enumerate(("metric", *heads, "verdict")):
        table.add_column(heading, no_wrap=place < 3)  # noqa: PLR2004 (names and figures)
    for line in lines:
        sides = (figure_text(estimated(side, line.unit)) for side in (line.first, line.second))
        table.add_row(line.metric, *sides, coloured(line.verdict))
    return table


def coloured(verdict: Verdict) -> Text:
    """Return a verdict in the colours of the reports."""
    return Text(headline(verdict), style=COLOURS[tone(verdict)]).append(ending(verdict), style="dim")


def markdown(comparison: RunComparison, plot: str | None) -> str:
    """Return the comparison as a page of Markdown; `plot` is the file name of the image."""
    parts = [f"# {comparison.second} against {comparison.first}\n"]
    parts += [f"**{text}**\n" for text in comparison.unfair]
    parts += [f"{note}\n" for note in comparison.notes]
    if plot:
        parts.append(f"![ratios with their intervals]({plot})\n")
    heads = ("case", "metric", comparison.first, comparison.second, "verdict", "how")
    rows = [
        (
            line.label,
            line.metric,
            *(full(estimated(side, line.unit)) for side in (line.first, line.second)),
            words(line.verdict),
            how(line),
        )
        for line in comparison.lines
    ]
    parts.append(table(heads, rows) + "\n")
    return "\n".join(parts)


def as_dict(comparison: RunComparison) -> dict[str, Any]:
    """Return the comparison for JSON: times in ns, memory in bytes, ratios as first by second."""
    return {
        "first": comparison.first,
        "second": comparison.second,
        "unfair": comparison.unfair,
        "notes": comparison.notes,
        "lines": [line_dict(line) for line in comparison.lines],
    }


def line_dict(line: MetricComparison) -> dict[str, Any]:
    """Return one line for JSON; unknown values are null."""
    sides = {
        name: {"value": finite(e.value), "low": finite(e.low), "high": finite(e.high), "n": e.n}
        for name, e in (("first", line.first), ("second", line.second))
    }
    return {
        "case": line.label,
        "metric": line.metric,
        "unit": line.unit,
        **sides,
        "how": how(line),
        "ratio": finite(line.ratio.value),
        "ratio_low": finite(line.ratio.low),
        "ratio_high": finite(line.ratio.high),
        "p_adjusted": finite(line.p_adjusted),
        "floor": line.floor,
        "differs": line.verdict.differs,
        "verdict": words(line.verdict),
    }
