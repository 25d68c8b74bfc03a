"""The search for the change: releases are halved, and each is placed by measuring it between its two ends.

In every block the old end, the release in the middle and the new end run side by side, so drift of the machine affects
all three alike. The logarithms 2 middle - old - new tell which end the middle is nearer to: the search goes on in the
half with the larger change, if there are several. A step looks at the interval of `runoff.statistics.paired` after each
of `LOOKS` blocks. Its confidence is corrected for the number of looks and steps (Bonferroni): at most a share `error`
of searches takes a wrong turn.
"""

from __future__ import annotations

from math import ceil, isfinite, log, log2
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from msgspec import Struct

from runoff.statistics import Ratio, paired

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Logs = list[NDArray[np.float64]]

LOOKS = (5, 8, 11, 17, 23)
"""Numbers of blocks after which a step looks; the last ends it. From 6 on, just before one more is trimmed."""
SMALLEST = 1.01
"""A change of the whole span below this factor is none."""
EXACT = 2.0
"""The same for a metric that does not vary from process to process: it changes by more, if it changes."""
CONFIRMATION = 8
"""Blocks of fresh processes at the end."""

Side = Literal["old", "new", "unclear"]
Outcome = Literal["found", "no change", "unclear", "all failed"]


class Lab(Protocol):
    """Measures releases in blocks."""

    def measure(self, releases: Sequence[str]) -> None:
        """Measure one block, with fresh processes side by side."""

    def logs(self, over: str, under: str, since: int) -> Logs:
        """Return the logarithms of over / under of each block from `since` on, shape ``(pairs,)``."""

    def failure(self, release: str) -> str:
        """Return the reason if a release failed, or could not be installed; empty if it did not."""

    @property
    def block(self) -> int:
        """Number of blocks so far."""


class Step(Struct, frozen=True, kw_only=True):
    """A release that was placed between two others."""

    release: str
    old: str
    new: str
    side: Side
    """Which end it was like."""
    blocks: int
    reason: str = ""
    """Why it could not be measured."""


class Found(Struct, frozen=True, kw_only=True):
    """The result of a search."""

    outcome: Outcome
    before: str = ""
    """The last release before the change; the oldest if none was found."""
    after: str = ""
    """The first release with it; they are neighbours unless what lies between them failed or was unclear."""
    steps: tuple[Step, ...] = ()
    failures: dict[str, str] = {}
    """By release: why it could not be measured."""


class Search:
    """A search among `releases`, oldest first, measured by `lab`; `say` is given a line at each step.

    At most a share `error` of searches is wrong. If the metric is `exact`, one block decides.
    """

    def __init__(
        self, releases: Sequence[str], lab: Lab, error: float, say: Callable[[str], None], *, exact: bool = False
    ) -> None:
        self._releases, self._lab, self._say = list(releases), lab, say
        self._looks: tuple[int, ...] = (1,) if exact else LOOKS
        self._smallest = EXACT if exact else SMALLEST
        self._confidence = 1 - error / (len(LOOKS) * (1 + ceil(log2(max(2, len(releases) - 1)))))
        self._steps: list[Step] = []

    def run(self) -> Found:
        """Return what was found."""
        old, new = self._releases[0], self._releases[-1]
        self._lab.measure([old, new])
        broken = [bool(self._lab.failure(end)) for end in (old, new)]
        if all(broken):
            return self._found("all failed", old, new)
        if any(broken):
            return self._halve(lambda release, *_: self._works(release, old_works=not broken[0]))
        change = self._decided([old, new], lambda since: self._lab.logs(new, old, since))
        if change is None and not self._is_small(old, new):
            return self._found("unclear", old, new)
        if change is None or abs(log(change.value)) < log(self._smallest):
            return self._found("no change", old, new)
        self._say(f"{old} to {new}: {100 * (change.value - 1):+.1f}%")
        return self._halve(self._place)

    def _halve(self, place: Callable[[str, str, str], Side]) -> Found:
        """Return the two neighbours between which `place` changes its answer."""
        left = list(self._releases)
        while len(left) > 2:  # noqa: PLR2004 (two neighbours)
            since, (old, middle, new) = self._lab.block, (left[0], left[len(left) // 2], left[-1])
            side = place(middle, old, new)
            reason = self._lab.failure(middle)
            blocks = self._lab.block - since
            self._steps.append(Step(release=middle, old=old, new=new, side=side, blocks=blocks, reason=reason))
            self._say(f"{middle}: {reason or words_of(side, old, new)}")
            if side == "unclear":
                if not reason:
                    return self._found("unclear", old, new)
                left.remove(middle)
            else:
                place_of = left.index(middle)
                left = left[: place_of + 1] if side == "new" else left[place_of:]
        return self._found("found", *left)

    def _place(self, middle: str, old: str, new: str) -> Side:
        """Return which end a release is nearer to."""

        def statistic(since: int) -> Logs:
            sides = zip(self._lab.logs(middle, old, since), self._lab.logs(middle, new, since), strict=True)
            return [from_old[: len(from_new)] + from_new[: len(from_old)] for from_old, from_new in sides]

        since = self._lab.block
        nearer = self._decided([old, middle, new], statistic)
        if nearer is None:
            return "unclear"
        slower = float(np.median(np.concatenate(self._lab.logs(new, old, since)))) > 0
        return "new" if (nearer.value > 1) == slower else "old"

    def _works(self, release: str, *, old_works: bool) -> Side:
        """Return which end a release is like, when one works and the other fails."""
        self._lab.measure([release])
        return "old" if (not self._lab.failure(release)) == old_works else "new"

    def _decided(self, releases: Sequence[str], statistic: Callable[[int], Logs]) -> Ratio | None:
        """Measure blocks until the interval of `statistic` leaves out 1, and return it; None if it never does."""
        since = self._lab.block
        for blocks in range(1, self._looks[-1] + 1):
            self._lab.measure(releases)
            if any(self._lab.failure(release) for release in releases):
                return None
            if blocks in self._looks:
                ratio = paired(statistic(since), self._confidence)
                if self._looks == (1,) or (isfinite(ratio.low) and not ratio.low <= 1 <= ratio.high):
                    return ratio
        return None

    def _is_small(self, old: str, new: str) -> bool:
        """Return whether a change of `SMALLEST` is ruled out."""
        ratio = paired(self._lab.logs(new, old, 0))
        return max(ratio.high, 1 / ratio.low) < self._smallest

    def _found(self, outcome: Outcome, before: str, after: str) -> Found:
        failures = {release: self._lab.failure(release) for release in self._releases}
        return Found(
            outcome=outcome,
            before=before,
            after=after,
            steps=tuple(self._steps),
            failures={release: reason for release, reason in failures.items() if reason},
        )


def words_of(side: Side, old: str, new: str) -> str:
    """Return a step's answer as text."""
    return "unclear" if side == "unclear" else f"like {old if side == 'old' else new}"
