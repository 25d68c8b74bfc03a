"""The best targets and their comparisons with the baselines, as values and as text."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from runoff.analysis.verdict import ALIKE, Verdict
from runoff.analysis.wording import against
from runoff.report.text import Figure, full

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from runoff.report.overview import Block, Row

PROCESS, WARM, RATE, MEMORY = "process time", "warm inference", "requests under load", "peak memory"
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
    rivals: dict[str, Verdict] = {}
    """Of many targets: the verdict on each other, by target, relative to this one. Ties are then read from these."""
    level: list[str] = []
    """Targets with a figure near its own that are not distinguishable from it, or from a baseline it ties with."""
    unfair: list[str]
    """Points of the fairness audit that the comparison fails, or its best target, or one that it is compared with."""

    @property
    def tied(self) -> list[str]:
        """Targets that are not distinguishable from it."""
        return _tied(self.rivals or self.versus)

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
        """Whether it differs from every baseline; of many targets, from every other."""
        compared = self.rivals or self.versus
        return bool(compared) and all(verdict.differs for verdict in compared.values())


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
        for contest in _contests(block):
            measured = {row.target: (row, *contest.read(row)) for row in rows if contest.read(row)[0].value is not None}
            if measured:
                best_targets.append(_finding(block, contest, measured))
    return best_targets


def _finding(
    block: Block, contest: _Contest, measured: Mapping[str, tuple[Row, Figure, dict[str, Verdict]]]
) -> BestTarget:
    winner, figure, verdicts = min(measured.values(), key=lambda entry: entry[1].value or 0.0)
    compared = winner.rivals.get(contest.respect, {})
    by_figure = sorted(measured, key=lambda name: measured[name][1].value or 0.0)
    rivals = {name: compared[name] for name in by_figure if name in compared}
    ties = {} if rivals else _ties(winner.target, {name: entry[2] for name, entry in measured.items()})
    near = {name for name, (_, other, _) in measured.items() if (other.value or 0.0) < ALIKE * (figure.value or 0.0)}
    versus = {name: verdict for name, verdict in (verdicts | ties).items() if verdict.kind != "baseline"}
    tied = _tied(rivals or versus)
    # a target that ties with the same baseline as the winner is as good, if it was not compared with the winner itself
    also_tied = [
        name
        for name, (_, _, other) in measured.items()
        if not rivals and name not in versus and set(_tied(other)) & set(tied)
    ]
    concerned = [winner.target, *(name for name in versus if name in measured)]
    return BestTarget(
        block=block,
        profile=winner.profile,
        what=contest.what,
        winner=winner,
        figure=figure,
        best=contest.best,
        versus=versus,
        rivals=rivals,
        level=[name for name in (*tied, *also_tied) if name in near and name != winner.target],
        unfair=[*block.unfair.get(winner.profile, []), *_own_points(measured[name][0] for name in concerned)],
    )


def _own_points(rows: Iterable[Row]) -> list[str]:
    """Return the points of the fairness audit in which these cases deviate from the others of their comparison."""
    return list(dict.fromkeys(point for row in rows for point in row.unfair))


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


class _Contest(Struct, frozen=True):
    """A respect in which targets are ranked."""

    what: str
    respect: str
    """A key of `Row.rivals`."""
    best: str
    """Superlative of the best."""
    read: Callable[[Row], _Result]


def _contests(block: Block) -> Iterator[_Contest]:
    """Yield each respect for ranking."""
    yield _Contest(PROCESS, "wall", "fastest", lambda row: (row.wall, row.wall_vs))
    yield _Contest(WARM, "warm", "fastest", lambda row: (row.warm, row.warm_vs))
    yield _Contest(RATE, "rate", "fastest", lambda row: (row.rate, row.rate_vs))
    yield _Contest(MEMORY, "peak", "smallest", lambda row: (row.peak, row.peak_vs))
    for domain in block.domains:
        yield _Contest(energy_in(domain), domain, "most frugal", partial(_inference, domain))


def energy_in(domain: str) -> str:
    """Return the name of the energy of an inference in `domain`."""
    return f"energy per inference ({domain})"


def _inference(domain: str, row: Row) -> _Result:
    drawn = row.energy.get(domain)
    return (drawn.inference, drawn.inference_vs) if drawn else (Figure(), {})


def joules_of(row: Row, domain: str) -> Figure:
    """Return the energy of an inference in `domain`; an empty figure if it was not measured."""
    return _inference(domain, row)[0]


def ranked(block: Block) -> list[Row]:
    """Return the rows that can run on this machine: profile by profile, and in crowded blocks by their process time."""
    if not block.crowded:
        return block.present
    order = {profile: place for place, profile in enumerate(block.profiles)}
    return sorted(block.present, key=lambda row: (order[row.profile], _last(row.wall), _last(row.warm)))


def _last(figure: Figure) -> float:
    """Return the value by which a figure is sorted; a missing one comes last."""
    return float("inf") if figure.value is None else figure.value


def _ties(winner: str, verdicts: Mapping[str, dict[str, Verdict]]) -> dict[str, Verdict]:
    """Return the verdicts of the targets that are not distinguishable from `winner`, if it is a baseline."""
    return {target: versus[winner] for target, versus in verdicts.items() if winner in versus and versus[winner].tied}


def _sentence(found: BestTarget) -> str:
    points = ", ".join(found.unfair)
    unfair = f" (not a fair comparison; differs: {points})" if points else ""
    place = "comes first" if found.tied else f"is the {found.best}"
    verdicts = [against(verdict, name) for name, verdict in found.versus.items()]
    others = [name for name in found.tied if name not in found.versus]
    verdicts += [f"not distinguishable from {', '.join(others)}"] if others else []
    ending = f": {'; '.join(verdicts)}" if verdicts else ""
    return f"{found.profile}, {found.what}{unfair}: {found.winner.target} {place}, {full(found.figure)}{ending}."
