"""The outcome of a gate in the terminal, as Markdown for a pull request and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from rich.text import Text

from runoff.records.errors import RunoffError
from runoff.report.tables import table
from runoff.report.terminal import titled_table
from runoff.report.text import plural

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

    from runoff.compare.gate import Gate, LimitResult

_COLOURS = {"passed": "green", "exceeded": "bold red", "failed": "bold red"}


def headline(gate: Gate) -> str:
    """Return the outcome in one line."""
    bad = [check for check in gate.checks if check.outcome != "passed"]
    scope = plural(len(gate.checks), "check") + (f" against {gate.against}" if gate.against else "")
    if not bad:
        return f"gate passed: {scope}"
    counts = [(sum(check.outcome == name for check in bad), name) for name in ("exceeded", "failed")]
    return f"gate failed: {', '.join(f'{count} {name}' for count, name in counts if count)} of {scope}"


def print_gate(gate: Gate, console: Console) -> None:
    """Print the checks, by comparison, and the outcome."""
    for comparison in dict.fromkeys(check.comparison for check in gate.checks):
        checks = [check for check in gate.checks if check.comparison == comparison]
        console.print(_table(comparison, checks))
        for check in checks:
            if check.note:
                console.print(Text(f"{check.target}, {check.limit}: {check.note}", style="yellow"), soft_wrap=True)
        console.print()
    for note in gate.notes:
        console.print(Text(note, style="yellow"), soft_wrap=True)
    console.print(Text(headline(gate), style=_COLOURS["passed" if gate.passed else "failed"]), soft_wrap=True)


def _table(title: str, checks: list[LimitResult]) -> Table:
    table = titled_table(title)
    for head in ("limit", "target", "measured", "change", "outcome"):
        table.add_column(head, no_wrap=head == "outcome")
    for check in checks:
        outcome = Text(check.outcome, style=_COLOURS[check.outcome])
        change = Text(check.change).append(f"\n{check.verdict}" if check.verdict else "", style="dim")
        table.add_row(check.limit, check.target, _two_lines(check.measured), change, outcome)
    return table


def _two_lines(text: str) -> Text:
    value, bracket, rest = text.partition(" (")
    return Text(value).append(f"\n{rest.rstrip(')')}" if bracket else "", style="dim")


def markdown(gate: Gate) -> str:
    """Return a summary for a pull request."""
    mark = "\N{WHITE HEAVY CHECK MARK}" if gate.passed else "\N{CROSS MARK}"
    rows = [
        (
            f"`{check.limit}`",
            check.case,
            check.measured,
            check.change,
            check.verdict,
            check.outcome if check.outcome == "passed" else f"**{check.outcome}**",
        )
        for check in gate.checks
    ]
    checks = table(("limit", "case", "measured", "change", "verdict", "outcome"), rows) + "\n"
    notes = [f"{check.case}, `{check.limit}`: {check.note}" for check in gate.checks if check.note]
    points = "".join(f"- {note}\n" for note in (*notes, *gate.notes))
    where = f"Run {gate.run} on {gate.machine}. A change counts only above the noise floor.\n"
    parts = [f"## {mark} runoff: {headline(gate)}\n", checks, *([points] if points else []), where]
    return "\n".join(parts)


def append(gate: Gate, path: Path) -> None:
    """Append the summary to a file, such as the one that ``GITHUB_STEP_SUMMARY`` names.

    Raises
    ------
    RunoffError
        When the file cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(markdown(gate) + "\n")
    except OSError as error:
        raise RunoffError(f"--summary {path} cannot be written: {error.strerror}") from error


def as_dict(gate: Gate) -> dict[str, Any]:
    """Return the gate for JSON."""
    return {"passed": gate.passed, **msgspec.to_builtins(gate)}
