"""The first screen of the page: the best target, and what it costs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from markupsafe import Markup, escape
from msgspec import Struct

from runoff.analysis.wording import against
from runoff.report import verdicts
from runoff.report.page.cases import swatch
from runoff.report.tables import Cell, Column, Line, Table, nothing
from runoff.report.text import full, interval, number
from runoff.report.verdicts import MEMORY, PROCESS, RATE, WARM, answers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runoff.report.overview import Block
    from runoff.report.page.cases import Colours
    from runoff.report.verdicts import BestTarget

COUNTED = (
    "Number of comparisons in which the target is better than every baseline; "
    "with one value each, in which it is the smallest"
)
"""Explanation of the counts in `lead`."""
_OF_MANY = (
    "Number of comparisons in which the target is the best, or as good: near the best, and not distinguishable from it"
)
"""The same for many targets, which are all compared with the best one."""
_QUESTIONS = {PROCESS: "One short process", WARM: "Many calls", RATE: "Requests under load", MEMORY: "Least memory"}
_NAME = Markup("<b>{}</b>")
"""Shown in bold; the style sheet keeps it on one line."""
_MEANS = {
    PROCESS: "from start to exit",
    WARM: "a warm inference",
    RATE: "within the latency bound",
    MEMORY: "at its peak",
}


class Answer(Struct, frozen=True):
    """The answer in one respect: one of the two or three headline numbers."""

    question: str
    """The respect, such as ``One short process``."""
    targets: list[str]
    """The best target, and those that are as good."""
    swatch: str
    figure: str
    between: str
    profile: str
    where: str
    comparisons: list[str]
    """Comparisons with each baseline, a sentence each."""
    costs: str
    """Other costs of the same case, in a sentence."""
    unfair: str


def lead(blocks: Sequence[Block]) -> Markup:
    """Return the best target in each respect: ``ort-rust for one short process; ort-python for many calls.``."""
    by_block = [answers(block) for block in blocks]
    measured = [line for line in by_block if line]
    if not measured:
        return Markup()
    if len(measured) > 1:
        return _tally([finding for line in measured for finding in line])
    parts: dict[Markup, list[str]] = {}
    for finding in measured[0]:
        who = _either_of([finding.winner.target, *finding.level]) + _far(finding)
        parts.setdefault(who, []).append(_question(finding).lower() + (" (one value)" if finding.single else ""))
    return Markup("; ").join(escape("{} for {}").format(who, _joined(what, "and")) for who, what in parts.items()) + "."


def counted(blocks: Sequence[Block]) -> str:
    """Return the explanation of the counts in `lead`."""
    return _OF_MANY if any(block.crowded for block in blocks) else COUNTED


def _tally(findings: Sequence[BestTarget]) -> Markup:
    """Return, in each respect, the target that is most often better than every baseline.

    With a single value each nothing is distinguishable: the target that is most often smallest is named, and marked. Of
    many targets, those are named that are most often the best or as good.
    """
    phrases = []
    for what in dict.fromkeys(finding.what for finding in findings):
        of_respect = [finding for finding in findings if finding.what == what]
        question = _question(of_respect[0]).lower()
        single = all(finding.single for finding in of_respect)
        counts = Counter(name for finding in of_respect for name in _counted(finding, single=single))
        count = max(counts.values(), default=0)
        if 2 * count > len(of_respect):
            names = [name for name in counts if counts[name] == count]
            words = ", one value each" if single else ""
            who = _either_of(names if of_respect[0].block.crowded else names[:1])
            phrases.append(who + f" for {question}" + _NAME.format(f" ({count} of {len(of_respect)}{words})"))
        else:
            phrases.append(escape(f"no clear best for {question}"))
    return Markup("; ").join(phrases) + "."


def _counted(found: BestTarget, *, single: bool) -> list[str]:
    """Return the targets that a comparison counts for in `_tally`."""
    if found.block.crowded:
        return [found.winner.target, *found.level]
    return [found.winner.target] if found.clear or single else []


def _either_of(names: Sequence[str]) -> Markup:
    *others, last = [_NAME.format(name) for name in names]
    return Markup(", ").join(others) + " or " + last if others else last


def _far(found: BestTarget) -> str:
    return f" (not distinguishable from {_joined(found.far, 'and')})" if found.far else ""


def _joined(words: Sequence[str], last: str) -> str:
    """Return the words as in ``a, b or c``; `last` is the conjunction."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _question(found: BestTarget) -> str:
    return _QUESTIONS.get(found.what, f"Least {found.what}")


def cards(block: Block, colours: Colours | None = None) -> list[Answer]:
    """Return the headline numbers of one block."""
    return [_card(found, swatch(found.winner.target, colours)) for found in answers(block)]


def _card(found: BestTarget, colour: str) -> Answer:
    return Answer(
        question=_question(found),
        targets=[found.winner.target, *found.level],
        swatch=colour,
        figure=number(found.figure),
        between="one value, no interval" if found.single else f"95% interval {interval(found.figure)}",
        profile=found.profile,
        where=_MEANS.get(found.what, found.what),
        comparisons=[against(verdict, name) for name, verdict in found.versus.items()] + _others(found),
        costs=_costs(found),
        unfair=", ".join(found.unfair),
    )


def _costs(found: BestTarget) -> str:
    """Return the winner's other figures, as a sentence."""
    row = found.winner
    figures = (
        (PROCESS, row.wall, "from start to exit"),
        (WARM, row.warm, "per warm inference"),
        (RATE, row.rate, "requests"),
        (MEMORY, row.peak, "peak memory"),
    )
    other_figures = [
        f"{number(figure)} {words}" for what, figure, words in figures if what != found.what and figure.value
    ]
    return f"It also takes {_joined(other_figures, 'and')}." if other_figures else ""


def _others(found: BestTarget) -> list[str]:
    """Return a sentence on targets that are not distinguishable from the best, and neither named nor compared."""
    names = [name for name in found.far if found.rivals and name not in found.versus]
    return [f"not distinguishable from {_joined(names, 'and')}"] if names else []


def board(blocks: Sequence[Block], colours: Colours | None = None) -> Table:
    """Return a row for each block with the best target in each respect; for runs of several blocks."""
    respects, found = verdicts.board(blocks)
    columns = [Column("Model and setting"), *(Column(_QUESTIONS.get(what, what)) for what in respects)]
    lines = [
        Line([Cell(title, "", title), *(_place(line.get(what), colours) for what in respects)])
        for title, line in found.items()
    ]
    return Table("board", "Best targets, by model and setting", columns, lines)


def by_profile(blocks: Sequence[Block], colours: Colours | None = None) -> Table:
    """Return a row for each profile of each block with the best target in each respect."""
    best = [found for block in blocks for found in verdicts.findings(block)]
    respects = list(dict.fromkeys(found.what for found in best))
    grouped: dict[tuple[str, str], dict[str, BestTarget]] = {}
    for found in best:
        grouped.setdefault((found.block.title, found.profile), {})[found.what] = found
    columns = [Column("Model and setting"), *(Column(_QUESTIONS.get(what, what)) for what in respects)]
    lines = [
        Line([Cell(title, f"profile {profile}", title), *(_place(line.get(what), colours) for what in respects)])
        for (title, profile), line in grouped.items()
    ]
    return Table("profiles", "Best targets, by model, setting and profile", columns, lines)


def _place(found: BestTarget | None, colours: Colours | None) -> Cell:
    if found is None:
        return nothing()
    who, last = _joined([found.winner.target, *found.level], "or") + _far(found), list(found.versus.items())[-1:]
    one = ", one value" if found.single else ""
    notes = [f"{full(found.figure)}{one}, profile {found.profile}", *(against(verdict, name) for name, verdict in last)]
    unfair = f"not a fair comparison: {', '.join(found.unfair)}" if found.unfair else ""
    colour = swatch(found.winner.target, colours)
    return Cell(who, "; ".join([*notes, *([unfair] if unfair else [])]), found.figure.value, "", colour)
