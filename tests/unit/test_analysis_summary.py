"""The summary: names, baselines, verdicts, and what was not measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import MS, case_of, record, result_of, run_of, synthetic_run

from runoff.analysis.samples import tidy
from runoff.analysis.statistics import Estimate
from runoff.analysis.summary import COLUMNS, summarise
from runoff.analysis.verdict import times, words
from runoff.protocol import Timings
from runoff.reason import Reason
from runoff.store import Record, Run

if TYPE_CHECKING:
    from runoff.plan import Case


def summary_of(run: Run) -> pd.DataFrame:
    return summarise(run, tidy(run))


@pytest.fixture(scope="module")
def summary() -> pd.DataFrame:
    return summary_of(synthetic_run(profiles=("default",), blocks=8))


def pick(summary: pd.DataFrame, target: str, metric: str, baseline: str = "", probe: str = "") -> pd.Series:
    rows = summary[(summary["target"] == target) & (summary["metric"] == metric) & (summary["baseline"] == baseline)]
    rows = rows[rows["probe"] == probe] if probe else rows
    assert len(rows) == 1
    return rows.iloc[0]


def test_columns_are_the_published_ones(summary: pd.DataFrame) -> None:
    assert ",".join(COLUMNS) == (
        "case,target,model,workload,profile,probe,metric,unit,n,estimate,low,high,"
        "baseline,ratio,ratio_low,ratio_high,verdict,status,reason"
    )
    assert list(summary.columns) == COLUMNS


def test_metrics_carry_their_phase(summary: pd.DataFrame) -> None:
    names = set(summary[summary["target"] == "ort-rust"]["metric"])
    assert {"wall", "user", "system", "peak_memory", "load", "whole", "exit", "unaccounted"} <= names
    assert {"inference.first", "inference.second", "inference.warm", "preprocess.warm", "resident.load"} <= names
    assert {"max_rel_diff", "cosine", "top1_agrees", "input_max_diff", "task_clock", "cycles"} <= names


def test_ratio_says_how_many_times_faster(summary: pd.DataFrame) -> None:
    row = pick(summary, "ort-rust", "wall", "torch")
    assert row["ratio_low"] < row["ratio"] < row["ratio_high"]
    assert row["ratio"] == pytest.approx(2940 / 109, rel=0.1)
    assert "x faster (" in row["verdict"]
    slow = pick(summary, "torch", "wall", "ort-python")
    assert slow["ratio"] < 1
    assert "x slower (" in slow["verdict"]
    assert "x smaller (" in pick(summary, "ort-rust", "peak_memory", "torch", "memory")["verdict"]
    assert pick(summary, "torch", "wall", "torch")["verdict"] == "baseline"


def test_null_runners_get_estimates_and_no_ratio(summary: pd.DataFrame) -> None:
    rows = summary[summary["target"] == "null-rust"]
    assert pick(summary, "null-rust", "wall")["estimate"] > 0
    assert rows["ratio"].isna().all()
    assert (rows["verdict"] == "").all()


def test_skipped_cases_stay_with_their_reason(summary: pd.DataFrame) -> None:
    rows = summary[summary["target"] == "coreml"]
    assert set(rows["probe"]) == {"process", "life", "latency", "counters", "memory", "accuracy"}
    assert set(rows["status"]) == {"unsupported"}
    assert rows["reason"].str.contains("macOS").all()
    assert rows["estimate"].isna().all()


def test_missing_counters_are_not_measured_and_never_zero(summary: pd.DataFrame) -> None:
    for metric in ("cycles", "instructions", "ipc", "branches", "branch_misses"):
        row = pick(summary, "ort-rust", metric)
        assert (row["status"], row["n"]) == ("not-measured", 0)
        assert np.isnan(row["estimate"])
        assert "not supported" in row["reason"]


def test_percentiles_without_enough_samples_are_withheld(summary: pd.DataFrame) -> None:
    assert pick(summary, "ort-rust", "inference.warm.p90")["status"] == "ok"
    row = pick(summary, "ort-rust", "inference.warm.p99")
    assert (row["status"], row["n"]) == ("not-measured", 480)
    assert np.isnan(row["estimate"])
    assert "662" in row["reason"]


def _with(run: Run, change: dict[tuple[str, str, int], dict[str, object]]) -> Run:
    def changed(item: Record) -> Record:
        return msgspec.structs.replace(item, **change.get((item.case, item.probe, item.block), {}))

    return Run(run.folder, run.info, tuple(changed(item) for item in run.records))


def test_wrong_outputs_withhold_every_speed_also_from_those_compared_with_them() -> None:
    run = synthetic_run(profiles=("default",), blocks=6)
    wrong = {"status": "error", "reason": Reason("outputs-differ", "off by 3")}
    summary = summary_of(_with(run, {("net.classify.torch.default.t1.b1", "accuracy", 0): wrong}))
    rows = summary[(summary["target"] == "torch") & (summary["probe"] != "accuracy")]
    assert rows["estimate"].isna().all()
    assert (rows["status"] == "error").all()
    assert rows["reason"].str.contains("off by 3").all()
    other = pick(summary, "ort-rust", "wall", "torch")
    assert np.isnan(other["ratio"])
    assert other["verdict"].startswith("not comparable: torch: outputs-differ")


def test_a_crash_among_good_processes_withholds_the_verdict() -> None:
    run = synthetic_run(profiles=("default",), blocks=6)
    crash = {"status": "error", "reason": Reason("crashed", "signal 11"), "tool": []}
    summary = summary_of(_with(run, {("net.classify.ort-rust.default.t1.b1", "process", 2): crash}))
    row = pick(summary, "ort-rust", "wall", "torch")
    assert (row["status"], row["n"]) == ("error", 5)
    assert row["reason"].startswith("1 of 6 processes failed; crashed: signal 11")
    assert row["verdict"].startswith("not comparable")


def test_probes_that_were_not_started_after_a_failure_share_its_reason() -> None:
    case = case_of("ort-rust", probes=("accuracy", "process"))
    failed = record(case, "accuracy", 0, status="error", reason=Reason("model-missing", "no file", "export it"))
    summary = summary_of(run_of([case], [failed]))
    assert list(summary["status"]) == ["error", "error"]
    assert set(summary["reason"]) == {"model-missing: no file (export it)"}


def test_a_missing_tool_is_not_measured_and_does_not_taint_other_probes() -> None:
    case = case_of("ort-rust", probes=("counters", "life"))
    absent = record(case, "counters", 0, status="not-measured", reason=Reason("tool-missing", "no perf"))
    alive = record(case, "life", 0, exit_ns=5, result=result_of(case))
    summary = summary_of(run_of([case], [absent, alive]))
    assert pick(summary, "ort-rust", "instructions")["reason"] == "tool-missing: no perf"
    assert pick(summary, "ort-rust", "whole")["status"] == "ok"


def test_an_interrupted_probe_says_so() -> None:
    summary = summary_of(run_of([case_of("ort-rust", probes=("life",))], []))
    assert list(summary["status"]) == ["not-measured"]
    assert "interrupted" in summary["reason"].iloc[0]


def _latency(case: Case, block: int, warm_ns: int) -> Record:
    return record(case, "latency", block, result=result_of(case, samples={"inference": Timings(9, None, (warm_ns,))}))


def test_drift_that_hits_both_in_a_block_leaves_the_ratio_alone() -> None:
    python, rust = case_of("ort-python", probes=("latency",)), case_of("ort-rust", probes=("latency",))
    drift = [1, 5, 2, 9, 3, 7, 4]
    records = [_latency(python, block, 2 * MS * factor) for block, factor in enumerate(drift)]
    records += [_latency(rust, block, MS * factor) for block, factor in enumerate(drift)]
    row = pick(summary_of(run_of([python, rust], records)), "ort-rust", "inference.warm", "ort-python")
    assert (row["ratio"], row["ratio_low"], row["ratio_high"]) == pytest.approx((2, 2, 2))
    assert row["verdict"] == "2.00x faster (2.00 to 2.00)"


def test_cases_of_other_profiles_are_never_a_baseline() -> None:
    python, rust = case_of("ort-python", probes=("latency",)), case_of("ort-rust", probes=("latency",), profile="cold")
    records = [_latency(case, block, MS) for case in (python, rust) for block in range(3)]
    row = pick(summary_of(run_of([python, rust], records)), "ort-rust", "inference.warm")
    assert row["verdict"] == ""
    assert np.isnan(row["ratio"])


def test_one_block_gives_no_verdict() -> None:
    python, rust = case_of("ort-python", probes=("latency",)), case_of("ort-rust", probes=("latency",))
    run = run_of([python, rust], [_latency(python, 0, 2 * MS), _latency(rust, 0, MS)])
    row = pick(summary_of(run), "ort-rust", "inference.warm", "ort-python")
    assert row["verdict"] == "not comparable: 1 block gives no interval (2 are needed)"


def test_the_same_run_gives_the_same_summary() -> None:
    run = synthetic_run(profiles=("default",), blocks=6)
    pd.testing.assert_frame_equal(summary_of(run), summary_of(run))


@pytest.mark.parametrize(
    ("ratio", "unit", "verdict"),
    [
        (Estimate(12.41, 11.93, 12.88, 10), "ns", "12.4x faster (11.9 to 12.9)"),
        (Estimate(0.77, 0.74, 0.8, 10), "ns", "1.30x slower (1.25 to 1.35)"),
        (Estimate(1.01, 0.99, 1.03, 10), "ns", "no difference"),
        (Estimate(1.012, 1.002, 1.03, 10), "ns", "1.012x faster (1.002 to 1.030)"),
        (Estimate(8.36, 8.3, 8.4, 10), "bytes", "8.36x smaller (8.30 to 8.40)"),
        (Estimate(0.5, 0.4, 0.6, 10), "count", "2.0x more (1.7 to 2.5)"),
    ],
)
def test_verdicts_in_words(ratio: Estimate, unit: str, verdict: str) -> None:
    assert words(ratio, unit) == verdict


@given(st.floats(1.0001, 1e4), st.floats(1e-4, 1))
def test_a_bound_above_one_is_never_printed_as_one(low: float, width: float) -> None:
    bracket = times(low * (1 + width / 2), low, low * (1 + width), "faster").split("(")[1]
    assert float(bracket.split(" ")[0]) > 1
