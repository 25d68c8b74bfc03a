"""The steady state is detected from times."""

from __future__ import annotations

import numpy as np
import pytest

from runoff.measure.warmup import WINDOW, WINDOWS, is_steady

ENOUGH = WINDOW * WINDOWS


def steady_after(curve: list[float]) -> int | None:
    """Return the number of inferences before the steady state."""
    return next((count for count in range(len(curve)) if is_steady(curve[:count])), None)


def test_too_few_are_not_steady() -> None:
    assert not is_steady([1.0] * (ENOUGH - 1))
    assert is_steady([1.0] * ENOUGH)


@pytest.mark.parametrize("spread", [0.0, 0.01, 0.05, 0.3])
def test_a_level_curve_is_steady_at_any_noise(spread: float) -> None:
    rng = np.random.default_rng(1)
    found = [steady_after(list(10 * rng.lognormal(0, spread, 200))) for _ in range(50)]
    assert sum(count is not None and count <= 4 * ENOUGH for count in found) >= 48


@pytest.mark.parametrize("length", [30, 60])
def test_a_curve_that_falls_is_not_steady_before_it_is_level(length: int) -> None:
    rng = np.random.default_rng(2)
    curve = 10 * (1 + 2 * np.exp(-np.arange(300) / (length / 4))) * rng.lognormal(0, 0.01, 300)
    found = steady_after(list(curve))
    assert found is not None
    assert curve[found - WINDOW : found].mean() < 10.8


def test_a_curve_that_keeps_falling_is_never_steady() -> None:
    assert steady_after([100 * 0.98**count for count in range(300)]) is None
