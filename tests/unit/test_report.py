"""The reports of a run: terminal, JSON, Markdown, plots and files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from synthetic import CONTROL, case_of, record, result_of, run_of, synthetic_run, turned_of

from runoff.analysis.analyse import Analysis, analyse
from runoff.analysis.verdict import Verdict
from runoff.records.files import read_run
from runoff.records.protocol import Effective, Timings
from runoff.records.reason import Reason
from runoff.records.schema import Run, Stop
from runoff.report import curves
from runoff.report.build import write_report
from runoff.report.frame import WIDE
from runoff.report.markdown import MOST, report
from runoff.report.measured import how_lines, stop_words
from runoff.report.overview import as_dict, blocks, missing, outliers
from runoff.report.palette import CONTROL as CONTROL_COLOUR
from runoff.report.palette import PHASES, TARGETS, target_colours
from runoff.report.tables import table
from runoff.report.terminal import audit_lines, block_table, harness_line, show
from runoff.report.text import Figure, interval, number
from runoff.report.verdicts import headlines

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return analyse(synthetic_run(blocks=6))


@pytest.fixture(scope="module")
def live() -> Analysis:
    """Return a run with A/A controls, interleaved inferences and a requested precision."""
    run = synthetic_run(profiles=("default",), blocks=10, live=True)
    run.info.precision, run.info.time_s = 0.02, 600.0
    run.info.stops = {
        "process": Stop(cause="blocks", blocks=10),
        "latency": Stop(cause="precision", blocks=9, widest=0.019, widest_case="net.classify.torch"),
    }
    return analyse(run)


def printed(analysis: Analysis, width: int = 160) -> str:
    console = Console(width=width, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as capture:
        show(analysis, console)
    return capture.get()


def test_blocks_go_profile_by_profile(analysis: Analysis) -> None:
    (block,) = blocks(analysis)
    assert block.title == "net, classify, 1 thread, batch 1"
    assert block.profiles == ["default", "cold"]
    assert [row.target for row in block.rows if row.profile == "cold"] == [
        "torch",
        "ort-python",
        "ort-rust",
        "ort-pyo3",
        "null-rust",
    ]


def test_headlines_name_the_best_target_that_computes(analysis: Analysis) -> None:
    lines = headlines(blocks(analysis)[0])
    assert lines[0].startswith("default, process time: ort-rust is the fastest, ")
    assert "faster than torch" in lines[0]
    assert not any("null-rust is" in line for line in lines)


def test_terminal_shows_targets_reasons_and_the_harness(analysis: Analysis) -> None:
    text = printed(analysis)
    for word in (
        "ort-rust",
        "unavailable: coreml (1 case)",
        "CoreML runs on macOS only",
        "not supported",
        "harness: 5.3%",
    ):
        assert word in text
    assert "nan" not in text.lower()


def test_terminal_starts_with_unfair_comparisons() -> None:
    python, rust = case_of("ort-python"), case_of("ort-rust")
    other = Effective("onnxruntime", "1.31.1", "rust", "cpu", 1, "abc1234", "/env/libonnxruntime.so.1.32.0")
    records = [
        record(python, "life", 0, exit_ns=9, result=result_of(python)),
        record(rust, "life", 0, exit_ns=9, result=result_of(rust, effective=other)),
    ]
    unfair = analyse(run_of([python, rust], records))
    (line,) = audit_lines(unfair)
    assert "same engine" in line
    assert "1.31.1" in line
    start = "not a fair comparison: ort-rust in net, classify, default, t1, b1: same engine: "
    assert printed(unfair).startswith(start)


def test_only_the_lines_of_a_target_that_deviates_are_unfair() -> None:
    run = synthetic_run(profiles=("default",), blocks=6, live=True)
    records = tuple(
        msgspec.structs.replace(item, turned=turned_of(busy_threads=2, warmup=6, waiting_share=0.0))
        if (item.probe, item.case.split(".")[2]) == ("latency", "torch")
        else item
        for item in run.records
    )
    run.info.baselines = ("ort-python",)
    analysis = analyse(Run(run.folder, run.info, records))
    (block,) = blocks(analysis)
    assert {row.target: row.deviation for row in block.rows if row.deviation} == {"torch": "differs: threads"}
    assert not any("not a fair comparison" in line for line in headlines(block))
    assert "not a fair comparison: torch in net, classify, default, t1, b1: threads" in printed(analysis)
    assert "torch (differs: threads)" in report(analysis, [])
    run.info.baselines = ("torch",)
    (block,) = blocks(analyse(Run(run.folder, run.info, records)))
    assert all("not a fair comparison; differs: threads" in line for line in headlines(block))


def test_json_is_plain_and_has_null_where_nothing_was_measured(analysis: Analysis) -> None:
    plain = json.loads(json.dumps(as_dict(analysis), allow_nan=False))
    rows = plain["blocks"][0]["rows"]
    coreml = next(row for row in rows if row["target"] == "coreml")
    assert coreml["wall"]["value"] is None
    assert coreml["status"] == "unsupported"
    rust = next(row for row in rows if row["target"] == "ort-rust")
    assert rust["wall"]["low"] < rust["wall"]["value"] < rust["wall"]["high"]
    assert "faster" in rust["wall_vs"]["torch"]
    assert plain["harness"]["own_share"] == pytest.approx(30 / 570)
    assert {point["outcome"] for point in plain["audit"]} == {"ok", "unknown"}
    assert plain["stops"] == {}


def test_json_has_the_evidence_of_the_verdicts(live: Analysis) -> None:
    plain = json.loads(json.dumps(as_dict(live), allow_nan=False))
    (rust,) = [
        line
        for line in plain["ratios"]
        if (line["target"], line["metric"], line["baseline"]) == ("ort-rust", "wall", "ort-python")
    ]
    assert 0 <= rust["p_adjusted"] < 0.001
    assert 0 < rust["floor"] < 0.5
    assert rust["ratio_low"] < rust["ratio"] < rust["ratio_high"]
    assert plain["stops"]["latency"]["cause"] == "precision"
    assert plain["timed"] == [how_lines(live.run)[0]]
    assert plain["stability"]["net.classify.torch.default.t1.b1"]["evidence"]
    assert {row["stability"] for row in plain["blocks"][0]["rows"] if row["target"] != "coreml"} <= {
        *("stable", "noisy", "drifting", "throttled", "not warmed up", "unknown")
    }
    assert {entry["metric"] for entry in plain["outliers"]} >= {"wall", "inference.warm"}
    (control,) = [row for row in plain["blocks"][0]["rows"] if row["twin_of"]]
    assert (control["target"], control["twin_of"]) == (CONTROL, "ort-python")


def test_the_control_is_dim_and_shows_its_own_result(live: Analysis) -> None:
    (block,) = blocks(live)
    shown = block_table(block)
    place = next(place for place, row in enumerate(block.rows) if row.target == CONTROL) + 1  # below the profile's name
    assert shown.rows[place].style == "dim"
    assert [row.style for row in shown.rows].count("dim") == 1
    text = report(live, [])
    assert "*ort-python-again*" in text
    assert block.rows[place - 1].wall_vs["ort-python"].kind == "A/A"
    assert "no difference (floor" in text


def test_a_control_never_wins(live: Analysis) -> None:
    (block,) = blocks(live)
    rows = [
        msgspec.structs.replace(row, warm=Figure(1.0, 0.9, 1.1, "ns", 9)) if row.control_of else row
        for row in block.rows
    ]
    lines = headlines(msgspec.structs.replace(block, rows=rows))
    assert not any(CONTROL in line for line in lines)


BASELINE = Verdict("baseline")


def test_a_first_place_that_is_no_difference_is_not_called_the_fastest(live: Analysis) -> None:
    (block,) = blocks(live)
    quick = {"ort-python": 5.0, "ort-rust": 5.1}
    rows = [
        msgspec.structs.replace(
            row,
            warm=Figure(quick.get(row.target, 50.0) * 1e6, None, None, "ns", 9),
            warm_vs={"ort-python": Verdict("no difference", floor=0.021) if row.target == "ort-rust" else BASELINE},
        )
        for row in block.rows
    ]
    line = headlines(msgspec.structs.replace(block, rows=rows))[1]
    assert line == (
        "default, warm inference: ort-python comes first, 5.00 ms: no difference from ort-rust (floor 2.1 %)."
    )


@pytest.mark.parametrize("target", ["ort-pyo3", "a-target-of-mine"])
def test_the_terminals_table_fits_into_80_columns(live: Analysis, target: str) -> None:
    run = live.run
    cases = tuple(
        msgspec.structs.replace(case, target=target) if case.target == "ort-pyo3" else case for case in run.info.cases
    )
    made = analyse(Run(run.folder, msgspec.structs.replace(run.info, cases=cases), run.records))
    text = printed(made, 80)
    table_lines = text[: text.index("warm inferences, interleaved")].splitlines()
    assert max(map(len, table_lines)) <= 80
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    (block,) = blocks(made)
    for row in block.rows:
        for figure in (row.wall, row.warm, row.peak):
            assert interval(figure).replace(" to ", "\N{EN DASH}") in text
            assert number(figure) in text


def test_a_failed_point_is_in_the_headline() -> None:
    run = synthetic_run(profiles=("default",), blocks=6, live=True)
    records = tuple(
        msgspec.structs.replace(item, turned=turned_of(busy_threads=2, warmup=6, waiting_share=0.0))
        if (item.probe, item.case.split(".")[2]) == ("latency", "ort-rust")
        else item
        for item in run.records
    )
    unfair = analyse(Run(run.folder, run.info, records))
    lines = headlines(blocks(unfair)[0])
    assert lines[0].startswith("default, process time (not a fair comparison; differs: threads): ort-rust is the")
    text = report(unfair, [])
    assert "**Warning.**" in text[: text.index("## Verdicts")]
    assert printed(unfair).startswith(
        "not a fair comparison: ort-rust in net, classify, default, t1, b1: threads: ort-rust requested"
    )


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        (Stop(cause="blocks", blocks=3), "p: 3 blocks, as requested by the suite"),
        (
            Stop(cause="precision", blocks=1, widest=0.019, widest_case="net.torch"),
            "p: 1 block, reached the requested precision (2.0%); the widest interval is \u00b11.9% (net.torch)",
        ),
        (
            Stop(cause="time", blocks=4, widest=0.12),
            "p: 4 blocks, reached the time limit (600 s for the run); the widest interval is \u00b112%",
        ),
    ],
)
def test_the_reason_why_sampling_stopped_is_reported(live: Analysis, stop: Stop, expected: str) -> None:
    assert stop_words("p", stop, live.run.info) == expected


def test_ways_of_timing_are_named_with_their_targets(analysis: Analysis, live: Analysis) -> None:
    (own,) = how_lines(analysis.run)
    assert own.startswith("warm inferences, by the runner itself: ")
    assert own.endswith("were checked")
    assert how_lines(live.run)[0].startswith("warm inferences, interleaved: ")
    records = [msgspec.structs.replace(item, turned=turned_of(group_size=1)) for item in live.run.records[:1]]
    mixed = how_lines(run_of(live.run.info.cases, [*live.run.records, *analysis.run.records, *records]))
    assert mixed[1].endswith("(torch, ort-python, ort-rust, ort-pyo3, null-rust)")


def test_outliers_are_counted_and_stay_in_the_plot(live: Analysis) -> None:
    run, case = live.run, next(case for case in live.run.info.cases if case.target == "ort-rust")
    at = next(place for place, item in enumerate(run.records) if (item.case, item.probe) == (case.id, "latency"))
    result = run.records[at].result
    assert result is not None
    slow = (*result.samples["inference"].warm_ns[:-1], 10**9)
    corrupted = msgspec.structs.replace(result, samples={"inference": Timings(1, 1, slow)})
    records = list(run.records)
    records[at] = msgspec.structs.replace(records[at], result=corrupted)
    made = analyse(Run(run.folder, run.info, tuple(records)))
    (found,) = [entry for entry in outliers(made) if (entry.case, entry.metric) == (case.id, "inference.warm")]
    assert found.severe >= 1
    assert found.n == 10 * 60
    assert f"| {case.id} | latency inference.warm | 600 | {found.mild} | {found.severe} |" in report(made, [])
    drawn = curves.warm(made.samples, blocks(made)[0], WIDE).to_dict()
    largest = max(row["ms"] for rows in drawn["datasets"].values() for row in rows if row.get("target") == "ort-rust")
    assert largest == 1000.0


@pytest.mark.parametrize("share", [0.5, 1])
def test_inferences_shorter_than_a_browsers_clock_are_drawn_as_far_as_possible(live: Analysis, share: float) -> None:
    samples = live.samples.copy()
    warm = samples.index[(samples["phase"] == "warm") & (samples["metric"] == "inference")]
    samples.loc[warm[: int(share * len(warm))], "value"] = 0.0
    drawn = curves.warm(samples, blocks(live)[0], WIDE)
    assert (drawn is None) == (share == 1)


def test_a_suite_may_define_its_baselines(tmp_path: Path) -> None:
    run = synthetic_run(tmp_path, profiles=("default",), blocks=6)
    run.info.baselines = ("ort-rust",)
    made = analyse(run)
    (block,) = blocks(made)
    assert block.baselines == ["ort-rust"]
    headings = [str(column.header) for column in block_table(block).columns]
    assert headings.count("vs ort-\nrust") == 2
    assert "vs torch" not in report(made, [])
    write_report(made)
    assert "against ort-rust" in (tmp_path / "plots/ratio-net-classify-t1-b1.svg").read_text()


@pytest.mark.parametrize("name", ["quick", "full"])
def test_published_runs_without_raw_records_still_give_a_report(name: str) -> None:
    made = analyse(read_run(REFERENCE / name))
    text = report(made, [])
    assert len(text) <= MOST
    assert "<summary>Stability</summary>" in text or "Stability" in text.rsplit("Left out", 1)[1]
    assert "nan" not in printed(made).lower()


def test_missing_values_are_grouped_by_reason(analysis: Analysis) -> None:
    entries = {entry.reason: entry for entry in missing(analysis.summary)}
    counters = entries["perf on this machine: not supported"]
    assert len(counters.cases) == 10
    assert "counters ipc" in counters.metrics


def test_markdown_holds_every_part(analysis: Analysis) -> None:
    text = report(analysis, [])
    for part in (
        "## Verdicts",
        "## Not measured",
        "<summary>How it was measured</summary>",
        "<summary>Stability</summary>",
        "<summary>Ratios</summary>",
        "<summary>Outliers</summary>",
        "<summary>Phases of a process</summary>",
        "<summary>Probe process</summary>",
        "<summary>Probe latency</summary>",
        "<summary>Same output</summary>",
        "<summary>Fairness audit</summary>",
        "<summary>The harness</summary>",
        "<summary>Machine and versions</summary>",
        "samples.csv",
        "Test CPU",
    ):
        assert part in text
    assert "nan" not in text.lower()
    assert "perf version | missing" in text


def test_markdown_of_an_empty_run() -> None:
    reason = Reason("not-installed", "no | environment\nhere")
    text = report(analyse(run_of([case_of("torch", skipped=reason)], [])), [])
    assert "Nothing was measured." in text
    assert "No outputs were compared" in text
    assert "not-installed: no | environment" in text


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_markdown_rows_keep_their_columns(cells: list[str]) -> None:
    lines = table(["a"] * len(cells), [cells]).split("\n")
    assert len(lines) == 3
    assert lines[2].replace("\\|", "").count("|") == len(cells) + 1


def test_report_writes_every_file_whole(tmp_path: Path) -> None:
    run = synthetic_run(tmp_path / "run", profiles=("default",), batches=(1, 4), blocks=6, warm=10)
    paths = write_report(analyse(run))
    names = {str(path.relative_to(run.folder)) for path in paths}
    drawn = ("life", "ratio", "warm", "pareto", "memory")
    kinds = [f"{kind}-net-classify-t1-b{batch}" for kind in drawn for batch in (1, 4)]
    kinds += ["batch-net-classify-t1", "sweep-batch-net-classify-0"]
    plots = {f"plots/{kind}.svg" for kind in kinds}
    assert names == plots | {"samples.csv", "summary.csv", "report.md", "report.html"}
    left = {str(path.relative_to(run.folder)) for path in run.folder.rglob("*") if path.is_file()}
    assert left == names
    svg = (run.folder / "plots/life-net-classify-t1-b1.svg").read_text()
    for label in ("torch", "imports", "Test CPU", "without torch", "1 thread"):
        assert label in svg
    text = (run.folder / "report.md").read_text()
    assert all(f"(plots/{kind}.svg)" in text for kind in kinds)
    again = pd.read_csv(run.folder / "summary.csv")
    assert len(again) == len(analyse(run).summary)


def test_a_run_without_any_result_has_a_report_and_no_plot(tmp_path: Path) -> None:
    paths = write_report(analyse(run_of([case_of("torch", probes=("process",))], [], tmp_path)))
    assert sorted(path.name for path in paths) == ["report.html", "report.md", "samples.csv", "summary.csv"]


def test_custom_targets_are_drawn_too(tmp_path: Path) -> None:
    run = synthetic_run(tmp_path, profiles=("default",), blocks=6, warm=5)
    cases = tuple(
        msgspec.structs.replace(case, target="mine") if case.target == "ort-pyo3" else case for case in run.info.cases
    )
    run.info.cases = cases
    write_report(analyse(run))
    assert "mine" in (tmp_path / "plots/ratio-net-classify-t1-b1.svg").read_text()


def test_plot_libraries_are_imported_late() -> None:
    code = "import sys, runoff.report.build, runoff.report.terminal; sys.exit('altair' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], check=False, env={"PYTHONPATH": ":".join(sys.path)}).returncode
        == 0
    )


def test_colours_are_distinct() -> None:
    assert len(set(PHASES.values())) == len(PHASES)
    mixed = target_colours([*TARGETS, "mine", "yours"])
    assert len(set(mixed.values())) == len(mixed)
    assert target_colours([CONTROL, "mine"]) == {CONTROL: CONTROL_COLOUR, "mine": mixed["mine"]}


def test_harness_overhead_above_the_threshold_is_reported() -> None:
    run = synthetic_run(blocks=1)
    run.info.measured_ns = run.info.measured_ns // 2
    assert "over the threshold of 10%" in harness_line(run.info)


def test_swept_settings_are_distinguished() -> None:
    usual, swept = case_of("ort-python"), case_of("ort-python", optimization="disable")
    swept = msgspec.structs.replace(swept, id=f"{swept.id}.optimization-disable")
    records = [record(case, "life", 0, exit_ns=9, result=result_of(case)) for case in (usual, swept)]
    (block,) = blocks(analyse(run_of([usual, swept], records)))
    assert block.profiles == ["default", "default, optimization-disable"]
