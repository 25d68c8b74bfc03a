"""How often intervals hold the truth: a quick version of ``python -m runoff.analysis.coverage``."""

from __future__ import annotations

import numpy as np
import pytest

from runoff.analysis.coverage import simulate
from runoff.analysis.coverage.__main__ import main
from runoff.analysis.coverage.rules import RULES, bootstrap_t, expanded, student, wilcoxon

RUNS = 600
SLACK = 0.025
"""Three standard errors of a share of 0.95 in so many runs, and a little."""
RATIOS = sorted({*simulate.NOISES, simulate.DRIFTING} - {"bimodal processes", "disturbed processes"})


@pytest.mark.parametrize("units", [3, 6, 12, 30])
@pytest.mark.parametrize("noise", RATIOS)
def test_intervals_of_ratios_hold_the_truth_as_often_as_they_say(noise: str, units: int) -> None:
    tally = simulate.ratios(noise, units, 20, 0.01, runs=RUNS)
    assert 0.93 - SLACK <= tally.held <= 0.97 + SLACK
    assert tally.found == pytest.approx(1 - tally.held)


@pytest.mark.parametrize("noise", ["bimodal processes", "disturbed processes"])
def test_intervals_are_rather_too_wide_when_processes_have_modes(noise: str) -> None:
    assert simulate.ratios(noise, 12, 20, 0.01, runs=RUNS).held >= 0.93


@pytest.mark.parametrize("units", [3, 12])
@pytest.mark.parametrize("noise", ["normal", "skewed", "bimodal iterations", "heavy tails"])
def test_intervals_of_medians_hold_the_true_median(noise: str, units: int) -> None:
    assert 0.93 - SLACK <= simulate.estimates(noise, units, 20, 0.01, runs=RUNS).held <= 0.97 + SLACK


@pytest.mark.parametrize("noise", ["normal", "skewed", "bimodal iterations"])
def test_intervals_of_means_hold_the_true_mean(noise: str) -> None:
    assert 0.93 - SLACK <= simulate.means(noise, 8, 50, 0.01, runs=RUNS).held <= 0.97 + SLACK


@pytest.mark.parametrize("units", [3, 12])
def test_intervals_of_what_was_not_taken_together_hold_the_truth(units: int) -> None:
    assert 0.93 - SLACK <= simulate.apart("skewed", units, 20, 0.01, runs=RUNS).held <= 0.97 + SLACK


@pytest.mark.parametrize(("noise", "least"), [("normal", 1), (simulate.DRIFTING, 1), ("disturbed processes", 0.85)])
def test_a_planted_percent_is_found_by_thirty_units(noise: str, least: float) -> None:
    assert simulate.ratios(noise, 30, 200, 0.005, runs=200, planted=0.01).found >= least


@pytest.mark.parametrize("between", [0.0, 0.01])
def test_bounds_of_percentiles_hold(between: float) -> None:
    low, high, withheld = simulate.quantiles(0.9, 20, 100, between, runs=RUNS)
    assert min(low, high) >= 0.98
    assert withheld < 0.1


def test_rules_that_were_not_taken_fail_where_the_page_says() -> None:
    few = {name: simulate.rule(name, "normal", 3, 10, 0.01, runs=300).held for name in RULES}
    assert few["trimmed mean, Student (taken)"] > 0.9
    assert few["Hodges-Lehmann, signed ranks"] < 0.85
    assert few["bootstrap of units, expanded percentiles"] < 0.85
    wide = simulate.rule("mean, Student", "disturbed processes", 12, 10, 0.01, runs=100)
    assert (
        wide.half_width
        > 3 * simulate.rule("trimmed mean, Student (taken)", "disturbed processes", 12, 10, 0.01, runs=100).half_width
    )


def test_rules_agree_on_many_calm_units() -> None:
    logs = np.random.default_rng(1).normal(0.1, 0.01, (200, 1))
    reference = student(logs)
    for rule in (wilcoxon, expanded, bootstrap_t, RULES["trimmed mean, Student (taken)"]):
        assert rule(logs) == pytest.approx(reference, abs=1.5e-3)


def test_program_prints_every_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runoff.analysis.coverage.__main__.UNITS", (2, 6))
    monkeypatch.setattr("runoff.analysis.coverage.__main__.BETWEEN", (0.01,))
    main(8)
    text = capsys.readouterr().out
    assert text.count("\n## ") == 7
    for name in [*simulate.NOISES, *RULES]:
        assert f"| {name} |" in text
