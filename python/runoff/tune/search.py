"""The search: what is measured next, from single changes of the default to a confirmed profile.

1. Race all single changes against the best so far, at first the default, where the hand-made profile is one too.
2. Add the winners one by one, the largest gain first, each raced against the best so far. Repeat 1 and 2 once: a change
   may only help beside others. If the time is over before anything is decided, the best of the undecided goes on to 4.
3. Ablation: the best against the best without each of its changes, in the same blocks, is what each was worth.
4. Confirmation: fresh processes of default, default again and best, in new blocks. Only what is better here is kept, so
   neither the choice among many nor an unlucky block can make a profile that is worse than the default.
"""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from runoff.analysis.verdict import Verdict, decide, floor_of
from runoff.statistics import Ratio, paired
from runoff.tune.race import LOOKS, Race, Standing
from runoff.tune.space import extended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from runoff.tune.race import Logs
    from runoff.tune.space import Candidate, Change

DEFAULT: Candidate = ()
NOTHING = Ratio(nan, nan, nan, 0, nan)
ROUNDS = 2
ABLATION, CONFIRMATION = 11, 17
"""Blocks."""
FEWEST = 2
"""Blocks of an ablation when the time is over."""
_SHARES = {1: (0.40, 0.60), 2: (0.70, 0.75)}
"""By round: shares of the time after which its race, and its additions, end."""
_LAST_SHARE = 0.75
"""The share of the time after which a race without a winner ends."""
_ABLATION_SHARE = 0.85


class Lab(Protocol):
    """Measures candidates in blocks."""

    def measure(self, candidates: Sequence[Candidate], *, control: bool = False) -> None:
        """Measure one block, with fresh processes; `control` adds the default a second time."""

    def logs(self, over: Candidate | None, under: Candidate, since: int) -> Logs:
        """Return the logarithms of over / under of each block from `since` on; None is the default's control."""

    def failure(self, candidate: Candidate) -> str:
        """Return the reason if a candidate failed; empty if it did not."""

    def over_limit(self, candidate: Candidate, since: int) -> str:
        """Return the limit that a candidate may exceed, by the upper end of its interval; empty for none."""

    @property
    def block(self) -> int:
        """Number of blocks so far."""

    def spent(self) -> float:
        """Return the share of the time that is used up."""


class Worth(Struct, frozen=True):
    """What a change was worth: best without it / best."""

    change: Change
    ratio: Ratio


class Tried(Struct, frozen=True, kw_only=True):
    """A candidate that was raced against a reference."""

    move: Candidate
    """The changes of the reference: one, or those of a profile."""
    beside: Candidate
    """The reference: the best so far."""
    standing: Standing
    blocks: int


class Found(Struct, frozen=True, kw_only=True):
    """The result of a search."""

    best: Candidate
    """The default if nothing better was confirmed."""
    suggested: Candidate
    """What was confirmed or refused."""
    worths: tuple[Worth, ...] = ()
    """Of the changes of `suggested`."""
    verdict: Verdict = Verdict()
    """Of `suggested` compared with the default, in fresh processes."""
    blocks: int = 0
    """Of the confirmation."""
    tried: tuple[Tried, ...] = ()
    refusal: str = ""
    """Reason why `suggested` was not kept."""


class Search:
    """A search among `changes`, measured by `lab`; `say` is given a line at each step.

    `profile` are the changes of the hand-made profile for this objective.
    """

    def __init__(
        self, changes: Sequence[Change], profile: Candidate, lab: Lab, unit: str, say: Callable[[str], None]
    ) -> None:
        self._moves: list[Candidate] = [*([profile] if len(profile) > 1 else []), *((one,) for one in changes)]
        self._lab = lab
        self._unit = unit
        self._say = say
        self._tried: list[Tried] = []

    def run(self) -> Found:
        """Return what was found."""
        best: Candidate = DEFAULT
        for number in range(1, ROUNDS + 1):
            longer = self._round(best, *_SHARES[number])
            if longer == best:
                break
            best = longer
        if best == DEFAULT:
            return Found(best=best, suggested=best, tried=tuple(self._tried))
        worths = self._ablation(best)
        best = tuple(one.change for one in worths if not one.ratio.high < 1)
        return self._confirmation(best, tuple(one for one in worths if one.change in best))

    def _round(self, best: Candidate, race_until: float, until: float) -> Candidate:
        """Return `best` with the changes that were found to help."""
        harmful = {one.move for one in self._tried if one.standing.state == "failed" or one.standing.ratio.high < 1}
        left = dict.fromkeys(_rest(move, best) for move in self._moves)
        moves = [move for move in left if move and move not in harmful and extended(best, *move)]
        if not moves or self._lab.spent() >= race_until:
            return best
        beside = f"beside {words_of(best)}" if best else "each alone"
        self._say(f"racing {len(moves)} changes of the default, {beside}")
        winners = self._race(best, moves, race_until)
        best = (*best, *(winners[0] if winners else ()))
        for winner in winners[1:]:
            move = _rest(winner, best)
            if move and extended(best, *move) and self._race(best, [move], until):
                best = (*best, *move)
        return best

    def _race(self, reference: Candidate, moves: Iterable[Candidate], until: float) -> list[Candidate]:
        """Race `reference` with each of `moves` against it, and return the winners, the largest gain first."""
        candidates = {words_of(move): (move, (*reference, *move)) for move in moves}
        race, since = Race(list(candidates)), self._lab.block
        while not race.over(blocks := self._lab.block - since):
            ends = until if race.winners else _LAST_SHARE
            hurried = blocks >= LOOKS[0] - 1 and self._lab.spent() >= ends
            self._lab.measure([reference, *(candidates[name][1] for name in race.open)])
            for name in race.open:
                if reason := self._lab.failure(candidates[name][1]):
                    race.fail(name, reason)
            if hurried or race.is_due(blocks + 1):
                logs = {name: self._lab.logs(reference, candidates[name][1], since) for name in race.open}
                limits = {name: self._lab.over_limit(candidates[name][1], since) for name in race.open}
                race.look(logs, limits)
            if hurried:
                if reference == DEFAULT and not race.winners:
                    race.take_leader(limits)
                break
        for name, standing in race.standings.items():
            move, candidate = candidates[name]
            blocks = len(self._lab.logs(reference, candidate, since))
            self._tried.append(Tried(move=move, beside=reference, standing=standing, blocks=blocks))
        for name in race.winners:
            self._say(f"  {name}: {race.standings[name].ratio.value:.2f}x beside {words_of(reference)}")
        return [candidates[name][0] for name in race.winners]

    def _ablation(self, best: Candidate) -> list[Worth]:
        """Return what each change of `best` is worth beside the others."""
        without = {one: tuple(other for other in best if other != one) for one in best}
        self._say(f"measuring what each of {len(best)} changes is worth")
        since = self._lab.block
        for blocks in range(ABLATION):
            if blocks >= FEWEST and self._lab.spent() >= _ABLATION_SHARE:
                break
            self._lab.measure([best, *without.values()])
        logs = {one: self._lab.logs(other, best, since) for one, other in without.items()}
        return [Worth(one, paired(pairs)) if pairs else Worth(one, NOTHING) for one, pairs in logs.items()]

    def _confirmation(self, best: Candidate, worths: tuple[Worth, ...]) -> Found:
        """Compare `best` with the default in fresh processes, and keep it if it is better."""
        self._say("confirming in fresh processes: default, default again, best")
        since = self._lab.block
        for blocks in range(CONFIRMATION):
            if blocks >= LOOKS[0] and self._lab.spent() >= 1:
                break
            self._lab.measure([DEFAULT, best], control=True)
        blocks = self._lab.block - since
        reason = self._lab.failure(best) or self._lab.failure(DEFAULT)
        verdict = Verdict(unit=self._unit)
        if not reason:
            ratio = paired(self._lab.logs(DEFAULT, best, since))
            control = self._lab.logs(None, DEFAULT, since)
            floor = floor_of(paired(control) if control else None)
            verdict = decide(ratio, ratio.p, floor, self._unit)
            limit = self._lab.over_limit(best, since)
            reason = f"it may exceed {limit}" if limit else ""
        if not reason and verdict.kind != "better":
            reason = "it was not better than the default beyond the noise floor in fresh processes"
        kept = DEFAULT if reason else best
        return Found(
            best=kept,
            suggested=best,
            worths=worths,
            verdict=verdict,
            blocks=blocks,
            tried=tuple(self._tried),
            refusal=reason,
        )


def _rest(move: Candidate, best: Candidate) -> Candidate:
    """Return the changes of `move` that `best` does not have: of a profile, some may be found first."""
    return tuple(one for one in move if one not in best)


def words_of(candidate: Candidate) -> str:
    """Return the changes of a candidate as text."""
    return ", ".join(map(str, candidate)) or "the default"
