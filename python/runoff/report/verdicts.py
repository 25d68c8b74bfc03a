"""The best targets and their comparisons with the baselines, as values and as text."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from runoff.analysis.verdict import ALIKE, Verdict
from runoff.analysis.wording import against
from runoff.report.text import Figure, full

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from runoff.report.overview import Block, Row

PROCESS, WARM, MEMORY = "process time", "warm inference", "peak memory"
"""Respects in which every block is ranked; energy is added if it was measured."""


class BestTarget(Struct, frozen=True, kw_only=True):
    """The best target of a profile in one respect."""

    block: Block
    profile: str
    what: str
    winner: Row
    figure: Figure
    best: str
    """Superlative of the best: ``fastest``, ``smallest`` or ``most frugal``."""
    versus: dict[str, Verdict]
    """Verdict by baseline, and by each target that is not distinguishable from it."""
    level: list[str] = []
    """Targets with a figure near its own that are not distinguishable from it, or from a baseline it ties with."""
    unfair: list[str]
    """Points of the fairness audit that the comparison fails."""

    @property
    def tied(self) -> list[str]:
        """Targets that are not distinguishable from it."""
        return _tied(self.versus)

    @property
    def far(self) -> list[str]:
        """The others of `tied`: their figures are far from its own."""
        return [name for name in self.tied if name not in self.level]

    @property
    def single(self) -> bool:
        """Whether its figure is one value, without an interval."""
        return self.figure.high is None

    @property
    def clear(self) -> bool:
        """Whether it differs from every baseline."""
        return bool(self.versus) and all(verdict.differs for verdict in self.versus.values())


def headlines(block: Block) -> list[str]:
    """Return the best target of each profile in each respect and its comparison with the baselines, as sentences.

    Points of the audit that differ precede the winner.
    """
    return [_sentence(found) for found in findings(block)]


def findings(block: Block) -> list[BestTarget]:
    """Return the best target of each profile in each respect; none for a profile without figures."""
    best_targets = []
    for profile in block.profiles:
        # an A/A control cannot win
        rows = [row for row in block.rows if row.profile == profile and row.computes and row.control_of is None]
        for what, best, read in _contests(block):
            measured = {row.target: (row, *read(row)) for row in rows if read(row)[0].value is not None}
            if measured:
                best_targets.append(_finding(block, what, best, measured))
    return best_targets


def _finding(
    block: Block, what: str, best: str, measured: Mapping[str, tuple[Row, Figure, dict[str, Verdict]]]
) -> BestTarget:
    winner, figure, verdicts = min(measured.values(), key=lambda entry: entry[1].value or 0.0)
    ties = _ties(winner.target, {name: entry[2] for name, entry in measured.items()})
    near = {name for name, (_, other, _) in measured.items() if (other.value or 0.0) < ALIKE * (figure.value or 0.0)}
    versus = {name: verdict for name, verdict in (verdicts | ties).items() if verdict.kind != "baseline"}
    tied = _tied(versus)
    # a target that ties with the same baseline as the winner is as good
    also_tied = [
        name for name, (_, _, other) in measured.items() if name not in versus and set(_tied(other)) & set(tied)
    ]
    return BestTarget(
        block=block,
        profile=winner.profile,
        what=what,
        winner=winner,
        figure=figure,
        best=best,
        versus=versus,
        level=[name for name in (*tied, *also_tied) if name in near and name != winner.target],
        unfair=block.unfair.get(winner.profile, []),
    )


def _tied(versus: Mapping[str, Verdict]) -> list[str]:
    return [name for name, verdict in versus.items() if verdict.tied]


def answers(block: Block) -> list[BestTarget]:
    """Return one finding per respect: of the first profile, unless the interval of another is entirely below its own.

    If the first profile has one value and no interval, the smallest estimate counts.
    """
    chosen: dict[str, BestTarget] = {}
    for found in findings(block):
        current = chosen.get(found.what)
        if current is None or _below(found.figure, current.figure):
            chosen[found.what] = found
    return list(chosen.values())


def board(blocks: Sequence[Block]) -> tuple[list[str], dict[str, dict[str, BestTarget]]]:
    """Return the respects in which blocks have a best target, and the best ones by title of the block and respect.

    Blocks without any, of which nothing was measured, are omitted.
    """
    by_block = {block.title: {best.what: best for best in found} for block in blocks if (found := answers(block))}
    return list(dict.fromkeys(what for line in by_block.values() for what in line)), by_block


def _below(one: Figure, other: Figure) -> bool:
    if other.low is None:
        return (one.value or 0.0) < (other.value or 0.0)
    return one.high is not None and one.high < other.low


_Result = tuple[Figure, dict[str, Verdict]]
"""A figure, and its verdicts by baseline."""


def _contests(block: Block) -> Iterator[tuple[str, str, Callable[[Row], _Result]]]:
    """Yield each respect for ranking, the superlative for its best target, and a function that reads it from a row."""
    yield PROCESS, "fastest", lambda row: (row.wall, row.wall_vs)
    yield WARM, "fastest", lambda row: (row.warm, row.warm_vs)
    yield MEMORY, "smallest", lambda row: (row.peak, row.peak_vs)
    for domain in block.domains:
        yield f"energy per inference ({domain})", "most frugal", partial(_inference, domain)


def _inference(domain: str, row: Row) -> _Result:
    drawn = row.energy.get(domain)
    return (drawn.inference, drawn.inference_vs) if drawn else (Figure(), {})


def _ties(winner: str, verdicts: Mapping[str, dict[str, Verdict]]) -> dict[str, Verdict]:
    """Return the verdicts of the targets that are not distinguishable from `winner`, if it is a baseline."""
    return {target: versus[winner] for target, versus in verdicts.items() if winner in versus and versus[winner].tied}


def _sentence(found: BestTarget) -> str:
    points = ", ".join(found.unfair)
    unfair = f" (not a fair comparison; differs: {points})" if points else ""
    place = "comes first" if found.tied else f"is the {found.best}"
    verdicts = "; ".join(against(verdict, name) for name, verdict in found.versus.items())
    ending = f": {verdicts}" if verdicts else ""
    return f"{found.profile}, {found.what}{unfair}: {found.winner.target} {place}, {full(found.figure)}{ending}."
