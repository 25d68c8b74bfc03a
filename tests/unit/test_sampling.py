"""The stopping rule: blocks, precision or time. Clock and intervals are fakes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestra import HEAD, case_of, info_of, record_of, suite_of

import runoff.measure.stopping
from runoff.measure.stopping import FEWEST, Sampling
from runoff.plan.quantities import parse_duration, parse_percent
from runoff.records.errors import RunoffError
from runoff.records.reason import Reason
from runoff.records.schema import Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from runoff.records.schema import Case, Record

PROBES = ("life", "latency", "memory")


class Clock:
    """A clock that the test advances."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Return the time in seconds."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(runoff.measure.stopping, "time", made)
    return made


Interval = tuple[float, str] | None


SUITE = suite_of(f"{HEAD}[measure.blocks]\nlife = 4\nmemory = 3\n")


def sampling_of(
    precision: float | None = None,
    time_s: float | None = None,
    widest: Callable[[], Interval] = lambda: None,
    cases: Sequence[Case] = (case_of("a", PROBES),),
    stops: Mapping[str, Stop] | None = None,
    before: Sequence[Record] = (),
) -> Sampling:
    info = info_of(*cases)
    info.precision, info.time_s, info.stops = precision, time_s, dict(stops or {})
    return Sampling(SUITE, info, Path(), lambda _run, _probe: widest(), before)


def blocks_of(sampling: Sampling, probe: str, clock: Clock, block_s: float) -> int:
    """Run a pass whose blocks take `block_s` seconds; return the number of blocks."""
    sampling.begin(probe)
    blocks = 0
    while sampling.needs_block(probe, blocks, [record_of(probe=probe)]):
        clock.now += block_s
        blocks += 1
    return blocks


def test_the_suite_sets_the_number_of_blocks(clock: Clock) -> None:
    sampling = sampling_of()
    assert blocks_of(sampling, "life", clock, 1000) == 4
    assert sampling.end("life", 4, []).cause == "blocks"
    assert sampling.min_blocks("life") == 4


def test_the_time_is_shared_by_the_probes_that_are_sampled(clock: Clock) -> None:
    sampling = sampling_of(time_s=100.0)
    assert blocks_of(sampling, "life", clock, 1) == 50
    assert sampling.end("life", 50, []).cause == "time"
    assert blocks_of(sampling, "latency", clock, 1) == 50
    sampling.end("latency", 50, [])
    assert blocks_of(sampling, "memory", clock, 1) == 3


def test_unused_time_of_a_probe_goes_to_the_next(clock: Clock) -> None:
    widths = {"life": 0.01}
    sampling = sampling_of(precision=0.02, time_s=100.0, widest=lambda: (widths["life"], "net.classify.a"))
    assert blocks_of(sampling, "life", clock, 1) == FEWEST
    stop = sampling.end("life", FEWEST, [record_of()])
    assert (stop.cause, stop.widest, stop.widest_case) == ("precision", 0.01, "net.classify.a")
    widths["life"] = 0.03
    assert blocks_of(sampling, "latency", clock, 1) == 100 - FEWEST


def test_two_blocks_are_measured_however_short_the_time(clock: Clock) -> None:
    assert blocks_of(sampling_of(time_s=1.0), "life", clock, 1000) == 2


def test_probes_of_skipped_cases_only_get_no_time(clock: Clock) -> None:
    cases = [case_of("a", ("latency",)), case_of("b", PROBES, skipped=Reason("format", "it cannot"))]
    assert blocks_of(sampling_of(time_s=100.0, cases=cases), "latency", clock, 1) == 100


def test_a_resumed_run_has_the_time_that_is_left(clock: Clock) -> None:
    side_by_side = [(0, 20), (1, 19), (5, 25), (30, 35)]
    before = [
        record_of(probe=probe, block=block, spawn_ns=began * 10**9, exit_ns=end * 10**9)
        for probe in ("life", "latency", "memory")
        for block, (began, end) in enumerate(side_by_side)
    ]
    ended = Stop(cause="precision", blocks=3, widest=0.02, widest_case="net.classify.a")
    sampling = sampling_of(time_s=100.0, stops={"life": ended}, before=before)
    assert blocks_of(sampling, "life", clock, 1) == 2, "blocks that the records have"
    assert sampling.end("life", 2, before) == ended
    assert blocks_of(sampling, "latency", clock, 1) == 100 - 2 * 30, "two probes ran for 30 s each"


def test_a_block_that_cannot_finish_is_not_started(clock: Clock) -> None:
    assert blocks_of(sampling_of(time_s=100.0), "life", clock, 21) == 2


@given(st.floats(0.01, 99.99))
def test_a_percentage(share: float) -> None:
    assert parse_percent(f"{share:.2f}%") == pytest.approx(float(f"{share:.2f}") / 100)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5h", 5400), (" 2 m ", 120), (None, None)])
def test_a_duration(text: str | None, seconds: float | None) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["10", "0s", "ten minutes", "-1m", "1d", ""])
def test_an_invalid_duration_is_named(text: str) -> None:
    with pytest.raises(RunoffError, match="is not a duration") as caught:
        parse_duration(text)
    assert "10m" in caught.value.hint


@pytest.mark.parametrize("text", ["2", "0%", "100%", "%", "-1%", "nan%"])
def test_an_invalid_percentage_is_named(text: str) -> None:
    with pytest.raises(RunoffError, match="is not a percentage"):
        parse_percent(text)
