"""Comparing runs and targets: injected differences are found, drift cancels, different machines are refused."""

from __future__ import annotations

import json
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from compared import BLOCKS, turns_run, with_record, write
from msgspec.structs import replace

from runoff.analysis.comparisons import across, noise_floor, within
from runoff.analysis.measurements import Measurements, of_run
from runoff.analysis.metric_samples import Metric
from runoff.analysis.samples import tidy
from runoff.analysis.summary import summarise
from runoff.analysis.wording import words
from runoff.cli.main import cli
from runoff.compare import formats
from runoff.compare.forest import forest
from runoff.compare.metrics import parse_metric
from runoff.compare.pairing import compare_runs, compare_targets
from runoff.compare.show import markdown
from runoff.records.errors import ExitCode, RunoffError
from runoff.statistics import adjust

if TYPE_CHECKING:
    from runoff.records.schema import Run

MEDIAN = parse_metric("latency.median")


def measured(speeds: dict[str, float], **more: Any) -> Measurements:
    return of_run(turns_run(speeds, **more))


def by_label(comparison: Any) -> dict[str, Any]:
    return {line.label.split(".")[2]: line for line in comparison.lines}


def test_two_targets_of_one_run_are_paired_by_turn() -> None:
    data = measured({"main": 10.0, "change": 10.5})
    (line,) = compare_targets(data, "main", "change", ["latency.median"]).lines
    assert line.paired
    assert line.verdict.differs
    assert line.ratio.low < 1 / 1.05 < line.ratio.high
    assert words(line.verdict).startswith(("4", "5"))
    assert "% slower" in words(line.verdict)


def test_a_target_does_not_differ_from_itself() -> None:
    data = measured({"main": 10.0, "change": 10.0})
    (line,) = compare_targets(data, "main", "change", []).lines
    assert not line.verdict.differs
    assert words(line.verdict).startswith("no difference (floor ")


def test_the_noise_floor_is_that_of_the_a_a_control() -> None:
    data = measured({"main": 10.0, "change": 10.0})
    comparison = data.comparisons[0]
    floor = noise_floor(data, comparison, MEDIAN)
    control, base = data.control(comparison), data.baseline(comparison)
    assert control is not None
    assert base is not None
    ratio = within(data, base, control, MEDIAN, "").ratio
    assert floor == pytest.approx(max((ratio.high / ratio.low) ** 0.5, ratio.value, 1 / ratio.value) - 1)
    assert noise_floor(measured({"main": 1.0, "change": 1.0}, control=False), comparison, MEDIAN) is None


def test_across_runs_the_drift_of_the_machine_cancels() -> None:
    before = measured({"main": 10.0, "change": 10.0}, seed=1)
    after = measured({"main": 10.0, "change": 10.5}, seed=2, drift=1.8)
    lines = by_label(compare_runs(before, after, [], None, different_machines=False))
    assert lines["change"].relative_to == "main"
    assert lines["change"].verdict.differs
    assert 1 / lines["change"].ratio.value == pytest.approx(1.05, abs=0.01)
    assert lines["main"].relative_to == ""
    assert 1 / lines["main"].ratio.value > 1.3


def test_raw_values_include_the_drift_and_the_text_reports_it() -> None:
    before, after = (measured({"main": 10.0, "change": 10.0}, seed=seed, drift=seed**1.0) for seed in (1, 2))
    made = compare_runs(before, after, [], "", different_machines=False)
    assert 1 / by_label(made)["change"].ratio.value == pytest.approx(2.0, rel=0.5)
    assert any("conditions differ between runs" in note for note in made.notes)
    chosen = compare_runs(before, after, [], None, different_machines=False)
    assert not by_label(chosen)["change"].verdict.differs


def test_the_ratio_of_ratios_is_the_one_of_the_units() -> None:
    before, after = (measured({"main": 10.0, "change": speed}, seed=seed) for seed, speed in ((3, 11.0), (4, 9.0)))
    label = "net.classify.change.default.t1.b1"
    one, other = (next(m for m in side.members if m.case == label) for side in (before, after))
    line = across((before, one), (after, other), MEDIAN, label, "main")
    medians = []
    for side in (before, after):
        cells = {member.target: side.cell(member, MEDIAN) for member in side.members}
        main, change = cells["main"], cells["change"]
        assert main is not None
        assert change is not None
        pairs = zip(main.processes, change.processes, strict=True)
        medians.append(sorted(float(np.median(np.log(c / m))) for m, c in pairs))
    rough = exp(np.median(medians[0]) - np.median(medians[1]))
    assert line.ratio.value == pytest.approx(rough, rel=0.01)
    assert line.ratio.n == BLOCKS


def test_a_baseline_that_changed_is_not_used() -> None:
    before, run = turns_run({"main": 10.0, "change": 10.0}), turns_run({"main": 10.0, "change": 10.0}, seed=2)
    run.info.models["net"]["sha256"] = {"onnx": "ef" * 32}
    cases = tuple(replace(case, format="onnx") for case in run.info.cases)
    run.info.cases = cases
    before.info.cases = cases
    made = compare_runs(of_run(before), of_run(run), [], None, different_machines=False)
    assert by_label(made)["change"].relative_to == ""
    assert any("main itself changed" in note for note in made.notes)


def test_different_machines_are_refused_unless_allowed() -> None:
    before, run = measured({"main": 10.0, "change": 10.0}), turns_run({"main": 10.0, "change": 10.0}, seed=2)
    run.info.machine["cpu"] = "Other CPU"
    with pytest.raises(RunoffError, match=r"different machines: .*Test CPU.*Other CPU") as caught:
        compare_runs(before, of_run(run), [], None, different_machines=False)
    assert "--allow-different-machines" in caught.value.hint
    made = compare_runs(before, of_run(run), [], None, different_machines=True)
    assert any("different machines" in note for note in made.notes)


def test_an_unknown_machine_is_reported(tmp_path: Path) -> None:
    data = measured({"main": 10.0, "change": 10.0})
    formats.write(data, tmp_path / "x.csv", None)
    made = compare_runs(data, formats.read(tmp_path / "x.csv"), [], None, different_machines=False)
    assert any("unknown machine: x" in note for note in made.notes)
    assert not any(line.verdict.differs for line in made.lines)


def test_a_failed_case_has_no_ratio_and_a_reason() -> None:
    from runoff.records.reason import Reason

    run = turns_run({"main": 10.0, "change": 10.5})
    bad = replace(run.records[1], status="error", reason=Reason("outputs-differ", "wrong by 3"))
    data = of_run(with_record(run, bad))
    (line,) = compare_targets(data, "main", "change", ["latency.median"]).lines
    assert not line.verdict.differs
    assert words(line.verdict).startswith("not comparable: change: error: outputs-differ: wrong by 3")


def test_many_comparisons_are_corrected_for() -> None:
    data = measured({"main": 10.0} | {f"change{at}": 10.0 for at in range(6)})
    made = [within(data, data.members[0], member, MEDIAN, member.case) for member in data.members[1:-1]]
    from runoff.analysis.comparisons import adjusted

    lines = adjusted(made)
    assert all(line.p_adjusted >= line.ratio.p for line in lines)
    assert any(line.p_adjusted > line.ratio.p for line in lines)


def report_lines(run: Run) -> dict[tuple[str, str], dict[Any, Any]]:
    """Return the lines on the median latency in the report of `run`, by target and baseline."""
    lines = summarise(run, tidy(run)).to_dict("records")
    return {(one["target"], one["baseline"]): one for one in lines if one["metric"] == "inference.warm"}


def test_a_pair_of_baselines_is_one_hypothesis_and_a_control_is_none() -> None:
    run = turns_run({"main": 10.0, "one": 10.02, "two": 10.04})
    run.info.baselines = ("one", "main")
    lines = report_lines(run)
    of_main = [lines["one", "main"]["p_adjusted"], lines["two", "main"]["p_adjusted"]]
    made = [compare_targets(of_run(run), "main", name, ["latency.median"]).lines[0] for name in ("one", "two")]
    assert of_main == pytest.approx(adjust([line.ratio.p for line in made]))
    assert lines["main", "one"]["p_adjusted"] == lines["one", "main"]["p_adjusted"]
    (alone,) = compare_targets(of_run(run), "one", "two", ["latency.median"]).lines
    assert lines["two", "one"]["p_adjusted"] == pytest.approx(alone.ratio.p), "the family of one: only two"
    (control,) = compare_targets(of_run(run), "main", "main-again", ["latency.median"]).lines
    with_it = adjust([*(line.ratio.p for line in made), control.ratio.p])
    assert lines["main-again", "main"]["p_adjusted"] == control.p_adjusted == pytest.approx(with_it[-1])


@pytest.mark.parametrize("seed", range(4))
def test_a_comparison_within_a_run_is_corrected_as_in_its_report(seed: int) -> None:
    run = turns_run({"main": 10.0, "one": 10.03} | {f"far{at}": 20.0 for at in range(6)}, seed=seed)
    (line,) = compare_targets(of_run(run), "main", "one", ["latency.median"]).lines
    expected = report_lines(run)["one", "main"]
    assert line.p_adjusted == pytest.approx(expected["p_adjusted"])
    assert words(line.verdict) == expected["verdict"]
    (mirrored,) = compare_targets(of_run(run), "one", "main", ["latency.median"]).lines
    assert mirrored.p_adjusted == pytest.approx(expected["p_adjusted"])


@pytest.mark.parametrize(
    ("text", "probe", "cell", "statistic"),
    [
        ("latency.median", "latency", "inference.warm", "median"),
        ("latency.p99.9", "latency", "inference.warm", "p99.9"),
        ("latency.preprocess.mean", "latency", "preprocess.warm", "mean"),
        ("latency.inference.warm.p95", "latency", "inference.warm", "p95"),
        ("latency.inference.first", "latency", "inference.first", "median"),
        ("process.wall", "process", "wall", "median"),
        ("memory.peak", "memory", "peak_memory", "median"),
        ("memory.resident.load", "memory", "resident.load", "median"),
        ("life.load", "life", "load", "median"),
    ],
)
def test_names_of_metrics(text: str, probe: str, cell: str, statistic: str) -> None:
    metric = parse_metric(text)
    assert metric == Metric(probe, cell, statistic)
    assert parse_metric(str(metric)) == metric


@pytest.mark.parametrize(
    ("text", "expected"), [("latency", "PROBE.NAME"), ("latncy.median", "latency"), ("life.load.p99", "warm")]
)
def test_invalid_names(text: str, expected: str) -> None:
    with pytest.raises(RunoffError) as caught:
        parse_metric(text)
    assert expected in str(caught.value)


def test_the_plot_has_the_noise_floor_as_a_band() -> None:
    made = compare_targets(measured({"main": 10.0, "change": 10.5}), "main", "change", [])
    (rows,) = [data for data in forest(made).to_dict()["datasets"].values() if "from" in data[0]]
    floor = made.lines[0].floor
    assert floor is not None
    assert rows[0]["to"] == pytest.approx(1 + floor)
    assert rows[0]["low"] < rows[0]["ratio"] < rows[0]["high"]


def test_markdown_has_the_verdict_and_its_baseline() -> None:
    before, after = (measured({"main": 10.0, "change": speed}, seed=seed) for seed, speed in ((1, 10.0), (2, 10.5)))
    made = compare_runs(before, after, [], None, different_machines=False)
    page = markdown(made, "compare.png")
    line = by_label(made)["change"]
    assert f"| {words(line.verdict)} | relative to main in both runs |" in page
    assert "![" in page


def compare(*arguments: object, code: int = 0, **environment: str) -> str:
    done = CliRunner().invoke(cli, ["compare", *map(str, arguments)], env=environment)
    if isinstance(done.exception, RunoffError):
        assert done.exception.code == code, done.exception
        return str(done.exception)
    assert done.exit_code == code, done.output
    return done.stdout


def test_the_command_on_two_runs(tmp_path: Path) -> None:
    before = write(turns_run({"main": 10.0, "change": 10.0}, seed=1), tmp_path / "before")
    after = write(turns_run({"main": 10.0, "change": 10.5}, seed=2), tmp_path / "after")
    shown = compare(before, after, "--out", tmp_path / "out")
    assert "relative to main in both runs" in shown
    assert "% slower" in shown
    assert {file.name for file in (tmp_path / "out").iterdir()} == {f"compare.{end}" for end in ("md", "json", "svg")}
    assert "(compare.svg)" in (tmp_path / "out" / "compare.md").read_text()
    lines = json.loads(compare(before, after, "--json"))["lines"]
    assert [line["differs"] for line in lines if ".change." in line["case"]] == [True]


def test_the_command_takes_the_latest_run(tmp_path: Path) -> None:
    for place, speed in enumerate((10.0, 12.0)):
        run = turns_run({"main": 10.0, "change": speed})
        run.info.started = f"2026-11-2{place + 1}T12:00:00Z"
        write(run, tmp_path / f"run{place}")
    shown = json.loads(compare("main", "change", "--json", RUNOFF_RESULTS=str(tmp_path)))
    assert 1 / shown["lines"][0]["ratio"] == pytest.approx(1.2, abs=0.02)
    named = json.loads(compare("main", "change", "--run", "run0", "--json", RUNOFF_RESULTS=str(tmp_path)))
    assert 1 / named["lines"][0]["ratio"] == pytest.approx(1.0, abs=0.02)


def test_the_command_compares_files_of_other_tools(tmp_path: Path) -> None:
    one = json.loads((FOREIGN / "hyperfine-2.json").read_text())
    for name, keep in (("before", 1), ("after", 0)):
        (tmp_path / f"{name}.json").write_text(json.dumps(one | {"results": [one["results"][keep]]}))
    shown = compare(tmp_path / "before.json", tmp_path / "after.json", "--metric", "process.wall")
    assert "the only case of each: slow and quick" in shown
    assert "faster" in shown
    assert "unknown machine: " in shown


FOREIGN = Path(__file__).with_name("foreign")


def hyperfine(folder: Path, name: str, *names: str, **fields: list[Any]) -> Measurements:
    """Return a file of hyperfine 1.x with a command called as `names` each, every time 1 ms longer than the last."""
    results = [
        {"command": command, "times": [(10 + place + step / 100) / 1000 for step in range(8)]}
        | {key: values[place] for key, values in fields.items()}
        for place, command in enumerate(names)
    ]
    file = folder / f"{name}.json"
    file.write_text(json.dumps({"results": results}))
    return formats.read(file)


@pytest.mark.parametrize("file", ["hyperfine-1.json", "hyperfine-2.json"])
def test_several_commands_of_hyperfine_are_compared_one_by_one(file: str) -> None:
    before, after = formats.read(FOREIGN / file), formats.read(FOREIGN / file)
    made = compare_runs(before, after, ["process.wall"], None, different_machines=False)
    assert len(made.lines) == 2
    for line in made.lines:
        assert (line.reason, line.relative_to) == ("", "")
        assert line.ratio.value == pytest.approx(1)
        assert line.verdict.tied
    named = compare_runs(before, after, ["process.wall"], before.members[0].target, different_machines=False)
    assert "no block has values above zero of both" in words(named.lines[1].verdict)


def test_commands_of_one_name_are_matched_by_their_parameters(tmp_path: Path) -> None:
    parameters = [{"threads": "1"}, {"threads": "2"}]
    before = hyperfine(tmp_path, "before", "run", "run", parameters=parameters)
    after = hyperfine(tmp_path, "after", "run", "run", parameters=parameters[::-1])
    made = compare_runs(before, after, [], None, different_machines=False)
    ratios = {line.label: line.ratio.value for line in made.lines}
    assert ratios == {"run (threads=1)": pytest.approx(10 / 11, 0.01), "run (threads=2)": pytest.approx(11 / 10, 0.01)}


def test_commands_without_a_common_name_are_matched_by_position(tmp_path: Path) -> None:
    before, after = hyperfine(tmp_path, "before", "a", "b"), hyperfine(tmp_path, "after", "c", "d")
    made = compare_runs(before, after, [], None, different_machines=False)
    assert [line.ratio.value for line in made.lines] == pytest.approx([1, 1])
    assert "no names in common, compared by position: a and c; b and d" in made.notes
    one_less = hyperfine(tmp_path, "less", "c")
    with pytest.raises(RunoffError, match="have no metric of the same case"):
        compare_runs(before, one_less, [], None, different_machines=False)
    # cases of runoff have meaningful names
    one, other = (measured(dict.fromkeys(names, 10.0), control=False) for names in (("a", "b"), ("c", "d")))
    with pytest.raises(RunoffError, match="have no metric of the same case"):
        compare_runs(one, other, [], None, different_machines=False)


@pytest.mark.parametrize(
    ("arguments", "expected", "code"),
    [
        (("nowhere", "{run}"), "nowhere: no such run or file", ExitCode.BAD_INPUT),
        (("main", "chnage", "--run", "{run}"), "did you mean 'change'", ExitCode.BAD_INPUT),
        (("main", "change", "--run", "{run}", "--raw"), "apply to two runs", ExitCode.BAD_INPUT),
        (("{run}", "{run}", "--raw", "--relative-to", "main"), "cannot be combined", ExitCode.BAD_INPUT),
        (("{run}", "{run}", "--relative-to", "man"), "did you mean 'main'", ExitCode.BAD_INPUT),
        (("main", "change", "--run", "nowhere"), "nowhere", ExitCode.BAD_INPUT),
    ],
)
def test_bad_input_is_named(arguments: tuple[str, ...], expected: str, code: int, tmp_path: Path) -> None:
    run = write(turns_run({"main": 10.0, "change": 10.0}), tmp_path / "run")
    filled = [argument.format(run=run) for argument in arguments]
    assert expected in compare(*filled, code=code, RUNOFF_RESULTS=str(tmp_path))


def test_json_is_what_msgspec_reads(tmp_path: Path) -> None:
    run = write(turns_run({"main": 10.0, "change": 10.0}), tmp_path / "run")
    shown = msgspec.json.decode(compare("main", "change", "--run", run, "--json"))
    assert set(shown) == {"first", "second", "unfair", "notes", "lines"}
