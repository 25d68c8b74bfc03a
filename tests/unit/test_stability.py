"""The stability verdict: injected disturbances are found, a steady machine raises no false alarm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import case_of, record, result_of, run_of, synthetic_run, turned_of

from runoff.analysis import evidence as signs
from runoff.analysis.analyse import analyse
from runoff.analysis.evidence import ProcessTimes, trends, warming
from runoff.analysis.samples import tidy
from runoff.analysis.stability import Stability, judged, stability
from runoff.analysis.summary import COLUMNS, summarise
from runoff.records.protocol import Timings
from runoff.records.reason import Reason
from runoff.records.schema import Conditions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from runoff.records.schema import Record, Run

MS = 1e6
CASE = case_of("ort-rust", ("latency",))
QUIET = Conditions(load=0.9, steal=0.0, others=0.05, mhz=3100.0, throttled=0.0, switches=3)


def noise(block: int, size: int = 200, spread: float = 0.03) -> NDArray[np.float64]:
    """Return seeded times of about 6 ms."""
    return 6 * MS * np.random.default_rng(block).lognormal(0, spread, size)


def live(block: int, times: NDArray[np.float64], *, turns: bool = True, **fields: Any) -> Record:
    """Return a record of a live process; without `turns`, of a process that timed itself."""
    samples = {"inference": Timings(7_000_000, 6_500_000, tuple(times.astype(int).tolist()))}
    usual: dict[str, Any] = {"spawn_ns": 0, "exit_ns": 2_000_000_000, "conditions": QUIET}
    usual |= {"turned": turned_of(waiting_share=0.0)} if turns else {}
    return record(CASE, "latency", block, result=result_of(CASE, samples=samples), **(usual | fields))


def judge(records: Sequence[Record]) -> Stability:
    """Return the stability of the only case of a run, on a machine with four cores."""
    run = run_of([CASE], records)
    run.info.machine["cores"] = 4
    return stability_of(run)[CASE.id]


def stability_of(run: Run) -> dict[str, Stability]:
    return stability(run, summarise(run, tidy(run)))


def test_a_steady_machine_is_stable_with_its_evidence() -> None:
    found = judge([live(block, noise(block)) for block in range(8)])
    assert found.verdict == "stable"
    assert found.holds == []
    text = "; ".join(found.evidence)
    for word in (
        "within a process",
        "between 8 processes",
        "no trend from the first block",
        "steal 0% of CPU time",
        "0.1 cores were busy with other work",
        "load average 0.9 on 4 cores",
        "throttled by its CPU quota for 0% of the time",
        "1.5 involuntary context switches per second",
        "clock 3,100 MHz at first",
    ):
        assert word in text
    assert "not told" not in text


@pytest.mark.parametrize(
    ("make", "verdict", "expected"),
    [
        (
            lambda b: live(b, noise(b, spread=0.001) * (1 + 0.02 * b)),
            "drifting",
            "grew by 14% from the first block to the last (p ",
        ),
        (
            lambda b: live(b, noise(b, spread=0.001) * (1 - 0.02 * b)),
            "drifting",
            "fell by 14% from the first block to the last (p ",
        ),
        (lambda b: live(b, noise(b) * np.linspace(1, 1.2, 200)), "drifting", "from the first tenth of a process"),
        (
            lambda b: live(b, noise(b, size=30), turned=turned_of(steady=False)),
            "not warmed up",
            "8 of 8 processes were not steady at the end of the time for warm-up",
        ),
        (
            lambda b: live(b, noise(b), conditions=msgspec.structs.replace(QUIET, throttled=0.3)),
            "throttled",
            "throttled by its CPU quota for 30% of the time",
        ),
    ],
)
def test_trouble_in_the_times_is_found(make: Callable[[int], Record], verdict: str, expected: str) -> None:
    found = judge([make(block) for block in range(8)])
    assert (found.verdict, found.holds) == (verdict, [verdict])
    assert expected in found.evidence[0]


def around(**change: Any) -> dict[str, Any]:
    return {"conditions": msgspec.structs.replace(QUIET, **change)}


@pytest.mark.parametrize(
    ("spread", "fields", "expected"),
    [
        (0.3, {}, "% of the mean within a process"),
        (0.03, {"turned": turned_of(waiting_share=0.8)}, "CPU time while waiting: 80% of a core"),
        (
            0.03,
            {"turned": turned_of(steady=False)},
            "8 of 8 processes were not steady at the end of the time for warm-up",
        ),
        (0.03, around(steal=0.041), "steal 4.1% of CPU time"),
        (0.03, around(others=0.8), "0.8 cores were busy with other work"),
        (0.03, around(load=5.2), "load average 5.2 on 4 cores"),
        (0.03, around(switches=400), "200 involuntary context switches per second"),
    ],
)
def test_noise_counts_if_it_leaves_the_claim_open(spread: float, fields: dict[str, Any], expected: str) -> None:
    precise = judge([live(block, noise(block, spread=spread), **fields) for block in range(8)])
    assert (precise.verdict, precise.holds) == ("stable", [])
    assert expected in "; ".join(precise.evidence)
    levels = [noise(block, spread=spread) * (1.5 if block % 2 else 1) for block in range(8)]
    uneven = judge([live(block, times, **fields) for block, times in enumerate(levels)])
    assert (uneven.verdict, uneven.holds) == ("noisy", ["noisy"])
    counting, _, _ = "; ".join(uneven.evidence).partition("no trend")
    assert expected in counting
    assert "warm inference: time known only to \N{PLUS-MINUS SIGN}" in counting


def pairs(own: Callable[[int], float], blocks: int = 8) -> Stability:
    """Return the stability of a case next to its baseline, on a machine whose speed doubles in every second block."""
    baseline = case_of("ort-python", ("latency",))
    records = []
    for block in range(blocks):
        machine = 1 + block % 2
        mine = live(block, noise(block) * machine * own(block), turned=turned_of(group_size=1))
        theirs = live(block, noise(100 + block) * machine * 2, turned=turned_of(group_size=1))
        records += [mine, msgspec.structs.replace(theirs, case=baseline.id)]
    return stability_of(run_of([baseline, CASE], records))[CASE.id]


def test_noise_that_cancels_in_the_ratio_leaves_a_case_stable() -> None:
    steady = pairs(lambda _: 1.0)
    assert (steady.verdict, steady.holds) == ("stable", [])
    assert any("ratio to ort-python known to \N{PLUS-MINUS SIGN}" in text for text in steady.evidence)
    assert any("standard deviation 36% of the mean between 8 processes" in text for text in steady.evidence)
    # 1.8 to 2.2 times faster is a clear result; 0.9 to 1.1 times is not
    assert pairs(lambda block: 1.1 if block % 3 else 0.9).verdict == "stable"
    tied = pairs(lambda block: 2.2 if block % 3 else 1.8)
    assert tied.verdict == "noisy"
    assert any("ratio to ort-python known only to" in text for text in tied.evidence)


def test_a_wide_interval_of_few_processes_or_without_a_sign_of_noise_is_unknown() -> None:
    two = pairs(lambda block: 2.2 if block % 2 else 1.8, blocks=2)
    assert two.verdict == "unknown"
    assert two.evidence[0].endswith(", from 2 processes")
    calm = judge([live(block, noise(block, spread=0.01) * (1.17 if block % 2 else 1)) for block in range(3)])
    assert (calm.verdict, calm.holds) == ("unknown", ["unknown"])
    assert "known only to" in calm.evidence[0]
    one = judge([live(0, noise(0))])
    assert (one.verdict, one.evidence[0]) == ("unknown", "warm inference: no interval")


def test_a_clock_that_falls_is_throttled() -> None:
    clocks = [around(mhz=3100.0 if block < 5 else 2400.0) for block in range(8)]
    found = judge([live(block, noise(block), **fields) for block, fields in enumerate(clocks)])
    assert found.verdict == "throttled"
    assert found.evidence[0] == "clock fell from 3,100 to 2,400 MHz"


def test_unreported_conditions_are_listed_and_not_zero() -> None:
    found = judge([live(block, noise(block), conditions=Conditions(load=1.0)) for block in range(8)])
    assert found.verdict == "stable"
    assert found.evidence[-1] == "not reported by this system: steal, other work, throttling, context switches, clock"
    assert not any(word in text for text in found.evidence for word in ("steal 0", "0 MHz", "0 involuntary"))


def test_an_old_record_has_no_conditions() -> None:
    found = judge([live(block, noise(block), turns=False, conditions=None) for block in range(8)])
    assert found.verdict == "stable"
    assert "the state of the machine was not recorded" in found.evidence
    assert "warm inference: the first tenth is as fast as the rest" in found.evidence


def test_a_process_that_timed_itself_too_early_is_not_warmed_up() -> None:
    early = np.concatenate([np.full(20, 1.3), np.ones(180)])
    found = judge([live(block, noise(block) * early, turns=False) for block in range(8)])
    assert found.verdict == "not warmed up"
    assert found.evidence[0].startswith("warm inference: the first tenth took 29% longer than the last half")


def test_warm_up_that_was_watched_is_no_part_of_the_times() -> None:
    warming_up = np.full(50, 60 * MS)
    records = [
        live(block, np.concatenate([warming_up, noise(block)]), turned=turned_of(warmup=50)) for block in range(8)
    ]
    assert judge(records).verdict == "stable"


def test_several_verdicts_may_hold_and_the_worst_is_first() -> None:
    trouble = around(throttled=0.2, steal=0.1)
    records = [live(block, noise(block) * (1 + 0.08 * block), **trouble) for block in range(8)]
    found = judge(records)
    assert found.holds == ["throttled", "drifting", "noisy"]
    assert found.verdict == "throttled"
    assert found.evidence[0].startswith("throttled by")


def test_a_single_time_has_no_verdict() -> None:
    found = judge([live(0, noise(0, size=1))])
    assert found.verdict == "unknown"
    assert "warm inference: too few times for a spread" in found.evidence


def test_a_case_without_times_is_unknown_and_one_that_cannot_run_has_no_stability() -> None:
    skipped = case_of("coreml", skipped=Reason("not-installed", "no"))
    assert stability_of(run_of([CASE, skipped], [])) == {CASE.id: Stability("unknown", ["no times"])}


def test_a_case_whose_outputs_differ_has_no_times() -> None:
    wrong = record(CASE, "accuracy", 0, status="error", reason=Reason("outputs-differ", "off by 3"))
    assert judge([wrong, *(live(block, noise(block)) for block in range(8))]).verdict == "unknown"


def test_whole_processes_are_judged_too() -> None:
    case = case_of("ort-rust", ("process",))
    walls = [[{"time_wall_clock": {"value": 0.1 * (1 + block % 2), "unit": "second"}}] for block in range(8)]
    run = run_of([case], [record(case, "process", block, tool=tool) for block, tool in enumerate(walls)])
    found = stability_of(run)[case.id]
    assert found.verdict == "noisy"
    assert found.evidence[0] == "process time: standard deviation 36% of the mean between 8 processes"


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_blocks_without_an_order_rarely_show_a_trend(seed: int) -> None:
    levels = 6 * MS * np.random.default_rng(seed).lognormal(0, 0.01, 10)
    (sign,) = trends(ProcessTimes("warm inference", tuple(np.array([level]) for level in levels), tuple(range(10))))
    assert sign.holds is None


def test_the_first_part_is_checked_against_a_share_and_a_test() -> None:
    rng = np.random.default_rng(1)
    level = tuple(rng.lognormal(0, 0.03, 100) for _ in range(5))
    blocks = tuple(range(5))
    assert warming(ProcessTimes("x", level, blocks)).holds is None
    slightly = tuple(np.concatenate([times[:10] * (1 + signs.TREND / 3), times[10:]]) for times in level)
    assert warming(ProcessTimes("x", slightly, blocks)).holds is None
    clearly = tuple(np.concatenate([times[:10] * (1 + signs.TREND * 3), times[10:]]) for times in level)
    assert warming(ProcessTimes("x", clearly, blocks)).holds == "not warmed up"


def test_without_deciding_evidence_there_is_no_verdict() -> None:
    assert judged([]).verdict == "unknown"
    assert judged([signs.Evidence("expected")]).verdict == "unknown"
    assert judged([signs.Evidence("expected", judges=True)]).verdict == "stable"


def test_the_summary_has_the_verdict_of_each_case() -> None:
    made = analyse(synthetic_run(blocks=6, live=True))
    assert list(made.summary.columns) == COLUMNS
    by_case = made.summary.groupby("case")["stability"].unique()
    assert {case: list(words) for case, words in by_case.items() if case in made.stability} == {
        case: [found.verdict] for case, found in made.stability.items()
    }
    assert set(made.summary[made.summary["target"] == "coreml"]["stability"]) == {""}
