"""``runoff bench`` for real: hyperfine, perf, every runner, a real model. The results follow the contract."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import msgspec
import pandas as pd
import pytest
from running import TARGETS, only_run, runoff, write_suite

from runoff.probes.counters import EVENTS
from runoff.probes.life import phase_breakdown
from runoff.records.schema import Record

if TYPE_CHECKING:
    from pathlib import Path

    from running import Whole

COMPUTING = [name for name in TARGETS if not name.startswith("null")]
SAMPLES = "case target model workload profile probe phase block process sample metric unit value"
SUMMARY = (
    "case target model workload profile probe metric unit n estimate low high "
    "baseline ratio ratio_low ratio_high verdict status reason "
    "p_adjusted floor stability verdict_kind verdict_reason"
)
MOST_UNACCOUNTED = 0.02
NATIVE = ("ort-rust", "ort-pyo3")


@pytest.fixture(scope="session")
def samples(whole: Whole) -> pd.DataFrame:
    return pd.read_csv(whole.run.folder / "samples.csv")


@pytest.fixture(scope="session")
def summary(whole: Whole) -> pd.DataFrame:
    return pd.read_csv(whole.run.folder / "summary.csv")


def test_the_run_succeeds(whole: Whole) -> None:
    assert whole.ended.code == 0, whole.ended.out + whole.ended.err
    assert {record.status for record in whole.run.records} == {"ok"}
    assert whole.run.info.finished is not None


def test_the_folder(whole: Whole) -> None:
    names = {path.name for path in whole.run.folder.iterdir()}
    assert {"run.json", "raw", "samples.csv", "summary.csv", "report.md", "plots"} <= names
    assert not [name for name in names if name.startswith(".")]
    assert len(list((whole.run.folder / "raw").iterdir())) == sum(len(case.probes) for case in whole.run.info.cases)


def test_every_raw_line_is_a_record(whole: Whole) -> None:
    lines = 0
    for path in (whole.run.folder / "raw").iterdir():
        for line in path.read_bytes().splitlines():
            record = msgspec.json.decode(line, type=Record)
            assert path.name == f"{record.case}.{record.probe}.jsonl"
            lines += 1
    assert lines == len(whole.run.records)
    assert len({record.order for record in whole.run.records}) == lines


def test_the_columns(samples: pd.DataFrame, summary: pd.DataFrame) -> None:
    assert " ".join(samples.columns) == SAMPLES
    assert " ".join(summary.columns) == SUMMARY


@pytest.mark.usefixtures("hyperfine")
def test_hyperfine_saw_every_process(whole: Whole, samples: pd.DataFrame) -> None:
    for target in TARGETS:
        rows = samples[(samples["probe"] == "process") & (samples["target"] == target)]
        wall = rows[rows["metric"] == "wall"]["value"]
        assert len(wall) == 2
        assert (wall > 1e5).all()
        assert (rows[rows["metric"] == "peak_memory"]["value"] > 1e5).all()
    assert str(whole.run.info.tools["hyperfine"]).startswith("2.")


@pytest.mark.usefixtures("perf")
def test_events_that_perf_does_not_count_are_reported_and_never_zero(
    whole: Whole, samples: pd.DataFrame, summary: pd.DataFrame
) -> None:
    counted = samples[samples["probe"] == "counters"]
    events: dict[str, Any] = {}
    for record in whole.records("counters")["ort-python"]:
        events |= {event["event"]: event["counter-value"] for event in record.tool}
    assert float(events["task-clock"]) > 0
    for event, value in events.items():
        metric = EVENTS[event]
        rows = summary[(summary["probe"] == "counters") & (summary["metric"] == metric)]
        assert not rows.empty, metric
        if not value[:1].isdigit():
            assert metric not in set(counted["metric"])
            assert set(rows["status"]) == {"not-measured"}
            assert rows["estimate"].isna().all()
            assert rows["reason"].str.contains("not supported|not counted").all()


# the runner on the bare C API reports no phases
@pytest.mark.parametrize("target", [name for name in TARGETS if name != "capi-rust"])
def test_the_phases_add_up_to_the_process_time(target: str, whole: Whole) -> None:
    records = whole.records("life")[target]
    assert len(records) == 2
    for record in records:
        spent = phase_breakdown(record)
        assert abs(spent.unaccounted_ns) <= MOST_UNACCOUNTED * spent.whole_ns
        assert sum(spent.phases.values()) + spent.unaccounted_ns == spent.whole_ns
        assert min(spent.phases.values()) >= 0
        assert spent.phases["exit"] > 0


@pytest.mark.parametrize("target", COMPUTING)
def test_every_target_computes_the_same(target: str, whole: Whole, summary: pd.DataFrame) -> None:
    (record,) = whole.records("accuracy")[target]
    rows = record.parity
    assert [row["item"] for row in rows] == list(range(8))
    assert all(row["top1_agrees"] for row in rows)
    assert all(row["input_max_diff"] < 20 for row in rows)
    own = summary[(summary["target"] == target) & (summary["metric"] == "max_rel_diff")]
    assert (own["estimate"] < 0.05).all()


@pytest.mark.usefixtures("complete")
def test_torch_is_measured_and_computes_the_same(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, "torch", more="[measure.blocks]\nlife = 1\n")
    ended = runoff("bench", suite, "--results", tmp_path / "results")
    assert ended.code == 0, ended.out + ended.err
    accuracy, life = only_run(tmp_path / "results").records
    assert [row["item"] for row in accuracy.parity] == list(range(8))
    assert all(row["top1_agrees"] and row["max_rel_diff"] < 0.05 for row in accuracy.parity)
    spent = phase_breakdown(life)
    assert abs(spent.unaccounted_ns) <= MOST_UNACCOUNTED * spent.whole_ns


@pytest.mark.parametrize("target", COMPUTING)
def test_latency_has_the_first_the_second_and_the_warm(target: str, samples: pd.DataFrame) -> None:
    rows = samples[(samples["probe"] == "latency") & (samples["target"] == target) & (samples["metric"] == "inference")]
    phases = rows["phase"].value_counts()
    assert (phases["first"], phases["second"]) == (1, 1)
    assert phases["warm"] >= 5
    assert (rows["value"] > 0).all()


@pytest.mark.parametrize("target", NATIVE)
def test_one_engine_for_all(target: str, whole: Whole) -> None:
    builds = []
    for name in (target, "ort-python"):
        (record, *_) = whole.records("life")[name]
        assert record.result is not None
        effective = record.result.effective
        assert effective is not None
        builds.append((effective.version, effective.provider, effective.threads))
    assert builds[0] == builds[1]


@pytest.mark.usefixtures("hyperfine")
def test_null_runners_have_no_ratio(summary: pd.DataFrame) -> None:
    null = summary[summary["target"].str.startswith("null")]
    assert null["ratio"].isna().all()
    assert (null[(null["metric"] == "wall")]["estimate"] > 0).all()


def test_the_report_and_its_plots(whole: Whole) -> None:
    text = (whole.run.folder / "report.md").read_text()
    assert [target for target in TARGETS if target not in text] == []
    plots = sorted((whole.run.folder / "plots").iterdir())
    assert {path.suffix for path in plots} == {".svg"}
    for path in plots:
        assert f"plots/{path.name}" in text
        assert ET.fromstring(path.read_text()).tag.endswith("svg")  # noqa: S314 (runoff's own file)


def test_the_report_can_be_regenerated(whole: Whole) -> None:
    before = (whole.run.folder / "summary.csv").read_bytes()
    ended = runoff("report", whole.run.folder, "--json")
    assert ended.code == 0
    assert isinstance(json.loads(ended.out), dict)
    assert (whole.run.folder / "summary.csv").read_bytes() == before
