"""Limits on the ratio of two targets."""

from __future__ import annotations

import pytest
from compared import EQUAL, gate, turns_run, with_record
from msgspec.structs import replace

from runoff.records.errors import RunoffError
from runoff.records.reason import Reason


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("latency.median of slow / fast < 1.9", "passed"),
        ("latency.median of slow / fast < 2.1", "exceeded"),
        ("latency.median of fast / slow > 0.6", "passed"),
        ("latency.median of fast / slow > 0.4", "exceeded"),
    ],
)
def test_a_ratio_of_two_targets_is_checked_with_any_baseline(text: str, outcome: str) -> None:
    run = turns_run({"main": 5.0, "slow": 20.0, "fast": 10.0})
    (check,) = gate(run, text).checks
    assert (check.outcome, check.limit, check.change, check.note) == (outcome, text, "", "")
    value, _, interval = check.measured.partition(" (")
    low, high = map(float, interval.rstrip(")").split(" to "))
    expected = 2.0 if "slow / fast" in text else 0.5
    assert low <= expected <= high
    assert float(value) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(("limit", "outcome"), [("1.0001", "exceeded"), ("1.002", "passed")])
def test_the_estimate_of_a_ratio_decides_and_an_interval_that_includes_the_limit_is_reported(
    limit: str, outcome: str
) -> None:
    (check,) = gate(turns_run(EQUAL), f"latency.median of change / main > {limit}").checks
    assert check.outcome == outcome
    assert "the interval" in check.note


def test_a_ratio_without_an_interval_or_with_a_failed_target_fails() -> None:
    run = turns_run(EQUAL)
    one_block = replace(run, records=tuple(record for record in run.records if record.block == 0))
    (check,) = gate(one_block, "latency.median of change / main > 2").checks
    assert (check.outcome, "no interval" in check.note) == ("failed", True)
    last = next(record for record in run.records if ".main." in record.case)
    failed = with_record(run, replace(last, status="error", reason=Reason("crashed", "it crashed"), result=None))
    (check,) = gate(failed, "latency.median of change / main > 2").checks
    assert (check.outcome, "it crashed" in check.note) == ("failed", True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("latency.median of change / mian > 1", "covers no case"),
        ("process.wall of change / main > 1", "covers no case"),
        ("latency.median of change / main > 1ms", "has no unit"),
        ("latency.median of change > 1", "is not valid"),
    ],
)
def test_a_ratio_that_cannot_be_checked_is_refused(text: str, words: str) -> None:
    with pytest.raises(RunoffError, match=words):
        gate(turns_run(EQUAL), text)
