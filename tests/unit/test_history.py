"""The history of runs: stored fields, points, changes and plots."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest
from histories import OTHER, day_run, summarised
from msgspec.structs import replace
from synthetic import synthetic_run

from runoff.analysis.analyse import analyse
from runoff.analysis.summary import COLUMNS as SUMMARY
from runoff.analysis.wording import words
from runoff.compare import formats
from runoff.compare.metrics import parse_metric
from runoff.compare.pairing import compare_runs
from runoff.history import query
from runoff.history.changes import with_changes
from runoff.history.run_list import past_runs
from runoff.history.runs import FoundRun, find, moment, why_unreadable
from runoff.history.series import BY, By, Series, cases_of, series, why_missing
from runoff.history.show import History, as_dict, letter, markdown
from runoff.history.trend import draw, trend
from runoff.records.errors import RunoffError
from runoff.records.files import RunWriter, measuring, read_run
from runoff.report.build import write_report

MEDIAN = parse_metric("latency.median")
BY_CASE = [
    *("run", "suite", "started", "finished", "machine", "machine_key", "runoff", "runtime", "runtime_version"),
    *("runtime_build", "model_sha256", "made_with", "computes", "twin_of"),
]
CHANGE = "net.classify.change.default.t1.b1"
MAIN = "net.classify.main.default.t1.b1"


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with five days: a slow one, a slowdown on the third, then a different machine and runtime."""
    folder = tmp_path_factory.mktemp("days")
    day_run(folder, 1, {"main": 10.0, "change": 10.0})
    day_run(folder, 2, {"main": 10.0, "change": 10.0}, drift=1.8)
    day_run(folder, 3, {"main": 10.0, "change": 10.6})
    day_run(folder, 4, {"main": 10.0, "change": 5.0}, machine=OTHER, version="1.33.0")
    day_run(folder, 5, {"main": 10.0, "change": 10.6}, version="1.33.0")
    return folder


def runs_in(folder: Path) -> list[FoundRun]:
    return find([folder])[0]


def made(folder: Path, case: str = CHANGE, by: By = "date", *, different_machines: bool = False) -> Series:
    runs = runs_in(folder)
    lines = query.lines(runs, ["latency.inference.warm"])
    one = series(lines, case, MEDIAN, by)
    assert one is not None
    folders = {run.info.run_id: run.folder for run in runs}
    (changed,), _ = with_changes([one], folders, different_machines=different_machines)
    return changed


def verdicts(one: Series) -> list[str | None]:
    return [words(point.change.verdict) if point.change else None for point in one.points]


def test_each_line_identifies_its_versions(days: Path) -> None:
    lines = query.select(runs_in(days), "SELECT * FROM history ORDER BY started")
    assert [*BY_CASE, *SUMMARY, "file_row_number"] == list(lines[0])
    places = [line["file_row_number"] for line in lines if line["run"] == "days-20261104-120000"]
    assert sorted(places) == list(range(len(places)))
    (line,) = [
        line
        for line in lines
        if (line["run"], line["case"], line["metric"]) == ("days-20261104-120000", CHANGE, "inference.warm")
    ]
    assert line["suite"] == "days"
    assert f"{line['started']:%Y-%m-%d %H:%M}" == "2026-11-04 12:00"
    assert line["machine"] == "Other CPU, 2 cores, virtual, Linux 6.9"
    assert (line["runtime"], line["runtime_version"], line["runtime_build"]) == ("onnxruntime", "1.33.0", "abc1234")
    assert line["runoff"] == "0.1.0"
    assert line["baseline"] == "main"
    assert line["ratio_low"] < line["ratio"] < line["ratio_high"]
    assert line["computes"] is True
    assert line["twin_of"] is None


def test_missing_values_are_null_with_a_reason(tmp_path: Path) -> None:
    run = synthetic_run(tmp_path / "one", profiles=("default",), blocks=3, warm=10)
    (found,) = _written(run, tmp_path)
    (line,) = query.select([found], "SELECT * FROM history WHERE metric = 'ipc' AND target = 'ort-rust'")
    assert line["estimate"] is None
    assert line["status"] == "not-measured"
    assert line["reason"] == "perf on this machine: not supported"
    assert line["model_sha256"] is None
    (row,) = past_runs(tmp_path)
    assert (row["ok"], row["failed"], row["missing"]) == (5, 0, 1)
    assert row["best"].startswith("ort-rust (default): process time 1")
    assert "x faster than ort-python" in row["best"]


def test_the_model_is_the_file_that_the_case_loads(tmp_path: Path) -> None:
    run = synthetic_run(tmp_path / "one", profiles=("default",), blocks=3, warm=5, targets=("torch",))
    run.info.cases = tuple(replace(case, format="pt") for case in run.info.cases)
    run.info.models["net"]["made_with"] = {"torch": "2.15.0", "system": "Linux"}
    (found,) = _written(run, tmp_path)
    lines = query.lines([found], ["process.wall"])
    assert {line["model_sha256"] for line in lines} == {"cd" * 32}
    assert {line["made_with"] for line in lines} == {"torch 2.15.0, system Linux"}
    one = series(lines, "net.classify.torch.default.t1.b1", parse_metric("process.wall"), "model")
    assert one is not None
    assert one.points[0].new == ("torch 1.32.0 abc1234", "model cdcdcdcdcdcd", "runoff 0.1.0")


def _written(run: Any, folder: Path) -> list[FoundRun]:
    writer = RunWriter(run.folder, run.info)
    for record in run.records:
        writer.append(record)
    summarised(run.folder)
    return runs_in(folder)


@pytest.mark.parametrize(
    ("build", "short"),
    [
        ("ORT Build Info: git-branch=HEAD, git-commit-id=fab30a4, fp8-kv-cache=1, build type=Release", "fab30a4"),
        ("git d0f2af8b66b20da4baa50644c0cd3f887a2eae2e, CUDA 13.2", "d0f2af8"),
        ("abc1234", "abc1234"),
        ("", ""),
    ],
)
def test_a_build_is_its_commit(build: str, short: str) -> None:
    assert query.short_build(build) == short


def test_times_are_kept_in_utc() -> None:
    assert moment("2026-11-22T16:29:11+02:00").isoformat() == "2026-11-22T14:29:11"
    assert moment("2026-11-22T16:29:11Z").isoformat() == "2026-11-22T16:29:11"
    with pytest.raises(RunoffError, match="'soon' is not a time"):
        moment("soon")


def test_runs_of_another_format_are_skipped_with_a_reason(tmp_path: Path) -> None:
    good = day_run(tmp_path, 1, {"main": 10.0, "change": 10.0})
    for name in ("version", "machine", "spoilt"):
        shutil.copytree(good, tmp_path / name)
        info = json.loads((good / "run.json").read_text())
        text = {"version": info | {"version": 9}, "machine": info | {"machine": {}}, "spoilt": {}}[name]
        (tmp_path / name / "run.json").write_text(json.dumps(text))
    found, skipped = find([tmp_path])
    assert [run.folder for run in found] == [good]
    reasons = {Path(folder).name: reason for folder, reason in skipped.items()}
    assert reasons["version"].endswith("has version 9; this version of runoff reads 1")
    assert reasons["machine"].endswith("machine has no field 'cores_allowed'")
    assert "missing required field" in reasons["spoilt"]


@pytest.mark.parametrize("published", [True, False])
def test_a_run_without_raw_results_is_read_from_its_tables_and_counts_once(tmp_path: Path, *, published: bool) -> None:
    run = synthetic_run(tmp_path / "run", profiles=("default",), blocks=4, warm=10)
    (whole,) = _written(run, tmp_path)
    before = formats.read(run.folder).samples
    copy = tmp_path / "reference" / "synthetic"
    copy.mkdir(parents=True)
    write_report(analyse(read_run(run.folder)), copy if published else None)
    for name in ("run.json", "summary.csv", *(() if published else ("samples.csv",))):
        shutil.copy(run.folder / name, copy / name)
    assert [found.folder for found in runs_in(tmp_path)] == [run.folder]
    (bare,) = find([copy])[0]
    assert (whole.raw, bare.raw) == (True, False)
    after = formats.read(copy).samples
    assert list(after["value"]) == pytest.approx(list(before["value"]))
    sql = "SELECT target, metric, estimate, ratio, verdict, stability FROM history ORDER BY file_row_number"
    for one, other in zip(query.select([whole], sql), query.select([bare], sql), strict=True):
        assert one | {"estimate": None, "ratio": None} == other | {"estimate": None, "ratio": None}
        assert one["estimate"] == pytest.approx(other["estimate"])


def test_an_older_summary_has_fewer_columns_and_an_invalid_one_is_refused(tmp_path: Path) -> None:
    run = synthetic_run(tmp_path / "run", profiles=("default",), blocks=3, warm=5)
    (found,) = _written(run, tmp_path)
    path = run.folder / "summary.csv"
    lines = [line.rsplit(",", 3)[0] for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")
    assert why_unreadable(found) == ""
    (line, *_) = query.select([found], "SELECT floor, stability FROM history")
    assert line == {"floor": None, "stability": None}
    path.write_text("case,value\na,1\n")
    assert why_unreadable(found).endswith("has a different format: no column 'target'")
    path.unlink()
    assert why_unreadable(found) == f"no summary.csv (runoff report {run.folder})"


def test_any_text_and_any_folder_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "my code é [x]"
    for day in (1, 2):
        day_run(folder, day, {"main": 10.0, "change": 10.0})
    path, reason = folder / "days-20261101-120000" / "summary.csv", 'a "b", c\nd; é \\ x'
    summary = pd.read_csv(path, keep_default_na=False)
    summary.loc[0, "reason"] = reason
    summary.to_csv(path, index=False)
    lines = query.select(runs_in(folder), "SELECT run, reason, file_row_number AS place FROM history")
    assert len(lines) == 2 * len(summary)
    assert [line for line in lines if line["reason"] == reason] == [
        {"run": "days-20261101-120000", "reason": reason, "place": 0}
    ]


def test_a_run_is_in_progress_while_it_is_measured_and_not_after_a_crash(tmp_path: Path) -> None:
    folder = day_run(tmp_path, 1, {"main": 10.0, "change": 10.0}, finished=False)
    program = "import sys, pathlib; from runoff.records.files import measuring\n"
    program += "with measuring(pathlib.Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        (row,) = past_runs(tmp_path)
        assert row["state"] == "in progress"
        with pytest.raises(RunoffError, match="is being measured by another process"), measuring(folder):
            pass
        process.kill()
        process.wait()
    (row,) = past_runs(tmp_path)
    assert row["state"].startswith("interrupted; runoff bench --resume ")
    with measuring(folder):
        pass


def test_changes_equal_those_of_compare(days: Path) -> None:
    one = made(days)
    first, second = (formats.read(run.folder) for run in runs_in(days)[1:3])
    (line,) = [
        line
        for line in compare_runs(first, second, ["latency.median"], None, different_machines=False).lines
        if line.label == CHANGE
    ]
    change = one.points[2].change
    assert change is not None
    assert msgspec.structs.replace(change.verdict, p_adjusted=0.5) == msgspec.structs.replace(
        line.verdict, p_adjusted=0.5
    )
    assert change.how == "relative to main in both runs"
    assert change.against == "days-20261102-120000"


def test_a_slow_day_is_no_change_and_an_injected_slowdown_is(days: Path) -> None:
    first, slow_day, injected, other, last = verdicts(made(days))
    assert first is None
    assert slow_day is not None
    assert slow_day.startswith("no difference")
    assert injected is not None
    assert injected.endswith(")")
    assert " % slower (" in injected
    assert other is None  # another machine
    assert last is not None


def test_the_baseline_itself_is_compared_raw_and_reported(days: Path) -> None:
    points = made(days, MAIN).points
    assert {point.change.how for point in points if point.change} == {"raw"}
    assert {point.relative_to for point in points} == {""}


def test_runs_of_different_machines_are_compared_only_if_allowed(days: Path) -> None:
    against = [point.change.against if point.change else None for point in made(days).points]
    assert against[3:] == [None, "days-20261103-120000"]
    baselines = [point.change.against if point.change else None for point in made(days, different_machines=True).points]
    assert baselines[3:] == ["days-20261103-120000", "days-20261104-120000"]


def test_p_values_are_corrected_over_all_that_is_shown(days: Path) -> None:
    points = [point for point in made(days).points if point.change]
    first, second = (formats.read(run.folder) for run in runs_in(days)[1:3])
    alone = compare_runs(first, second, ["latency.median"], None, different_machines=False)
    (line,) = [line for line in alone.lines if line.label == CHANGE]
    assert points[1].change is not None
    assert points[1].change.verdict.p_adjusted == pytest.approx(line.ratio.p * 3)  # the smallest of three changes


@pytest.mark.parametrize(
    ("by", "kept_days"),
    [("date", [1, 2, 3, 4, 5]), ("runtime", [3, 4, 5]), ("machine", [4, 5]), ("runoff", [4, 5]), ("model", [4, 5])],
)
def test_the_last_run_represents_its_version(days: Path, by: By, kept_days: list[int]) -> None:
    assert by in BY
    assert [point.started.day for point in made(days, by=by).points] == kept_days


def test_new_versions_are_named_where_they_appear(days: Path) -> None:
    new = [point.new for point in made(days).points]
    everything = ("onnxruntime 1.32.0 abc1234", "runoff 0.1.0")
    assert new[:3] == [everything, (), ()]
    assert new[3] == ("onnxruntime 1.33.0 abc1234", "runoff 0.1.0")
    assert new[4] == ("onnxruntime 1.33.0 abc1234",)


def test_a_metric_missing_from_a_run_has_a_reason(tmp_path: Path) -> None:
    run = synthetic_run(tmp_path / "one", profiles=("default",), blocks=3, warm=5, targets=("torch", "ort-rust"))
    _written(run, tmp_path)
    without = replace(run.info, run_id="two", started="2026-11-23T12:00:00Z")
    writer = RunWriter(tmp_path / "two", without)
    for record in run.records:
        if record.probe != "process":
            writer.append(record)
    summarised(tmp_path / "two")
    lines = query.lines(runs_in(tmp_path), ["process.wall"])
    one = series(lines, "net.classify.ort-rust.default.t1.b1", parse_metric("process.wall"), "date")
    assert one is not None
    assert [point.measured for point in one.points] == [True, False]
    assert one.points[1].missing.startswith("not-measured: ")
    assert "first" not in one.points[1].missing
    case = "net.classify.coreml.default.t1.b1"
    assert series(lines, case, parse_metric("process.wall"), "date") is None
    assert why_missing(lines, case, parse_metric("process.wall")).startswith("unsupported: not-installed: CoreML")
    assert why_missing(lines, case, parse_metric("life.load")).endswith("run this suite on a Mac)")


def test_cases_are_those_of_the_latest_run_or_of_the_pattern(days: Path) -> None:
    lines = query.lines(runs_in(days), ["latency.inference.warm"])
    assert cases_of(lines, "") == [MAIN, CHANGE]
    assert cases_of(lines, "*main*") == [MAIN, "net.classify.main-again.default.t1.b1"]
    with pytest.raises(RunoffError, match="--case nothing: no such case"):
        cases_of(lines, "nothing")
    with pytest.raises(RunoffError, match="no results"):
        cases_of([], "")


def test_of_many_cases_the_nearest_are_named_with_their_count() -> None:
    lines = [{"run": "one", "case": f"net.classify.target-{place}.default.t1.b1"} for place in range(40)]
    with pytest.raises(RunoffError) as refused:
        cases_of(lines, "zzz-7")
    assert refused.value.hint.startswith("the closest of 40 cases: net.classify.target-7.default.t1.b1, ")
    assert refused.value.hint.count(", ") == 4


def test_the_page_has_a_row_for_each_run_with_its_value_and_change(days: Path) -> None:
    history = History("date", [made(days)], {(CHANGE, "process.wall"): "why not"}, ["a note"], {"old": "too old"})
    text = markdown(history, {CHANGE: "plot.png"})
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| latency.median")]
    assert [row[1] for row in rows] == [f"days-2026110{day}-120000" for day in range(1, 6)]
    assert [row[2] for row in rows] == ["A", "A", "A", "B", "A"]
    assert [row[4] for row in rows][::3] == ["first", "first"]
    assert "- machine B: Other CPU, 2 cores, virtual, Linux 6.9" in text
    assert f"![{CHANGE} over time](plot.png)" in text
    for line in ("skipped: old: too old", "a note", f"no values: process.wall of {CHANGE}: why not"):
        assert f"- {line}\n" in text


def test_json_is_plain(days: Path) -> None:
    text = msgspec.json.encode(as_dict(History("date", [made(days)])))
    plain = json.loads(text)
    (one,) = plain["series"]
    assert (one["case"], one["metric"]) == (CHANGE, "latency.median")
    point = one["points"][2]
    assert point["started"] == "2026-11-03T12:00:00Z"
    assert point["figure"]["low"] < point["figure"]["value"] < point["figure"]["high"]
    assert point["change"]["differs"] is True
    assert one["points"][0]["change"] is None


def test_the_plot_has_values_and_ratios_with_intervals_by_machine(days: Path) -> None:
    one = made(days)
    history = History("date", [one])
    drawn = trend(CHANGE, [one], history.machines).to_dict()
    tables = list(drawn["datasets"].values())
    values = next(rows for rows in tables if any((row.get("value") or 0) > 4.9 for row in rows))
    ratios = next(rows for rows in tables if rows is not values and "low" in rows[0])
    assert [row["machine"] for row in values] == ["A", "A", "A", "B", "A"]
    for row, point in zip(values, one.points, strict=True):
        assert row["value"] == pytest.approx((point.figure.value or 0) / 1e6)
        assert row["low"] < row["value"] < row["high"]
    assert ratios[3]["value"] == pytest.approx(2.0, rel=0.02)
    assert {row["new"] for row in values} == {"\n".join(point.new) for point in one.points}
    assert [row["changed"] for row in values] == [False, False, False, False, True]
    image = draw(CHANGE, [one], history.machines)
    assert "onnxruntime 1.33.0 abc1234" in image
    assert "times better than main" in image


def test_machines_have_letters_and_then_numbers() -> None:
    assert [letter(place) for place in (0, 25, 26)] == ["A", "Z", "27"]
