"""What an explanation counts: time, or memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from runoff.statistics import Shift

Field = Literal["ns", "bytes"]
"""The unit of values, at the end of names in JSON."""


class Unit(NamedTuple):
    """A unit of print, 10^6 of the values', and the words of a comparison."""

    field: Field
    name: str
    digits: int
    """Decimals of a difference."""
    more: str
    less: str

    def amount(self, value: float | None) -> str:
        """Return a value: ``1.1 ms``."""
        return "" if value is None else f"{value / 1e6:.3g} {self.name}"

    def size(self, difference: Shift) -> str:
        """Return the size of a difference, whatever its sign: ``1.1 ms (0.9 to 1.3)``."""
        low, high = sorted(abs(bound) / 1e6 for bound in difference.bounds)
        return f"{self.amount(abs(difference.value))} ({low:.3g} to {high:.3g})"

    def range(self, difference: Shift) -> str:
        """Return a difference: ``+1.125 (+0.901 to +1.302)``."""
        value, low, high = (f"{one / 1e6:+.{self.digits}f}" for one in (difference.value, *difference.bounds))
        return f"{value} ({low} to {high})"


UNITS: dict[Field, Unit] = {
    "ns": Unit("ns", "ms", 3, "is {} slower than {}", "is {} faster than {}"),
    "bytes": Unit("bytes", "MB", 1, "needs {} more memory than {}", "needs {} less memory than {}"),
}
TIME, MEMORY = UNITS["ns"], UNITS["bytes"]
