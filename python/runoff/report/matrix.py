"""Targets by models: which pairs ran, which cannot run and why, and which computed something else."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from runoff.analysis.validity import computes, disagreements
from runoff.report.families import by_family, is_crowded, name_of
from runoff.report.tables import Cell, Column, Line, Table, nothing, plain
from runoff.report.text import plural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runoff.analysis.analyse import Analysis
    from runoff.records.schema import Case

NOTE = (
    "Every target on every model, with all of its settings: what ran, what cannot and why, and what computed something "
    "other than the reference. Reasons are shortened; the section on missing values has them in full."
)
NAME = "matrix"
_PROVIDER = "provider-unavailable"
_MOST = 64
"""Characters of a reason."""
Outcome = Literal["ran", "cannot", "disagrees", "failed"]
_WORST_FIRST: tuple[Outcome, ...] = ("disagrees", "failed", "cannot", "ran")
_TONES = {"disagrees": "bad", "failed": "bad", "cannot": "warn", "ran": "dim", "in part": "warn"}
_COUNTED = {
    "ran": "ran",
    "in part": "ran in part",
    "cannot": "cannot run",
    "failed": "failed",
    "disagrees": "with other outputs",
}
"""Labels of pairs, with the words that count them."""


class Pair(Struct, frozen=True):
    """A target on a model, over all settings."""

    outcomes: dict[Outcome, int]
    """Number of cases by outcome."""
    reasons: dict[str, Outcome]
    """Reasons why cases did not run or do not count, each with its outcome."""

    @property
    def worst(self) -> Outcome:
        """The worst outcome of a case."""
        return next(one for one in _WORST_FIRST if one in self.outcomes)

    @property
    def label(self) -> str:
        """The worst outcome, or ``in part`` if some settings cannot run and others ran."""
        return "in part" if self.worst == "cannot" and "ran" in self.outcomes else self.worst


def pairs(analysis: Analysis) -> dict[str, dict[str, Pair]]:
    """Return the pairs by target and model, targets by family; the null runners and A/A controls are omitted.

    A case for a provider that this machine does not have does not count if its target ran on another one.
    """
    run, found = analysis.run, _outcomes(analysis)
    grouped: defaultdict[tuple[str, str], list[Case]] = defaultdict(list)
    for case in run.info.cases:
        if case.control_of is None and computes(run, case.target):
            grouped[case.target, case.model].append(case)
    targets = [name for family in by_family(target for target, _ in grouped).values() for name in family]
    models = dict.fromkeys(case.model for case in run.info.cases)
    return {
        target: {model: _pair(grouped[target, model], found) for model in models if grouped[target, model]}
        for target in targets
    }


def is_telling(analysis: Analysis, made: Mapping[str, Mapping[str, Pair]]) -> bool:
    """Return whether the pairs differ: some target does on one model what it does not do on another.

    In a run of many targets, every pair that did not run counts.
    """
    if is_crowded(analysis.run):
        return any(pair.worst != "ran" for row in made.values() for pair in row.values())
    return any(len({pair.worst for pair in row.values()}) > 1 for row in made.values())


def matrix_table(analysis: Analysis) -> Table:
    """Return the matrix; without lines if all targets do the same on every model."""
    made = pairs(analysis)
    models = list(dict.fromkeys(model for row in made.values() for model in row))
    columns = [Column("Target"), *map(Column, models)]
    lines = [
        Line([plain(target, name_of(target)), *(_cell(row.get(model)) for model in models)])
        for target, row in made.items()
    ]
    return Table(NAME, "Targets by models", columns, lines if is_telling(analysis, made) else [], sortable=False)


def title(analysis: Analysis) -> str:
    """Return a title with the number of pairs by outcome: ``Targets by models: of 52 pairs 49 ran, 3 cannot run``."""
    labels = [pair.label for row in pairs(analysis).values() for pair in row.values()]
    counts = [f"{labels.count(label)} {words}" for label, words in _COUNTED.items() if label in labels]
    return f"Targets by models: of {plural(len(labels), 'pair')} {', '.join(counts)}"


def _pair(cases: Sequence[Case], found: Mapping[str, tuple[Outcome, str]]) -> Pair:
    ran = any(found[case.id][0] == "ran" for case in cases)
    outcomes: dict[Outcome, int] = {}
    reasons: dict[str, Outcome] = {}
    for case in cases:
        if ran and case.skipped is not None and case.skipped.kind == _PROVIDER:
            continue
        outcome, reason = found[case.id]
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        if reason:
            reasons.setdefault(reason, outcome)
    return Pair(outcomes, reasons)


def _outcomes(analysis: Analysis) -> dict[str, tuple[Outcome, str]]:
    """Return the outcome of each case, with the reason unless it ran."""
    wrong = disagreements(analysis.run)
    states = {
        line["case"]: (line["status"], line["reason"])
        for line in analysis.summary[analysis.summary["status"].isin(["error", "unsupported"])].to_dict("records")[::-1]
    }
    outcomes: dict[str, tuple[Outcome, str]] = {}
    for case in analysis.run.info.cases:
        status, reason = states.get(case.id, ("", ""))
        if case.id in wrong:
            outcomes[case.id] = "disagrees", wrong[case.id].message
        elif case.skipped is not None:
            outcomes[case.id] = "cannot", case.skipped.message
        elif status:
            outcomes[case.id] = "failed" if status == "error" else "cannot", reason
        else:
            outcomes[case.id] = "ran", ""
    return outcomes


def _cell(pair: Pair | None) -> Cell:
    if pair is None:
        return nothing()
    reasons = [reason for reason, outcome in pair.reasons.items() if outcome == pair.worst]
    more = list(pair.reasons) if len(pair.reasons) > 1 else []
    note = short(reasons[0]) if reasons else ""
    return Cell(pair.label, note, pair.label, _TONES[pair.label], more=more, fold=f"{len(more)} reasons")


def short(reason: str) -> str:
    """Return the first words of a reason, without the name of a runner or field in front of it."""
    head, found, rest = reason.partition(": ")
    words = rest if found and " " not in head else reason
    if len(words) <= _MOST:
        return words
    return words[:_MOST].rpartition(" ")[0].rstrip(",;:(") + "\N{HORIZONTAL ELLIPSIS}"
