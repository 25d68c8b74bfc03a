"""Numbers and names formatted for readers."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from runoff.analysis.wording import decimals

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from runoff.statistics import Estimate

_SCALES = {
    "ns": ((1e10, 1e9, "s"), (1e5, 1e6, "ms"), (0.0, 1e3, "µs")),
    "bytes": ((0.0, 1e6, "MB"),),
    "J": ((1.0, 1.0, "J"), (1e-3, 1e-3, "mJ"), (0.0, 1e-6, "µJ")),
    "W": ((1.0, 1.0, "W"), (0.0, 1e-3, "mW")),
}
"""By unit: smallest value, divisor and name of each display unit."""
REQUEST = "request"
"""The unit of a time per request in nanoseconds, which is shown as a rate."""


class Figure(Struct, frozen=True):
    """An estimate with its interval, in the unit of ``summary.csv``; None if there is none."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    n: int = 0


def number(figure: Figure) -> str:
    """Return the estimate in a human unit, with the digits that its interval supports; empty for none."""
    if figure.value is None:
        return ""
    if figure.unit == REQUEST:
        return number(_rate(figure))
    divisor, name, places = scale(figure)
    return f"{figure.value / divisor:,.{places}f} {name}".rstrip()


def interval(figure: Figure) -> str:
    """Return the interval in the unit of `number`, such as ``40.1 to 43.0``; empty for none."""
    if figure.low is None or figure.high is None:
        return ""
    if figure.unit == REQUEST:
        return interval(_rate(figure))
    divisor, _, places = scale(figure)
    return f"{figure.low / divisor:,.{places}f} to {figure.high / divisor:,.{places}f}"


def full(figure: Figure) -> str:
    """Return the estimate and, in brackets, its interval."""
    between = interval(figure)
    return f"{number(figure)} ({between})" if between else number(figure)


def _rate(figure: Figure) -> Figure:
    """Return a time per request in nanoseconds as requests per second."""
    value, high, low = (1e9 / time if time else None for time in (figure.value, figure.low, figure.high))
    return Figure(value, low, high, "per second", figure.n)


def figure_of(line: Mapping[Any, Any]) -> Figure:
    """Return the estimate in a row of ``summary.csv``, as columns by name."""
    value, low, high = (finite(line[column]) for column in ("estimate", "low", "high"))
    return Figure(value, low, high, str(line["unit"]), int(line["n"]))


def estimated(estimate: Estimate, unit: str) -> Figure:
    """Return an estimate in `unit` for readers."""
    return Figure(finite(estimate.value), finite(estimate.low), finite(estimate.high), unit, estimate.n)


def figure_or_reason(line: Mapping[Any, Any] | None) -> str:
    """Return the estimate in a row of ``summary.csv`` with its interval, or else the reason; empty for no row."""
    if line is None:
        return ""
    return full(figure_of(line)) or str(line["reason"])


def finite(value: object) -> float | None:
    """Return `value` as a float, or None if it is missing or not a number."""
    return float(value) if isinstance(value, int | float) and isfinite(value) else None


def scale(figure: Figure) -> tuple[float, str, int]:
    """Return the divisor, the unit's name and the decimals to print."""
    value = figure.value or 0.0
    steps = _SCALES.get(figure.unit, ((0.0, 1.0, "" if figure.unit in {"count", "ratio"} else figure.unit),))
    _, divisor, name = next(step for step in steps if abs(value) >= step[0])
    if figure.low is not None and figure.high is not None and figure.high > figure.low:
        return divisor, name, decimals(value / divisor, figure.low / divisor, figure.high / divisor)
    return divisor, name, min(decimals(value / divisor, 0, 0), 9)


def plural(count: int, word: str) -> str:
    """Return the count with its word, such as ``1 thread`` or ``2 threads``."""
    return f"{count} {word}" + ("" if count == 1 else "es" if word.endswith("s") else "s")


def few(names: Collection[str], word: str, most: int) -> str:
    """Return names as text; of more than `most`, their number with `word`."""
    return ", ".join(names) if len(names) <= most else plural(len(names), word)
