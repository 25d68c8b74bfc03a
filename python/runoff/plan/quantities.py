"""Percentages and durations in text."""

from __future__ import annotations

import re

from runoff.records.errors import RunoffError

_PERCENT_HINT = "write it as 2% or 0.5%; for the precision of a model: --precisions fp32,int8"
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def parse_percent(text: str | None) -> float | None:
    """Return ``2%`` as 0.02; None stays None.

    Raises
    ------
    RunoffError
        If it is not a percentage between 0 and 100.
    """
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", text)
    if not match or not 0 < float(match[1]) < 100:  # noqa: PLR2004 (per cent)
        raise RunoffError(f"precision {text!r} is not a percentage", _PERCENT_HINT)
    return float(match[1]) / 100


def parse_duration(text: str | None) -> float | None:
    """Return ``90s``, ``10m`` or ``1h`` in seconds; None stays None.

    Raises
    ------
    RunoffError
        If it is not a duration above zero.
    """
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh])\s*", text)
    if not match or not float(match[1]):
        raise RunoffError(f"time {text!r} is not a duration", "write it as 90s, 10m or 1h")
    return float(match[1]) * _SECONDS[match[2]]
