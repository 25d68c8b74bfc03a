"""The history as tables in the terminal, as Markdown and as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

import msgspec
from rich.table import Table
from rich.text import Text

from runoff.analysis.wording import detail, ending, headline, tone, words
from runoff.report.tables import table
from runoff.report.terminal import COLOURS, figure_text, titled_table
from runoff.report.text import few, finite, full

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console

    from runoff.history.series import By, Change, Point, Series

CHANGE = "change since previous"
FIRST, NOT_COMPARED = "first", "not compared"
"""Shown in place of a change: the first point on its machine, and a point that could not be compared."""
RAW = "raw"
"""`Change.how` of a change that is not relative to a baseline."""
MOST = 2
"""Most cases that a note names; more are counted."""
_ENDLESS = 100_000
"""Columns: enough for any table."""
HOW_TO_READ = """\
Values with their 95% intervals, in order of time. A change is relative to the previous run on the same machine. If
both runs have the same, unchanged baseline, ratios to it are compared, so a slowdown of an entire run cancels out; raw
changes include it. The column `new` lists the versions that changed since the previous run."""


@dataclass(frozen=True)
class History:
    """The result of the command ``history``."""

    by: By
    series: list[Series]
    no_values: dict[tuple[str, str], str] = field(default_factory=dict)
    """By case and metric: the reason why no run has a value."""
    notes: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """By folder: the reason why a run was skipped."""

    @property
    def cases(self) -> list[str]:
        """The cases that have values."""
        return list(dict.fromkeys(one.case for one in self.series))

    def of(self, case: str) -> list[Series]:
        """Return the series of a case."""
        return [one for one in self.series if one.case == case]

    @property
    def machines(self) -> dict[str, str]:
        """A letter for each machine, by its key, in order of time."""
        points = sorted((point for one in self.series for point in one.points), key=lambda point: point.started)
        keys = dict.fromkeys(point.machine_key for point in points)
        return {key: letter(place) for place, key in enumerate(keys)}

    def machine_lines(self) -> list[str]:
        """Return a line for each machine: its description, after its letter if there are several."""
        descriptions = {point.machine_key: point.machine for one in self.series for point in one.points}
        letters = self.machines
        if len(letters) == 1:
            return list(descriptions.values())
        return [f"machine {letter}: {descriptions[key]}" for key, letter in letters.items()]


def letter(place: int) -> str:
    """Return the letter of the machine at `place`; a number after Z."""
    return ascii_uppercase[place] if place < len(ascii_uppercase) else str(place + 1)


def print_history(history: History, console: Console) -> None:
    """Print the machines, a table for each case, and notes."""
    for line in history.machine_lines():
        console.print(Text(line), soft_wrap=True)
    for case in history.cases:
        console.print()
        console.print(_table(case, history.of(case), history))
    console.print()
    for line in _notes(history):
        console.print(Text(line, style="yellow"), soft_wrap=True)


def _table(case: str, all_series: Sequence[Series], history: History) -> Table:
    table = titled_table(case)
    for name in _heads(history)[:-1]:
        table.add_column(name, no_wrap=name != CHANGE)
    previous: list[tuple[str, ...]] = []
    for one in all_series:
        table.add_section()
        table.add_row(Text(one.metric, style="italic"))
        new = [point.new for point in one.points]
        for point in one.points:
            table.add_row(_run(point, versions=new != previous), *_cells(one, point, history))
        previous = new
    return table


def _run(point: Point, *, versions: bool) -> Text:
    return Text(point.run).append("".join(f"\n  {version}" for version in point.new if versions), style="dim")


def _heads(history: History) -> list[str]:
    machine = ["machine"] if len(history.machines) > 1 else []
    return ["run", *machine, "value", CHANGE, "stability", "new"]


def _cells(one: Series, point: Point, history: History) -> Iterator[Text]:
    if len(history.machines) > 1:
        yield Text(history.machines[point.machine_key])
    yield figure_text(point.figure) if point.measured else Text("not measured", style="yellow")
    yield _verdict(point.change) if point.change else Text(_unchanged(one, point), style="dim")
    yield Text(point.stability, style="" if point.stability == "stable" else "yellow")


def _verdict(change: Change) -> Text:
    verdict = change.verdict
    below = ending(verdict) if verdict.kind == "not comparable" else f"\n({detail(verdict)})"
    raw = f" {RAW}" if change.how == RAW else ""
    return Text(headline(verdict), style=COLOURS[tone(verdict)]).append(below + raw, style="dim")


def _unchanged(one: Series, point: Point) -> str:
    """Return the text shown in place of a change."""
    if not point.measured:
        return point.missing
    comparable = [other for other in one.points if other.measured and other.machine_key == point.machine_key]
    return FIRST if comparable[0] is point else NOT_COMPARED


def _notes(history: History) -> list[str]:
    """Return the notes below the tables."""
    hows = {point.change.how for one in history.series for point in one.points if point.change}
    change_notes = [
        f"changes are {how}" + (", unless marked raw" if RAW in hows else "") for how in sorted(hows - {RAW})
    ]
    reasons: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for (case, metric), reason in history.no_values.items():
        cases, metrics = reasons.setdefault(reason, ({}, {}))
        cases[case], metrics[metric] = None, None
    no_values = [
        f"no values: {', '.join(metrics)} of {few(cases, 'case', MOST)}: {reason}"
        for reason, (cases, metrics) in reasons.items()
    ]
    return [*change_notes, *history.notes, *no_values]


def print_lines(lines: Sequence[Mapping[str, object]], console: Console) -> None:
    """Print the result of a query: as a table, or if that is too wide, each line as a list of names and values."""
    cells = [{name: _plain(value) for name, value in line.items()} for line in lines]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in lines[0] if lines else ["no lines"]:
        table.add_column(Text(name))
    for line in cells:
        table.add_row(*map(Text, line.values()))
    if console.measure(table, options=console.options.update(width=_ENDLESS)).maximum <= console.width:
        console.print(table)
        return
    for place, line in enumerate(cells):
        width = max(map(len, line))
        text = "".join(f"{name:<{width}}  {value}\n" for name, value in line.items())
        console.print(Text(f"\n{text}" if place else text), end="", soft_wrap=True)


def _plain(value: object) -> str:
    """Return a cell of a query's result; no value was measured to more than six digits."""
    if not isinstance(value, float):
        return "" if value is None else str(value)
    text = f"{value:.6g}"
    return f"{float(text):.0f}" if "e+" in text else text


def markdown(history: History, plots: Mapping[str, str]) -> str:
    """Return the history as a page of Markdown; `plots` has the file name of each case's image."""
    machines = "".join(f"- {line}\n" for line in history.machine_lines())
    parts = ["# History\n", machines, f"{HOW_TO_READ}\n"]
    for case in history.cases:
        parts.append(f"## {case}\n")
        if case in plots:
            parts.append(f"![{case} over time]({plots[case]})\n")
        rows = [_row(one, point, history) for one in history.of(case) for point in one.points]
        parts.append(table(("metric", *_heads(history), "how"), rows) + "\n")
    notes = [f"skipped: {folder}: {reason}" for folder, reason in history.skipped.items()] + _notes(history)
    parts.append("".join(f"- {line}\n" for line in notes))
    return "\n".join(parts).rstrip("\n") + "\n"


def _row(one: Series, point: Point, history: History) -> list[str]:
    machine = [history.machines[point.machine_key]] if len(history.machines) > 1 else []
    value = full(point.figure) if point.measured else "not measured"
    change = words(point.change.verdict) if point.change else _unchanged(one, point)
    how = point.change.how if point.change else ""
    return [one.metric, point.run, *machine, value, change, point.stability, "; ".join(point.new), how]


def as_dict(history: History) -> dict[str, Any]:
    """Return the history for JSON: times in ns, memory in bytes, `new` the versions that changed; unknown is null."""
    series = [
        {"case": one.case, "metric": one.metric, "points": [_point(p) for p in one.points]} for one in history.series
    ]
    no_values = [
        {"case": case, "metric": metric, "reason": reason} for (case, metric), reason in history.no_values.items()
    ]
    return {
        "by": history.by,
        "series": series,
        "no_values": no_values,
        "notes": history.notes,
        "left_out": [{"folder": folder, "reason": reason} for folder, reason in history.skipped.items()],
    }


def _point(point: Point) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(point, change=None))
    return plain | {"change": _change_dict(point.change) if point.change else None}


def _change_dict(change: Change) -> dict[str, Any]:
    verdict = change.verdict
    numbers = {name: finite(getattr(verdict, name)) for name in ("ratio", "low", "high", "p_adjusted")}
    return {
        "against": change.against,
        "verdict": words(verdict),
        "how": change.how,
        **numbers,
        "differs": verdict.differs,
    }
