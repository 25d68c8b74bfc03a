"""Numbers and names in readable form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runoff.report.text import Figure, full, interval, number, plural


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (Figure(41_234_567.0, 40_112_000.0, 43_001_000.0, "ns", 10), "41 ms (40 to 43)"),
        (Figure(41_234_567.0, 41_101_000.0, 41_399_000.0, "ns", 10), "41.2 ms (41.1 to 41.4)"),
        (Figure(5_900_000.0, 5_850_000.0, 5_950_000.0, "ns", 10), "5.90 ms (5.85 to 5.95)"),
        (Figure(14_500.0, 14_000.0, 15_000.0, "ns", 10), "14.5 µs (14.0 to 15.0)"),
        (Figure(12_300_000_000.0, None, None, "ns", 1), "12.3 s"),
        (Figure(853e6, 852e6, 855e6, "bytes", 10), "853 MB (852 to 855)"),
        (Figure(5000.0, 4990.0, 5020.0, "count", 10), "5,000 (4,990 to 5,020)"),
        (Figure(0.98, None, None, "CPUs", 1), "0.980 CPUs"),
        (Figure(0.0, None, None, "ns", 1), "0 µs"),
        (Figure(-0.25, None, None, "ratio", 4), "-0.250"),
        (Figure(-2_500_000.0, -2_600_000.0, -2_400_000.0, "ns", 4), "-2.5 ms (-2.6 to -2.4)"),
        (Figure(), ""),
    ],
)
def test_numbers_have_human_units_and_supported_digits(figure: Figure, text: str) -> None:
    assert full(figure) == text


@given(st.floats(1.0, 1e13), st.floats(0.0, 0.5))
def test_printed_intervals_are_in_the_unit_of_their_number(value: float, width: float) -> None:
    figure = Figure(value, value * (1 - width), value * (1 + width), "ns", 9)
    low, high = (float(word.replace(",", "")) for word in interval(figure).split(" to "))
    printed_value = float(number(figure).split(" ")[0].replace(",", ""))
    assert low <= printed_value <= high


def test_plurals() -> None:
    assert [plural(1, "thread"), plural(2, "thread"), plural(2, "process")] == ["1 thread", "2 threads", "2 processes"]
