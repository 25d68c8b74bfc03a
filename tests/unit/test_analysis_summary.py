"""The summary: names, baselines, ratios, and missing values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic import CONTROL, MS, case_of, record, result_of, run_of, synthetic_run, turned_of

from runoff.analysis.metric_samples import Key, cells, pair
from runoff.analysis.samples import tidy
from runoff.analysis.summary import COLUMNS, summarise
from runoff.analysis.verdict import read_verdict
from runoff.analysis.wording import percent, words
from runoff.plan.baselines import baseline_of, baselines_of, find_control
from runoff.records.protocol import Timings
from runoff.records.reason import Reason
from runoff.records.schema import Record, Run
from runoff.statistics import paired

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.records.schema import Case, InterleavingStats


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
        "baseline,ratio,ratio_low,ratio_high,verdict,status,reason,p_adjusted,floor,stability,verdict_kind,verdict_reason"
    )
    assert list(summary.columns) == COLUMNS


def test_metrics_carry_their_phase(summary: pd.DataFrame) -> None:
    names = set(summary[summary["target"] == "ort-rust"]["metric"])
    assert {"wall", "user", "system", "peak_memory", "load", "whole", "exit", "unaccounted"} <= names
    assert {"inference.first", "inference.second", "inference.warm", "preprocess.warm", "resident.load"} <= names
    assert {"max_rel_diff", "cosine", "top1_agrees", "input_max_diff", "task_clock", "cycles"} <= names


def test_ratio_is_the_factor_of_the_speedup(summary: pd.DataFrame) -> None:
    row = pick(summary, "ort-rust", "wall", "torch")
    assert row["ratio_low"] < row["ratio"] < row["ratio_high"]
    assert row["ratio"] == pytest.approx(2940 / 109, rel=0.1)
    assert "x faster (" in row["verdict"]
    slow = pick(summary, "torch", "wall", "ort-python")
    assert slow["ratio"] < 1
    assert "x slower (" in slow["verdict"]
    assert row["p_adjusted"] < 1e-6
    assert np.isnan(row["floor"])
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


def test_percentiles_with_too_few_samples_are_omitted(summary: pd.DataFrame) -> None:
    assert pick(summary, "ort-rust", "inference.warm.p90")["status"] == "ok"
    row = pick(summary, "ort-rust", "inference.warm.p99")
    assert (row["status"], row["n"]) == ("not-measured", 480)
    assert np.isnan(row["estimate"])
    assert "662" in row["reason"]


def test_warm_times_have_mean_percentiles_and_outliers(summary: pd.DataFrame) -> None:
    rows = {name: pick(summary, "ort-rust", f"inference.warm.{name}") for name in ("mean", "p50", "p90", "p95")}
    assert rows["mean"]["n"] == 8
    assert all(row["low"] < row["estimate"] < row["high"] for row in rows.values())
    assert rows["p50"]["estimate"] < rows["p90"]["estimate"] < rows["p95"]["estimate"]
    for metric, n in (("inference.warm", 480), ("wall", 8)):
        counts = [pick(summary, "ort-rust", f"{metric}.{name}_outliers") for name in ("mild", "severe")]
        assert [count["n"] for count in counts] == [n, n]
        assert 0 <= counts[1]["estimate"] <= counts[0]["estimate"] + 1 < 40


def test_percentiles_of_differing_processes_have_no_bounds_and_a_reason() -> None:
    case = case_of("ort-rust", probes=("latency",))
    warm = [tuple(MS * (2 + block) + step for step in range(100)) for block in range(3)]
    records = [
        record(case, "latency", block, result=result_of(case, samples={"inference": Timings(9, None, samples)}))
        for block, samples in enumerate(warm)
    ]
    row = pick(summary_of(run_of([case], records)), "ort-rust", "inference.warm.p50")
    assert (row["status"], row["n"]) == ("ok", 300)
    assert row["estimate"] == pytest.approx(3 * MS, rel=0.01)
    assert np.isnan([row["low"], row["high"]]).all()
    assert row["reason"].startswith("bounds need 11 samples at 99% confidence; these 300 of 3 processes are worth")


def _with(run: Run, change: dict[tuple[str, str, int], dict[str, object]]) -> Run:
    def changed(item: Record) -> Record:
        return msgspec.structs.replace(item, **change.get((item.case, item.probe, item.block), {}))

    return Run(run.folder, run.info, tuple(changed(item) for item in run.records))


def test_wrong_outputs_exclude_a_case_and_its_comparisons_from_timing() -> None:
    run = synthetic_run(profiles=("default",), blocks=6)
    wrong = {"status": "error", "reason": Reason("outputs-differ", "off by 3")}
    summary = summary_of(_with(run, {("net.classify.torch.default.t1.b1", "accuracy", 0): wrong}))
    rows = summary[(summary["target"] == "torch") & (summary["probe"] != "accuracy")]
    assert rows["estimate"].isna().all()
    assert (rows["status"] == "error").all()
    assert rows["reason"].str.contains("off by 3").all()
    other = pick(summary, "ort-rust", "wall", "torch")
    assert np.isnan(other["ratio"])
    assert other["verdict"].startswith("not comparable: torch: error: outputs-differ")


def test_a_crash_among_good_processes_leaves_no_verdict() -> None:
    run = synthetic_run(profiles=("default",), blocks=6)
    crash = {"status": "error", "reason": Reason("crashed", "signal 11"), "tool": []}
    summary = summary_of(_with(run, {("net.classify.ort-rust.default.t1.b1", "process", 2): crash}))
    row = pick(summary, "ort-rust", "wall", "torch")
    assert (row["status"], row["n"]) == ("error", 5)
    assert row["reason"].startswith("1 of 6 processes failed; crashed: signal 11")
    assert row["verdict"].startswith("not comparable")


def test_probes_skipped_after_a_failure_share_its_reason() -> None:
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


def test_an_interrupted_probe_is_reported() -> None:
    summary = summary_of(run_of([case_of("ort-rust", probes=("life",))], []))
    assert list(summary["status"]) == ["not-measured"]
    assert "interrupted" in summary["reason"].iloc[0]


def _latency(case: Case, block: int, *warm_ns: int, turned: InterleavingStats | None = None) -> Record:
    result = result_of(case, samples={"inference": Timings(9, None, warm_ns)})
    return record(case, "latency", block, result=result, turned=turned)


def test_drift_within_a_block_cancels_in_the_ratio() -> None:
    python, rust = case_of("ort-python", probes=("latency",)), case_of("ort-rust", probes=("latency",))
    drift = [1, 5, 2, 9, 3, 7, 4]
    records = [_latency(python, block, 2 * MS * factor) for block, factor in enumerate(drift)]
    records += [_latency(rust, block, MS * factor) for block, factor in enumerate(drift)]
    row = pick(summary_of(run_of([python, rust], records)), "ort-rust", "inference.warm", "ort-python")
    assert (row["ratio"], row["ratio_low"], row["ratio_high"]) == pytest.approx((2, 2, 2))
    assert row["verdict"] == "2.00x faster (2.00 to 2.00)"


def _live(group_size: int) -> Run:
    """Return a run whose first two inferences are warm-up; the ratios of the pairs are 3, 1 and 1.2."""
    python, rust = case_of("ort-python", probes=("latency",)), case_of("ort-rust", probes=("latency",))
    turned = turned_of(group_size=group_size, warmup=2)
    warm_up, times = (9 * MS, 8 * MS), {rust: (MS, 4 * MS, 2 * MS), python: (3 * MS, 4 * MS, int(2.4 * MS))}
    records = [
        _latency(case, block, *warm_up, *warm, turned=turned) for block in range(4) for case, warm in times.items()
    ]
    return run_of([python, rust], records)


@pytest.mark.parametrize(("group_size", "ratio"), [(1, 1.5), (2, 1.2)])
def test_samples_of_interleaved_processes_are_paired_by_index(group_size: int, ratio: float) -> None:
    row = pick(summary_of(_live(group_size)), "ort-rust", "inference.warm", "ort-python")
    assert (row["ratio"], row["n"]) == (pytest.approx(ratio), 4)


def test_only_shared_blocks_are_paired_by_index() -> None:
    found = cells(tidy(_live(2)))
    rust, python = (
        found[Key(f"net.classify.{name}.default.t1.b1", "latency", "inference.warm")]
        for name in ("ort-rust", "ort-python")
    )
    logs = pair(rust, python, together={0, 1})
    assert [len(block) for block in logs] == [3, 3, 1, 1]
    assert np.exp(logs[0]) == pytest.approx([3, 1, 1.2])
    assert np.exp(logs[3]) == pytest.approx([1.5])


def test_warm_up_is_kept_in_the_samples_and_in_no_estimate() -> None:
    run = _live(2)
    samples = tidy(run)
    early = samples[(samples["phase"] == "warm-up") & (samples["target"] == "ort-rust") & (samples["block"] == 0)]
    assert early["value"].tolist() == [9 * MS, 8 * MS]
    assert early["sample"].tolist() == [0, 1]
    summary = summarise(run, samples)
    assert not summary["metric"].str.contains("warm-up").any()
    assert pick(summary, "ort-rust", "inference.warm", "ort-python")["estimate"] == pytest.approx(2 * MS)


@pytest.fixture(scope="module")
def live() -> pd.DataFrame:
    return summary_of(synthetic_run(profiles=("default",), blocks=8, live=True))


def test_every_verdict_is_checked_against_the_controls_noise_floor(live: pd.DataFrame) -> None:
    control = pick(live, CONTROL, "inference.warm", "ort-python")
    half = (control["ratio_high"] / control["ratio_low"]) ** 0.5
    floor = max(half, control["ratio"], 1 / control["ratio"]) - 1
    assert control["floor"] == pytest.approx(floor)
    assert control["verdict"] == f"no difference (floor {percent(floor).replace('%', ' %')})"
    others = live[(live["metric"] == "inference.warm") & live["ratio"].notna()]
    assert (others["floor"] == control["floor"]).all()
    assert pick(live, "ort-rust", "inference.warm", "torch")["verdict"].startswith("2.39x faster (")
    assert pick(live, "ort-rust", "wall", "torch")["floor"] != control["floor"]


def test_p_values_are_corrected_within_a_metric_and_baseline(live: pd.DataFrame) -> None:
    found = cells(tidy(synthetic_run(profiles=("default",), blocks=8, live=True)))
    rows = live[(live["metric"] == "system") & live["ratio"].notna()]
    assert len(rows) == 8  # five targets and two baselines, without each baseline against itself
    ps, adjusted = {}, {}
    for case, target, baseline, p in rows[["case", "target", "baseline", "p_adjusted"]].itertuples(index=False):
        mine, theirs = (found[Key(name, "process", "system")] for name in (case, case.replace(target, baseline)))
        ps[target, baseline] = paired(pair(mine, theirs)).p
        adjusted[target, baseline] = p
    # the pair of baselines is in the family of the later one, the A/A control in none
    families = {"torch": ["ort-rust", "ort-pyo3"], "ort-python": ["torch", "ort-rust", "ort-pyo3"]}
    for baseline, targets in families.items():
        expected = stats.false_discovery_control([ps[target, baseline] for target in targets])
        assert [adjusted[target, baseline] for target in targets] == pytest.approx(expected.tolist())
    assert adjusted["ort-python", "torch"] == adjusted["torch", "ort-python"]
    assert max(ps.values()) > 1.01 * min(ps.values())
    assert live[live["ratio"].isna()]["p_adjusted"].isna().all()


def test_baselines_are_those_of_the_run_and_the_control_repeats_the_last() -> None:
    python, rust = case_of("ort-python"), case_of("ort-rust")
    again = case_of("ort-rust-again", control_of="ort-rust")
    group = [python, rust, again]
    assert baselines_of(group, ("ort-rust", "ort-python", "torch")) == [python, rust]
    assert baselines_of(group, ("torch",)) == [rust]
    assert baseline_of(group, ("ort-python",)) == rust
    assert find_control(group) == again
    assert baselines_of([python], ("torch", "ort-python")) == [python]
    assert baselines_of([python], ("torch",)) == []
    assert baseline_of([python, rust], ("torch",)) == python
    assert baseline_of([python, rust], ("ort-rust", "torch")) == rust
    assert find_control([python]) is baseline_of([], ("torch",)) is None


def test_cases_of_other_profiles_are_never_a_baseline() -> None:
    python, rust = case_of("ort-python", probes=("latency",)), case_of("ort-rust", probes=("latency",), profile="cold")
    records = [_latency(case, block, MS) for case in (python, rust) for block in range(3)]
    row = pick(summary_of(run_of([python, rust], records)), "ort-rust", "inference.warm")
    assert row["verdict"] == ""
    assert np.isnan(row["ratio"])


def test_one_block_has_no_verdict() -> None:
    python, rust = case_of("ort-python", probes=("latency",)), case_of("ort-rust", probes=("latency",))
    run = run_of([python, rust], [_latency(python, 0, 2 * MS), _latency(rust, 0, MS)])
    row = pick(summary_of(run), "ort-rust", "inference.warm", "ort-python")
    assert row["verdict"] == "not comparable: 1 block gives no interval (2 are needed)"


def test_the_same_run_gives_the_same_summary() -> None:
    run = synthetic_run(profiles=("default",), blocks=6)
    pd.testing.assert_frame_equal(summary_of(run), summary_of(run))


@pytest.mark.parametrize("old", [False, True])
def test_rows_of_a_file_give_the_verdicts_back(live: pd.DataFrame, old: bool, tmp_path: Path) -> None:  # noqa: FBT001
    file = tmp_path / "summary.csv"
    live.drop(columns=["verdict_kind", "verdict_reason"] if old else []).to_csv(file, index=False)
    # the text is ignored
    read = pd.read_csv(file, keep_default_na=False, na_values={"ratio_low": [""]}).assign(verdict="")
    numbers = ["ratio", "ratio_low", "ratio_high", "p_adjusted", "floor"]
    read[numbers] = read[numbers].apply(pd.to_numeric, errors="coerce")
    found = [read_verdict(line) for line in read.to_dict("records")]
    assert [verdict.kind for verdict in found] == live["verdict_kind"].tolist()
    if not old:
        assert [words(verdict) for verdict in found] == live["verdict"].tolist()
    assert {"baseline", "no difference", "better", "worse"} <= set(live["verdict_kind"])
