"""Verdicts: the decision, the noise floor, and their text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runoff.analysis.verdict import Verdict, decide, floor_of, read_verdict
from runoff.analysis.wording import against, tone, words
from runoff.statistics import Ratio

FASTER = Verdict("better", 4.6, 4.2, 5.1, unit="ns")


@pytest.mark.parametrize(
    ("bounds", "p", "floor", "unit", "text"),
    [
        ((12.41, 11.93, 12.88), 0.001, 0.021, "ns", "12.4x faster (11.9 to 12.9)"),
        ((0.77, 0.74, 0.8), 0.001, 0.021, "ns", "1.30x slower (1.25 to 1.35)"),
        ((1.01, 0.99, 1.03), 0.4, 0.021, "ns", "no difference (floor 2.1 %)"),
        ((1.01, 0.99, 1.03), 0.4, None, "ns", "no difference (no floor)"),
        ((0.979, 0.975, 0.983), 0.001, 0.0034, "ns", "2.1 % slower (1.7 to 2.6)"),
        ((0.979, 0.975, 0.983), 0.001, 0.022, "ns", "no difference (floor 2.2 %)"),
        ((0.979, 0.975, 0.983), 0.001, 0.021, "ns", "2.1 % slower (1.7 to 2.6)"),
        ((0.979, 0.975, 0.983), 0.06, 0.0034, "ns", "no difference (floor 0.34 %)"),
        ((0.223, 0.213, 0.233), 0.085, None, "ns", "no difference shown (ratio 0.21 to 0.23)"),
        ((1.5, 0.91, 2.49), 0.2, 0.02, "ns", "no difference shown (ratio 0.9 to 2.5)"),
        ((1.5, 0.91, 2.49), 0.2, 0.6, "ns", "no difference (floor 60 %)"),
        ((1.012, 1.002, 1.03), 0.04, None, "ns", "1.2 % faster (0.2 to 3.0)"),
        ((1.0121, 1.0003, 1.03), 0.04, 0.0, "ns", "1.21 % faster (0.03 to 3.00)"),
        ((1.0000005, 1.0000005, 1.0000005), 0, 0.0, "bytes", "0.0000500 % smaller (0.0000500 to 0.0000500)"),
        ((8.36, 8.3, 8.4), 0.001, 0.1, "bytes", "8.36x smaller (8.30 to 8.40)"),
        ((0.5, 0.4, 0.6), 0.001, 0.1, "count", "2.0x more (1.7 to 2.5)"),
        ((2.0, np.nan, np.nan), np.nan, None, "ns", "not comparable: 10 block gives no interval (2 are needed)"),
    ],
)
def test_verdicts_in_words(
    bounds: tuple[float, float, float], p: float, floor: float | None, unit: str, text: str
) -> None:
    assert words(decide(Ratio(*bounds, 10, p), p, floor, unit)) == text


def test_the_oldest_rows_have_no_p_value() -> None:
    line = {"target": "a", "baseline": "b", "unit": "ns", "reason": "", "ratio": 2.0, "ratio_low": 1.9}
    line |= {"ratio_high": 2.1, "p_adjusted": np.nan, "floor": np.nan, "verdict_kind": ""}
    assert words(read_verdict(line)) == "2.0x faster (1.9 to 2.1)"
    assert read_verdict(line | {"ratio_low": np.nan, "reason": "crashed"}).reason == "crashed"


@pytest.mark.parametrize(
    ("verdict", "text", "sentence", "shown"),
    [
        (FASTER, "4.6x faster (4.2 to 5.1)", "4.6x faster than torch (4.2 to 5.1)", "good"),
        (
            Verdict("no difference", floor=0.021),
            "no difference (floor 2.1 %)",
            "no difference from torch (floor 2.1 %)",
            "dim",
        ),
        (Verdict("baseline"), "baseline", "baseline than torch", "dim"),
        (
            Verdict("not comparable", reason="torch: no file"),
            "not comparable: torch: no file",
            "torch: not comparable: torch: no file",
            "dim",
        ),
        (
            Verdict("A/A", 1.003, 0.995, 1.011),
            "A/A +0.3 % (-0.5 to +1.1)",
            "A/A +0.3 % than torch (-0.5 to +1.1)",
            "dim",
        ),
        (Verdict(), "", " than torch", ""),
    ],
)
def test_a_verdict_has_a_text_a_sentence_and_a_colour(verdict: Verdict, text: str, sentence: str, shown: str) -> None:
    assert (words(verdict), against(verdict, "torch"), tone(verdict)) == (text, sentence, shown)


def test_the_noise_floor_is_half_the_a_a_interval_or_its_bias() -> None:
    assert floor_of(Ratio(1.0, 1 / 1.02, 1.02, 9, 0.5)) == pytest.approx(0.02)
    assert floor_of(Ratio(1.01, 1.01 / 1.02, 1.01 * 1.02, 9, 0.3)) == pytest.approx(0.02)
    assert floor_of(Ratio(1.05, 1.05 / 1.02, 1.05 * 1.02, 9, 0.01)) == pytest.approx(0.05)
    assert floor_of(Ratio(1 / 1.05, 1 / 1.07, 1 / 1.03, 9, 0.01)) == pytest.approx(0.05)
    assert floor_of(Ratio(1.0, np.nan, np.nan, 1, np.nan)) is None
    assert floor_of(None) is None


@given(st.floats(1.0001, 1e4), st.floats(1e-4, 1))
def test_a_bound_above_one_is_never_printed_as_one(low: float, width: float) -> None:
    text = words(Verdict("better", low * (1 + width / 2), low, low * (1 + width), unit="ns"))
    bound = float(text.split("(")[1].split(" ")[0])
    assert bound > (0 if "%" in text else 1)
