"""Progress output during a measurement."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import pytest
from orchestra import HEAD, info_of, job_of, record_of, suite_of
from rich.console import Console

from runoff.measure.progress import Bar, Estimate, duration_left
from runoff.measure.stopping import Sampling
from runoff.records.reason import Reason

JOBS = [job_of(name, probe) for probe in ("accuracy", "life") for name in ("a", "b")]
A, B = JOBS[0].cases[0].id, JOBS[1].cases[0].id


def sampling() -> Sampling:
    """Return a rule without a time limit."""
    return Sampling(suite_of(HEAD), info_of(), Path(), lambda _run, _probe: None)


def test_no_estimate_before_anything_was_measured() -> None:
    assert Estimate(JOBS).seconds_left() is None


def test_an_estimate_knows_others_in_the_probe_or_else_the_case_or_else_the_average() -> None:
    estimate = Estimate(JOBS)
    estimate.passed(A, "accuracy", 2.0)
    assert estimate.seconds_left() == pytest.approx(2.0 + 2.0 + 2.0)
    estimate.passed(B, "accuracy", 6.0)
    assert estimate.seconds_left() == pytest.approx(2.0 + 6.0)
    estimate.passed(A, "life", 100.0)
    assert estimate.seconds_left() == pytest.approx(100.0)
    estimate.passed(B, "life", 1.0)
    assert estimate.seconds_left() == 0


def test_the_same_probe_of_the_case_is_known_best() -> None:
    estimate = Estimate([job_of("a", "accuracy"), *(job_of("a", "life", block) for block in range(3))])
    estimate.passed(A, "accuracy", 10.0)
    estimate.passed(A, "life", 1.0)
    assert estimate.seconds_left() == pytest.approx(2.0)


def test_a_failed_case_is_excluded() -> None:
    estimate = Estimate(JOBS)
    estimate.passed(A, "accuracy", 2.0)
    estimate.dropped(A)
    assert estimate.seconds_left() == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (-5.0, "out of time, finishing the block"),
        (0.4, "about 0 s left"),
        (119, "about 119 s left"),
        (120, "about 2 min left"),
        (3600, "about 60 min left"),
    ],
)
def test_the_text_of_an_estimate(seconds: float | None, words: str) -> None:
    assert duration_left(seconds) == words


@pytest.mark.parametrize("message", ["it went [/] wrong", "[/usr/lib/x.so] is missing", "[red] herring"])
def test_a_failure_quotes_the_runner(message: str) -> None:
    text = io.StringIO()
    with Bar(JOBS, sampling(), Console(file=text, width=300)) as bar:
        bar.starting(JOBS[0])
        bar.finished(JOBS[0], [record_of(A, "accuracy", status="error", reason=Reason("crashed", message))])
        bar.starting(JOBS[1])
        bar.finished(JOBS[1], [record_of(B, "accuracy")])
    assert f"error {A}, accuracy: {message}" in text.getvalue()
    assert f"error {B}" not in text.getvalue()


class Pipe(io.StringIO):
    """Output that records the time of each write, by a clock that the test moves."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.times: list[float] = []

    def write(self, text: str) -> int:
        """Record a line."""
        self.times += [self.now] if text.strip() else []
        return super().write(text)


@pytest.mark.parametrize("job_s", [1.0, 7.0, 22.0])
def test_without_a_terminal_a_line_is_printed_every_half_minute(job_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, jobs = Pipe(), [job_of(name, "life", block) for block in range(60) for name in ("a", "b")]
    monkeypatch.setattr("time.monotonic", lambda: pipe.now)
    with Bar(jobs, sampling(), Console(file=pipe, width=80)) as bar:
        for job in jobs:
            bar.starting(job)
            before = len(pipe.times)
            pipe.now += job_s
            bar.finished(job, [record_of(job.cases[0].id)])
            assert len(pipe.times) == before, "nothing is printed when a job ends well"
    gaps = [later - earlier for earlier, later in pairwise([1000.0, *pipe.times])]
    assert max(gaps) <= 30
    assert min(gaps[1:]) > 30 - 2 * job_s, "not more often than needed"
    first, second, *_ = pipe.getvalue().splitlines()
    assert first == "0 of 120 done, now: life 1  net classify default a"
    assert "of 120 done, about " in second
    assert "left, now: life " in second


def test_on_a_terminal_there_are_no_lines() -> None:
    text = io.StringIO()
    with Bar(JOBS, sampling(), Console(file=text, force_terminal=True)) as bar:
        bar.starting(JOBS[0])
    assert "done" not in text.getvalue()
