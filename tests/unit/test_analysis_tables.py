"""From records to samples, phases and the harness row."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import MS, case_of, perf_events, phases_of, record, result_of, run_of, synthetic_run

from runoff.analysis.phases import life_table
from runoff.analysis.samples import COLUMNS, tidy
from runoff.probes.base import Sample, Shortfall
from runoff.probes.counters import read_events
from runoff.probes.life import phase_breakdown
from runoff.records.protocol import Phase, Timings
from runoff.records.reason import Reason
from runoff.records.schema import Run


def test_samples_have_the_published_columns_and_every_number() -> None:
    run = synthetic_run(blocks=3, warm=10)
    samples = tidy(run)
    assert ",".join(COLUMNS) == (
        "case,target,model,workload,profile,probe,phase,block,process,sample,metric,unit,value"
    )
    assert list(samples.columns) == COLUMNS
    warm = samples[(samples["phase"] == "warm") & (samples["case"] == "net.classify.ort-rust.default.t1.b1")]
    assert len(warm) == 2 * 3 * 10
    assert sorted(warm["process"].unique()) == [0, 1, 2]
    assert sorted(warm["sample"].unique()) == list(range(10))


def test_hyperfines_seconds_become_nanoseconds() -> None:
    case = case_of("ort-rust")
    second = {"value": 0.25, "unit": "second"}
    measurement = {"time_wall_clock": second, "memory_peak_resident": {"value": 3e6, "unit": "byte"}, "exit_code": 0}
    samples = tidy(run_of([case], [record(case, "process", 0, tool=[measurement, measurement])]))
    rows = samples[["process", "metric", "unit", "value"]].to_numpy().tolist()
    expected = [["wall", "ns", 0.25e9], ["peak_memory", "bytes", 3e6]]
    assert rows == [[process, *row] for process in (0, 1) for row in expected]


def test_a_case_with_wrong_outputs_is_excluded_from_timing_in_every_probe() -> None:
    run = synthetic_run(profiles=("default",), blocks=3)
    wrong = "net.classify.ort-rust.default.t1.b1"
    records = tuple(
        msgspec.structs.replace(item, status="error", reason=Reason("outputs-differ", "off by 3"))
        if (item.case, item.probe) == (wrong, "accuracy")
        else item
        for item in run.records
    )
    corrupted = Run(run.folder, run.info, records)
    samples = tidy(corrupted)
    assert set(samples[samples["case"] == wrong]["probe"]) == {"accuracy"}
    assert wrong not in set(life_table(corrupted)["case"])


def test_unavailable_counters_have_a_reason_and_no_value() -> None:
    counts = read_events(perf_events(0.98))
    assert counts["task_clock"] == Sample("task_clock", "ns", 980_000.0)
    assert counts["cpus_utilised"] == Sample("cpus_utilised", "CPUs", 0.98)
    assert counts["cycles"] == Shortfall("cycles", "count", "perf on this machine: not supported")
    assert isinstance(counts["ipc"], Shortfall)


def test_numbers_with_a_decimal_comma_are_no_values() -> None:
    counts = read_events(
        [
            {
                "event": "task-clock",
                "counter-value": "0,98",
                "unit": "msec",
                "metric-value": "0,5",
                "metric-unit": "CPUs utilized",
            }
        ]
    )
    assert counts["task_clock"] == Shortfall("task_clock", "ns", "perf on this machine: 0,98")
    assert counts["cpus_utilised"] == Shortfall("cpus_utilised", "CPUs", "perf on this machine: 0,5")


def test_instructions_per_cycle_are_those_of_the_process() -> None:
    events = [
        {"event": "cycles:u", "counter-value": "2000.0", "unit": ""},
        {"event": "instructions:u", "counter-value": "5000.0", "unit": ""},
    ]
    assert read_events(events)["ipc"] == Sample("ipc", "instructions/cycle", 2.5)
    events[0]["counter-value"] = "<not counted>"
    assert isinstance(read_events(events)["ipc"], Shortfall)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=6), st.integers(0, 10**6), st.integers(1, 10**6))
def test_contiguous_phases_leave_nothing_unaccounted(spent: list[int], spawn: int, end: int) -> None:
    case = case_of("ort-rust")
    phases = phases_of({f"phase{place}": ns for place, ns in enumerate(spent)}, spawn)
    life = phase_breakdown(
        record(case, "life", 0, spawn_ns=spawn, exit_ns=phases[-1].end_ns + end, result=result_of(case, phases=phases))
    )
    assert life.unaccounted_ns == 0
    assert life.phases["exit"] == end
    assert sum(life.phases.values()) == life.whole_ns


def test_gaps_are_unaccounted() -> None:
    case = case_of("ort-rust")
    phases = (Phase("load", 100, 200), Phase("inference", 250, 300))
    life = phase_breakdown(record(case, "life", 0, spawn_ns=0, exit_ns=310, result=result_of(case, phases=phases)))
    assert life.phases == {"load": 100, "inference": 50, "exit": 10}
    assert life.unaccounted_ns == 150


def test_phases_of_the_life_table_add_up_to_the_median_process() -> None:
    run = synthetic_run(blocks=5)
    table = life_table(run)
    for case, rows in table.groupby("case"):
        wholes = sorted(
            item.exit_ns - item.spawn_ns for item in run.records if (item.case, item.probe) == (case, "life")
        )
        assert rows["duration_ns"].sum() == wholes[2]
        assert rows["share"].sum() == pytest.approx(1)


def test_harness_share_excludes_pauses() -> None:
    info = synthetic_run(blocks=1).info
    assert info.overhead_ns == 30_000 * MS
    assert info.overhead_share == pytest.approx(30 / 570)
    assert msgspec.structs.replace(info, elapsed_ns=0, measured_ns=0, paused_ns=0).overhead_share is None


def test_a_hundred_thousand_samples_are_tidied_quickly() -> None:
    case = case_of("ort-rust")
    warm = tuple(range(1, 50_001))
    samples = {"inference": Timings(1, 1, warm), "preprocess": Timings(1, 1, warm)}
    table = tidy(run_of([case], [record(case, "latency", 0, result=result_of(case, samples=samples))]))
    assert len(table) == 100_004
    assert table["value"].sum() == 2 * sum(warm) + 4
