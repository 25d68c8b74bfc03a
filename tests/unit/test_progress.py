"""What a person sees while the measuring goes on."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from orchestra import HEAD, info_of, job_of, record_of, suite_of
from rich.console import Console

from runoff.measure.progress import Bar, Estimate, duration_left
from runoff.measure.stopping import Sampling
from runoff.records.reason import Reason

JOBS = [job_of(name, probe) for probe in ("accuracy", "life") for name in ("a", "b")]
A, B = JOBS[0].cases[0].id, JOBS[1].cases[0].id


def test_no_estimate_before_anything_was_measured() -> None:
    assert Estimate(JOBS).seconds_left() is None


def test_an_estimate_knows_the_case_in_another_probe_or_else_the_average() -> None:
    estimate = Estimate(JOBS)
    estimate.passed(A, "accuracy", 2.0)
    assert estimate.seconds_left() == pytest.approx(2.0 + 2.0 + 2.0)
    estimate.passed(B, "accuracy", 6.0)
    assert estimate.seconds_left() == pytest.approx(2.0 + 6.0)
    estimate.passed(A, "life", 1.0)
    estimate.passed(B, "life", 1.0)
    assert estimate.seconds_left() == 0


def test_the_same_probe_of_the_case_is_known_best() -> None:
    estimate = Estimate([job_of("a", "accuracy"), *(job_of("a", "life", block) for block in range(3))])
    estimate.passed(A, "accuracy", 10.0)
    estimate.passed(A, "life", 1.0)
    assert estimate.seconds_left() == pytest.approx(2.0)


def test_a_case_that_failed_is_left_out() -> None:
    estimate = Estimate(JOBS)
    estimate.passed(A, "accuracy", 2.0)
    estimate.dropped(A)
    assert estimate.seconds_left() == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (0.4, "about 0 s left"),
        (119, "about 119 s left"),
        (120, "about 2 min left"),
        (3600, "about 60 min left"),
    ],
)
def test_the_words_for_it(seconds: float | None, words: str) -> None:
    assert duration_left(seconds) == words


@pytest.mark.parametrize("message", ["it went [/] wrong", "[/usr/lib/x.so] is missing", "[red] herring"])
def test_a_failure_is_told_in_the_words_of_the_runner(message: str) -> None:
    text = io.StringIO()
    with Bar(
        JOBS, Sampling(suite_of(HEAD), info_of(), Path(), lambda _run, _probe: None), Console(file=text, width=300)
    ) as bar:
        bar.starting(JOBS[0])
        bar.finished(JOBS[0], [record_of(A, "accuracy", status="error", reason=Reason("crashed", message))])
        bar.starting(JOBS[1])
        bar.finished(JOBS[1], [record_of(B, "accuracy")])
    assert f"error {A}, accuracy: {message}" in text.getvalue()
    assert B not in text.getvalue()
