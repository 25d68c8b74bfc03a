"""Limits of a tuning: bounds on objectives, as text such as ``memory < 200MB``."""

from __future__ import annotations

import re

from msgspec import Struct

from runoff.adaptive.objective import OBJECTIVES, Objective
from runoff.compare.limits import UNITS
from runoff.records.errors import RunoffError, did_you_mean

_NUMBER = r"\d+\.?\d*(?:[eE][+-]?\d+)?"
_LIMIT = re.compile(rf"\s*(?P<name>\w+)\s*(?P<sign>[<>])\s*(?P<value>{_NUMBER})\s*(?P<unit>/s|[A-Za-zµ]*)\s*")
_GRAMMAR = "write it as 'memory < 200MB', 'cold < 80ms', 'latency < 5ms' or 'throughput > 100/s'"


class Limit(Struct, frozen=True, kw_only=True):
    """A bound that a candidate must keep to."""

    text: str
    objective: Objective
    most: float
    """In the objective's unit."""


def parse_limit(text: str) -> Limit:
    """Return the limit in a text such as ``memory < 200MB``.

    Raises
    ------
    RunoffError
        If it is not a limit; the message contains it.
    """
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise RunoffError(f"--limit {text!r} is not valid", _GRAMMAR)
    name, value = match["name"], float(match["value"])
    if name not in OBJECTIVES:
        raise RunoffError(f"--limit {text!r}: unknown objective {name!r}", did_you_mean(name, OBJECTIVES))
    objective, rate = OBJECTIVES[name], name == "throughput"
    if match["sign"] != (">" if rate else "<"):
        raise RunoffError(f"--limit {text!r}: {name} is bounded from {'below' if rate else 'above'}", _GRAMMAR)
    if rate:
        unit, most = ("ns" if match["unit"] == "/s" else ""), 1e9 / value if value else 0.0
    else:
        unit, factor = UNITS.get(match["unit"], ("", 0.0))
        most = value * factor
    if unit != objective.unit or not most:
        raise RunoffError(f"--limit {text!r}: unit {match['unit']!r} does not fit {name}", _GRAMMAR)
    return Limit(text=" ".join(text.split()), objective=objective, most=most)
