"""Detection of the steady state of a live process, from its times instead of a count."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WINDOW = 5
"""Inferences in a window; their median is one point of the curve."""
WINDOWS = 3
"""Successive windows that must agree."""
LEVEL = 0.02
"""Share by which windows may differ on a machine without noise."""


def is_steady(durations: Sequence[float]) -> bool:
    """Return whether the last `durations` are level: their windows differ by no more than `LEVEL` or their noise.

    Noise is the median distance of the inferences from the median of their window; the median of a window of five
    is worth about two of these. A curve that still falls faster than it scatters is not steady.
    """
    if len(durations) < WINDOW * WINDOWS:
        return False
    last = durations[-WINDOW * WINDOWS :]
    windows = [last[begin : begin + WINDOW] for begin in range(0, len(last), WINDOW)]
    points = [median(window) for window in windows]
    noise = median(abs(value - point) for window, point in zip(windows, points, strict=True) for value in window)
    return max(points) - min(points) <= max(LEVEL * min(points), 2 * noise)
