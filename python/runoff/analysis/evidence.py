"""Evidence in the times of a case: their spread, their trend, and whether they were warmed up.

pyperf warns when the standard deviation is 10% of the mean (``pyperf check``). Trends are Kendall's tau with the
Theil-Sen slope, which a few outliers do not move (Hollander and Wolfe, *Nonparametric Statistical Methods*, 8.1, 9.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from msgspec import Struct
from scipy import stats

from runoff.analysis.wording import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from runoff.records.schema import Record

StabilityVerdict = Literal["stable", "noisy", "drifting", "throttled", "not warmed up", "unknown"]

NOISY_SD = 0.10
"""Standard deviation as a part of the mean; pyperf's threshold."""
TREND_P = 0.01
"""Stricter than 5%, because each case is tested for several trends."""
TREND = 0.05
"""Change from first to last that matters: beyond what a paired comparison leaves of it, and above the usual noise."""
FEWEST_BLOCKS = 6
"""With five, even a perfect order has a p-value of 2/5! = 0.017, above `TREND_P`."""
PARTS = 10
"""Equal stretches of a process's warm inferences; each is one point of its trend."""
FEWEST_IN_PART = 5
"""Inferences per point, their median, as in the warm-up of `runoff.measure.warmup`."""


class Evidence(Struct, frozen=True):
    """A sentence with its number, and the verdict that it supports, if any."""

    text: str
    holds: StabilityVerdict | None = None
    judges: bool = False
    """Whether it could have shown that the times are unsteady: without any such sign there is no verdict."""


@dataclass(frozen=True)
class ProcessTimes:
    """The times of one case in one probe, processes in the order in which they were started."""

    what: str
    processes: tuple[NDArray[np.float64], ...]
    """Times of each process in ns, shape ``(samples,)``, without warm-up."""
    blocks: tuple[int, ...]
    """The block of each process."""


def spread(series: ProcessTimes) -> list[Evidence]:
    """Return the spread within processes and the one between their medians."""
    within = [x.std(ddof=1) / x.mean() for x in series.processes if len(x) >= FEWEST_IN_PART and x.mean() > 0]
    medians = np.array([np.median(x) for x in series.processes])
    signs = []
    if within:
        signs.append(_spread_sign(series.what, float(np.median(within)), "within a process"))
    if len(medians) > 2 and medians.mean() > 0:  # noqa: PLR2004 (two points have no spread to speak of)
        share = float(medians.std(ddof=1) / medians.mean())
        signs.append(_spread_sign(series.what, share, f"between {len(medians)} processes"))
    return signs or [Evidence(f"{series.what}: too few times for a spread")]


def _spread_sign(what: str, share: float, where: str) -> Evidence:
    text = f"{what}: standard deviation {percent(share)} of the mean {where}"
    return Evidence(text, "noisy" if share > NOISY_SD else None, judges=True)


def trends(series: ProcessTimes) -> list[Evidence]:
    """Return the trend from block to block, and the one within the life of a process."""
    by_block: dict[int, list[float]] = {}
    for block, times in zip(series.blocks, series.processes, strict=True):
        by_block.setdefault(block, []).append(float(np.median(times)))
    levels = np.array([np.median(values) for values in by_block.values()])
    if len(levels) < FEWEST_BLOCKS:
        signs = [Evidence(f"{series.what}: trend not tested: {len(levels)} blocks, at least {FEWEST_BLOCKS} needed")]
    else:
        signs = [_trend(series.what, levels, "from the first block to the last")]
    parts = _parts(series)
    if len(parts):
        signs.append(_trend(series.what, np.median(parts, axis=0), "from the first tenth of a process to the last"))
    return signs


def _trend(what: str, levels: NDArray[np.float64], where: str) -> Evidence:
    steps = np.arange(len(levels))
    p = float(stats.kendalltau(steps, levels).pvalue)
    slope, start, _, _ = stats.theilslopes(levels, steps)
    change = float(slope * steps[-1] / start) if start > 0 else 0.0
    # equal times have no order: the p-value is not a number
    if not np.isfinite(p) or abs(change) < TREND or p > TREND_P:
        return Evidence(f"{what}: no trend {where}")
    verb = "grew" if change > 0 else "fell"
    return Evidence(f"{what}: {verb} by {percent(abs(change))} {where} (p {p:.2g})", "drifting")


def _parts(series: ProcessTimes) -> NDArray[np.float64]:
    """Return the median of each tenth of each process over the process's own median, shape ``(processes, PARTS)``."""
    long = [x for x in series.processes if len(x) >= PARTS * FEWEST_IN_PART and np.median(x) > 0]
    return np.array([[np.median(part) / np.median(x) for part in np.array_split(x, PARTS)] for x in long])


def warming(series: ProcessTimes) -> Evidence:
    """Return whether the first tenth of the warm inferences took longer than the last half.

    For processes without an observed warm-up. Mann and Whitney's test, one-sided, on times over their process's median.
    """
    long = [x / np.median(x) for x in series.processes if len(x) >= PARTS * FEWEST_IN_PART and np.median(x) > 0]
    if not long:
        return Evidence(
            f"{series.what}: warm-up not tested: at least {PARTS * FEWEST_IN_PART} samples per process needed"
        )
    first = np.concatenate([np.array_split(x, PARTS)[0] for x in long])
    rest = np.concatenate([np.array_split(x, 2)[1] for x in long])
    excess = float(np.median(first) / np.median(rest) - 1)
    p = float(stats.mannwhitneyu(first, rest, alternative="greater").pvalue)
    if excess < TREND or p > TREND_P:
        return Evidence(f"{series.what}: the first tenth is as fast as the rest", judges=True)
    return Evidence(
        f"{series.what}: the first tenth took {percent(excess)} longer than the last half (p {p:.2g})",
        "not warmed up",
        judges=True,
    )


def turns(records: Sequence[Record], *, still_warming: bool) -> list[Evidence]:
    """Return the outcome of the warm-up of a case's live processes, and their CPU time while waiting.

    Parameters
    ----------
    records
        Records of the probe ``latency``.
    still_warming
        Whether the times of processes that were not steady still fell, or are too few to tell. Times that are neither
        steady nor falling are noisy.
    """
    turned = [record.turned for record in records if record.turned is not None]
    if not turned:
        return []
    restless = sum(not live.steady for live in turned)
    lengths = sorted(live.warmup for live in turned)
    between = f"{lengths[0]} to {lengths[-1]}" if lengths[0] < lengths[-1] else f"{lengths[0]}"
    signs = [Evidence(f"warm inference: times were steady after {between} inferences of warm-up")]
    if restless:
        text = (
            f"warm inference: {restless} of {len(turned)} processes were not steady at the end of the time for warm-up"
        )
        signs = [Evidence(text, "not warmed up" if still_warming else "noisy")]
    waiting = [live.waiting_share for live in turned if live.waiting_share is not None]
    if not waiting:
        return [*signs, Evidence("CPU time while waiting: not reported by this system")]
    share = float(np.mean(waiting))
    text = f"CPU time while waiting: {percent(share)} of a core"
    return [*signs, Evidence(text, "noisy" if share > NOISY_SD else None)]
