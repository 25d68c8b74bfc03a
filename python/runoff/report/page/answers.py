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
from runoff.report.verdicts import MEMORY, PROCESS, WARM, answers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runoff.report.overview import Block
    from runoff.report.verdicts import BestTarget

COUNTED = (
    "Number of comparisons in which the target is better than every baseline; "
    "with one value each, in which it is the smallest"
)
"""Explanation of the counts in `lead`."""
_QUESTIONS = {PROCESS: "One short process", WARM: "Many calls", MEMORY: "Least memory"}
_NAME = Markup("<b>{}</b>")
"""Shown in bold; the style sheet keeps it on one line."""
_MEANS = {PROCESS: "from start to exit", WARM: "a warm inference", MEMORY: "at its peak"}


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
        return Markup("Nothing was measured.")
    if len(measured) > 1:
        return _tally([finding for line in measured for finding in line])
    parts: dict[Markup, list[str]] = {}
    for finding in measured[0]:
        parts.setdefault(_either(finding), []).append(_respect(finding))
    return Markup("; ").join(escape("{} for {}").format(who, _joined(what, "and")) for who, what in parts.items()) + "."


def _tally(findings: Sequence[BestTarget]) -> Markup:
    """Return, in each respect, the target that is most often better than every baseline.

    With a single value each nothing is distinguishable: the target that is most often smallest is named, and marked.
    """
    phrases = []
    for what in dict.fromkeys(finding.what for finding in findings):
        of_respect = [finding for finding in findings if finding.what == what]
        question = _question(of_respect[0]).lower()
        single = all(finding.single for finding in of_respect)
        counts = Counter(finding.winner.target for finding in of_respect if finding.clear or single)
        (who, count), *_ = counts.most_common(1) or [("", 0)]
        if 2 * count > len(of_respect):
            words = ", one value each" if single else ""
            phrases.append(
                _NAME.format(who) + f" for {question}" + _NAME.format(f" ({count} of {len(of_respect)}{words})")
            )
        else:
            phrases.append(escape(f"no clear best for {question}"))
    return Markup("; ").join(phrases) + "."


def _either(found: BestTarget) -> Markup:
    """Return the best target and those that are as good, and in brackets others that are not distinguishable."""
    *others, last = [_NAME.format(name) for name in (found.winner.target, *found.level)]
    return (Markup(", ").join(others) + " or " + last if others else last) + _far(found)


def _far(found: BestTarget) -> str:
    return f" (not distinguishable from {_joined(found.far, 'and')})" if found.far else ""


def _respect(found: BestTarget) -> str:
    return _question(found).lower() + (" (one value)" if found.single else "")


def _joined(words: Sequence[str], last: str) -> str:
    """Return the words as in ``a, b or c``; `last` is the conjunction."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _question(found: BestTarget) -> str:
    return _QUESTIONS.get(found.what, f"Least {found.what}")


def cards(block: Block) -> list[Answer]:
    """Return the headline numbers of one block."""
    return [_card(found) for found in answers(block)]


def _card(found: BestTarget) -> Answer:
    return Answer(
        question=_question(found),
        targets=[found.winner.target, *found.level],
        swatch=swatch(found.winner.target),
        figure=number(found.figure),
        between="one value, no interval" if found.single else f"95% interval {interval(found.figure)}",
        profile=found.profile,
        where=_MEANS.get(found.what, found.what),
        comparisons=[against(verdict, name) for name, verdict in found.versus.items()],
        costs=_costs(found),
        unfair=", ".join(found.unfair),
    )


def _costs(found: BestTarget) -> str:
    """Return the winner's other figures, as a sentence."""
    row = found.winner
    figures = (
        (PROCESS, row.wall, "from start to exit"),
        (WARM, row.warm, "per warm inference"),
        (MEMORY, row.peak, "peak memory"),
    )
    other_figures = [
        f"{number(figure)} {words}" for what, figure, words in figures if what != found.what and figure.value
    ]
    return f"It also takes {_joined(other_figures, 'and')}." if other_figures else ""


def board(blocks: Sequence[Block]) -> Table:
    """Return a row for each block with the best target in each respect; for runs of several blocks."""
    respects, found = verdicts.board(blocks)
    columns = [Column("Model and setting"), *(Column(_QUESTIONS.get(what, what)) for what in respects)]
    lines = [
        Line([Cell(title, "", title), *(_place(line.get(what)) for what in respects)]) for title, line in found.items()
    ]
    return Table("board", "Best targets, by model and setting", columns, lines)


def _place(found: BestTarget | None) -> Cell:
    if found is None:
        return nothing()
    who, last = _joined([found.winner.target, *found.level], "or") + _far(found), list(found.versus.items())[-1:]
    one = ", one value" if found.single else ""
    notes = [f"{full(found.figure)}{one}, profile {found.profile}", *(against(verdict, name) for name, verdict in last)]
    unfair = f"not a fair comparison: {', '.join(found.unfair)}" if found.unfair else ""
    return Cell(
        who, "; ".join([*notes, *([unfair] if unfair else [])]), found.figure.value, "", swatch(found.winner.target)
    )
