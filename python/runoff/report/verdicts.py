"""Which target does best, and how it stands to the baselines: as values, and in words."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from runoff.analysis.verdict import BASELINE, IN_PERCENT, NO_DIFFERENCE
from runoff.report.text import Figure, full

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from runoff.report.overview import Block, Row

WHOLE, WARM, MEMORY = "whole process", "warm inference", "peak memory"
"""What every block is ranked by; energy comes on top where it was measured."""


class Finding(Struct, frozen=True, kw_only=True):
    """The best target of a profile in one respect."""

    block: Block
    profile: str
    what: str
    winner: Row
    figure: Figure
    best: str
    """How the first is called: ``quickest``, ``smallest``, ``most frugal``."""
    versus: dict[str, str]
    """Verdict by baseline, and by each target that cannot be told from it."""
    level: list[str] = []
    """Targets whose figure is near its own, and that it, or a baseline that it ties with, cannot be told from."""
    unfair: list[str]
    """Points of the fairness audit that the comparison fails."""

    @property
    def tied(self) -> list[str]:
        """Targets that it cannot be told from."""
        return _tied(self.versus)

    @property
    def single(self) -> bool:
        """Whether its figure is one value, without an interval."""
        return self.figure.high is None

    @property
    def clear(self) -> bool:
        """Whether it was told apart from every baseline."""
        return bool(self.versus) and not any(
            verdict.startswith((NO_DIFFERENCE, "not comparable")) for verdict in self.versus.values()
        )


def headlines(block: Block) -> list[str]:
    """Return, profile by profile, which target does best and how it stands to the baselines, in words.

    A comparison with a failed point of the audit says so before it names a winner.
    """
    return [_sentence(found) for found in findings(block)]


def findings(block: Block) -> list[Finding]:
    """Return the best target of each profile in each respect; a profile without figures has none."""
    found = []
    for profile in block.profiles:
        # a twin is its baseline once more: it cannot win
        rows = [row for row in block.rows if row.profile == profile and row.computes and row.control_of is None]
        for what, best, read in _contests(block):
            measured = {row.target: (row, *read(row)) for row in rows if read(row)[0].value is not None}
            if measured:
                found.append(_finding(block, what, best, measured))
    return found


def _finding(block: Block, what: str, best: str, measured: Mapping[str, tuple[Row, Figure, dict[str, str]]]) -> Finding:
    winner, figure, verdicts = min(measured.values(), key=lambda entry: entry[1].value or 0.0)
    ties = _ties(winner.target, {name: entry[2] for name, entry in measured.items()})
    near = {name for name, (_, its, _) in measured.items() if (its.value or 0.0) < IN_PERCENT * (figure.value or 0.0)}
    versus = {name: verdict for name, verdict in (verdicts | ties).items() if verdict != BASELINE}
    tied = _tied(versus)
    # who ties with a baseline that the first ties with, too, is as good
    beside = [name for name, (_, _, its) in measured.items() if name not in versus and set(_tied(its)) & set(tied)]
    return Finding(
        block=block,
        profile=winner.profile,
        what=what,
        winner=winner,
        figure=figure,
        best=best,
        versus=versus,
        level=[name for name in (*tied, *beside) if name in near and name != winner.target],
        unfair=block.unfair.get(winner.profile, []),
    )


def _tied(versus: Mapping[str, str]) -> list[str]:
    return [name for name, verdict in versus.items() if verdict.startswith(NO_DIFFERENCE)]


def answers(block: Block) -> list[Finding]:
    """Return one finding for each respect: of the first profile, unless another's interval lies wholly below its.

    Where the first profile has one value and no interval, the smallest estimate is taken.
    """
    chosen: dict[str, Finding] = {}
    for found in findings(block):
        held = chosen.get(found.what)
        if held is None or _below(found.figure, held.figure):
            chosen[found.what] = found
    return list(chosen.values())


def _below(one: Figure, other: Figure) -> bool:
    if other.low is None:
        return (one.value or 0.0) < (other.value or 0.0)
    return one.high is not None and one.high < other.low


_Result = tuple[Figure, dict[str, str]]
"""A figure, and its verdicts by baseline."""


def _contests(block: Block) -> Iterator[tuple[str, str, Callable[[Row], _Result]]]:
    """Yield what targets are ranked by, how the first is called, and what reads it from a row."""
    yield WHOLE, "quickest", lambda row: (row.wall, row.wall_vs)
    yield WARM, "quickest", lambda row: (row.warm, row.warm_vs)
    yield MEMORY, "smallest", lambda row: (row.peak, row.peak_vs)
    for domain in block.domains:
        yield f"energy of an inference ({domain})", "most frugal", partial(_inference, domain)


def _inference(domain: str, row: Row) -> _Result:
    found = row.energy.get(domain)
    return (found.inference, found.inference_vs) if found else (Figure(), {})


def _ties(winner: str, verdicts: Mapping[str, dict[str, str]]) -> dict[str, str]:
    """Return the verdicts of those that cannot be told from `winner`, where it is a baseline itself."""
    found = {target: versus.get(winner, "") for target, versus in verdicts.items()}
    return {target: verdict for target, verdict in found.items() if verdict.startswith(NO_DIFFERENCE)}


def _sentence(found: Finding) -> str:
    points = ", ".join(found.unfair)
    unfair = f" (not a fair comparison, it fails: {points})" if points else ""
    place = "comes first" if found.tied else f"is the {found.best}"
    versus = "; ".join(_stands(name, verdict) for name, verdict in found.versus.items())
    told = f": {versus}" if versus else ""
    return f"{found.profile}, {found.what}{unfair}: {found.winner.target} {place}, {full(found.figure)}{told}."


def _stands(name: str, verdict: str) -> str:
    if verdict.startswith(NO_DIFFERENCE):
        return verdict.replace(NO_DIFFERENCE, f"{NO_DIFFERENCE} from {name}")
    return f"against {name} {verdict}"
