"""A race: candidates against one reference, paired in blocks; who is decided leaves, so that the rest is measured.

The interval of a candidate is that of `runoff.statistics.paired` (Yuen's on logarithms). It is looked at after the
numbers of blocks in `LOOKS`, and its confidence is corrected for the number of candidates and looks (Bonferroni): over
a whole race of candidates that are all equal to the reference, one is claimed to be better in at most 2.5% of races.
Source of racing: Maron and Moore, *Hoeffding races* (1994); Birattari et al., *F-Race* (2002).
"""

from __future__ import annotations

from math import isfinite, nan
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from runoff.statistics import CONFIDENCE, Ratio, paired

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Logs = Sequence[NDArray[np.float64]]

LOOKS = (5, 8, 11, 17, 23)
"""Numbers of blocks after which a race looks; the last ends it. From 6 on, just before one more is trimmed."""
USEFUL = 1.01
"""A candidate that cannot be better than the reference by this factor is lost: equality is never shown."""

State = Literal["open", "leads", "won", "lost", "failed"]
"""``leads``: the best of the undecided when the time was over."""


class Standing(Struct, kw_only=True):
    """How a candidate compares with the reference."""

    state: State = "open"
    ratio: Ratio = Ratio(nan, nan, nan, 0, nan)
    """Reference / candidate, with the corrected interval: above 1, the candidate takes less."""
    reason: str = ""
    """Reason why it failed, or is excluded by a limit."""


class Race:
    """The standings of candidates, by any key."""

    def __init__(self, names: Sequence[str], looks: Sequence[int] = LOOKS) -> None:
        self.standings = {name: Standing() for name in names}
        self._looks = list(looks)
        self.confidence = 1 - (1 - CONFIDENCE) / max(1, len(names) * len(looks))

    @property
    def open(self) -> list[str]:
        """The candidates that are not decided."""
        return [name for name, one in self.standings.items() if one.state == "open"]

    @property
    def winners(self) -> list[str]:
        """The candidates that are better than the reference, the largest gain first."""
        won = [name for name, one in self.standings.items() if one.state in ("won", "leads")]
        return sorted(won, key=lambda name: -self.standings[name].ratio.value)

    def over(self, blocks: int) -> bool:
        """Return whether nothing is left to decide, or to look at, after `blocks` blocks."""
        return not self.open or blocks >= self._looks[-1]

    def is_due(self, blocks: int) -> bool:
        """Return whether the race looks after `blocks` blocks."""
        return blocks in self._looks

    def look(self, logs: Mapping[str, Logs], over_limit: Mapping[str, str] | None = None) -> None:
        """Decide the open candidates that can be decided.

        `logs` has, by candidate, the logarithms of reference / candidate of each block; `over_limit`, by candidate,
        the limit that it may exceed: such a candidate cannot win.
        """
        for name in self.open:
            one = self.standings[name]
            if len(logs[name]) < 2:  # noqa: PLR2004 (fewer have no interval)
                continue
            one.ratio = paired(logs[name], self.confidence)
            if isfinite(one.ratio.high) and one.ratio.high < USEFUL:
                one.state = "lost"
            elif one.ratio.low > 1:
                limit = (over_limit or {}).get(name, "")
                one.state, one.reason = ("lost", f"may exceed {limit}") if limit else ("won", "")

    def take_leader(self, over_limit: Mapping[str, str]) -> None:
        """Let the best of the open candidates win, if its estimate is better: whoever asks for it confirms it."""
        able = [name for name in self.open if self.standings[name].ratio.value > USEFUL and not over_limit[name]]
        if able:
            self.standings[max(able, key=lambda name: self.standings[name].ratio.value)].state = "leads"

    def fail(self, name: str, reason: str) -> None:
        """Take out a candidate that failed."""
        self.standings[name].state, self.standings[name].reason = "failed", reason
