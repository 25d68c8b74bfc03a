"""The reports of a run: terminal, JSON, Markdown, plots and files."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from synthetic import case_of, record, result_of, run_of, synthetic_run

from runoff.analysis.analyse import Analysis, analyse
from runoff.protocol import Effective
from runoff.reason import Reason
from runoff.report.build import write_report
from runoff.report.markdown import report, table
from runoff.report.overview import as_dict, blocks, headlines, missing
from runoff.report.palette import PHASES, TARGETS, target_colours
from runoff.report.terminal import audit_lines, harness_line, show
from runoff.report.text import Figure, full, interval, number, plural

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return analyse(synthetic_run(blocks=6))


def printed(analysis: Analysis) -> str:
    console = Console(width=160, record=True, file=None, quiet=False, force_terminal=False)
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
    assert lines[0].startswith("default, whole process: ort-rust is the quickest, ")
    assert "against torch" in lines[0]
    assert not any("null-rust is" in line for line in lines)


def test_terminal_shows_targets_reasons_and_the_harness(analysis: Analysis) -> None:
    text = printed(analysis)
    for word in ("ort-rust", "coreml", "unsupported", "CoreML runs on macOS only", "not supported", "harness: 5.3%"):
        assert word in text
    assert "nan" not in text.lower()


def test_terminal_opens_with_what_is_unfair() -> None:
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
    assert printed(unfair).startswith("not a fair comparison: same engine")


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
    assert {point["outcome"] for point in plain["audit"]} == {"ok"}


def test_what_is_missing_is_grouped_by_reason(analysis: Analysis) -> None:
    entries = {entry.reason: entry for entry in missing(analysis.summary)}
    counters = entries["perf on this machine: not supported"]
    assert len(counters.cases) == 10
    assert "counters ipc" in counters.metrics


def test_markdown_holds_every_part(analysis: Analysis) -> None:
    text = report(analysis, [])
    for part in (
        "## Verdicts",
        "## Life of a process",
        "## Probe process",
        "## Probe latency",
        "## Same answer",
        "## Fairness audit",
        "## Not measured",
        "## The harness",
        "## Machine and versions",
        "samples.csv",
        "Test CPU",
    ):
        assert part in text
    assert "nan" not in text.lower()
    assert "perf version | missing" in text


def test_markdown_of_an_empty_run_says_so() -> None:
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
    kinds = [f"{kind}-net-classify-t1-b{batch}" for kind in ("life", "ratio", "warm", "memory") for batch in (1, 4)]
    kinds.append("batch-net-classify-t1")
    plots = {f"plots/{kind}.{suffix}" for kind in kinds for suffix in ("png", "svg")}
    assert names == plots | {"samples.csv", "summary.csv", "report.md"}
    left = {str(path.relative_to(run.folder)) for path in run.folder.rglob("*") if path.is_file()}
    assert left == names
    assert (run.folder / "plots/life-net-classify-t1-b1.png").read_bytes().startswith(b"\x89PNG")
    svg = (run.folder / "plots/life-net-classify-t1-b1.svg").read_text()
    for label in ("torch", "imports", "Test CPU", "without torch", "1 thread"):
        assert label in svg
    text = (run.folder / "report.md").read_text()
    assert all(f"(plots/{kind}.png)" in text for kind in kinds)
    again = pd.read_csv(run.folder / "summary.csv")
    assert len(again) == len(analyse(run).summary)


def test_a_run_without_any_result_has_a_report_and_no_plot(tmp_path: Path) -> None:
    paths = write_report(analyse(run_of([case_of("torch", probes=("process",))], [], tmp_path)))
    assert sorted(path.name for path in paths) == ["report.md", "samples.csv", "summary.csv"]


def test_targets_that_runoff_does_not_know_are_drawn_too(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (Figure(41_234_567.0, 40_112_000.0, 43_001_000.0, "ns", 10), "41 ms (40 to 43)"),
        (Figure(41_234_567.0, 41_101_000.0, 41_399_000.0, "ns", 10), "41.2 ms (41.1 to 41.4)"),
        (Figure(5_900_000.0, 5_850_000.0, 5_950_000.0, "ns", 10), "5.90 ms (5.85 to 5.95)"),
        (Figure(14_500.0, 14_000.0, 15_000.0, "ns", 10), "14.5 µs (14.0 to 15.0)"),
        (Figure(12_300_000_000.0, None, None, "ns", 1), "12.3 s"),
        (Figure(853e6, 852e6, 855e6, "bytes", 10), "853 MB (852 to 855)"),
        (Figure(5000.0, 4990.0, 5020.0, "count", 10), "5,000 (4,990 to 5,020)"),
        (Figure(0.98, None, None, "CPUs", 1), "0.980 CPUs"),
        (Figure(0.0, None, None, "ns", 1), "0 µs"),
        (Figure(), ""),
    ],
)
def test_numbers_have_human_units_and_supported_digits(figure: Figure, text: str) -> None:
    assert full(figure) == text


@given(st.floats(1.0, 1e13), st.floats(0.0, 0.5))
def test_printed_intervals_are_in_the_unit_of_their_number(value: float, width: float) -> None:
    figure = Figure(value, value * (1 - width), value * (1 + width), "ns", 9)
    low, high = (float(word.replace(",", "")) for word in interval(figure).split(" to "))
    printed_value = float(number(figure).split(" ")[0].replace(",", ""))
    assert low <= printed_value <= high


def test_plurals() -> None:
    assert [plural(1, "thread"), plural(2, "thread"), plural(2, "process")] == ["1 thread", "2 threads", "2 processes"]


def test_harness_over_its_bar_is_said() -> None:
    run = synthetic_run(blocks=1)
    run.info.measured_ns = run.info.measured_ns // 2
    assert "over the bar of 10%" in harness_line(analyse(run).harness)


def test_swept_settings_are_told_apart() -> None:
    usual, swept = case_of("ort-python"), case_of("ort-python", optimization="disable")
    swept = msgspec.structs.replace(swept, id=f"{swept.id}.optimization-disable")
    records = [record(case, "life", 0, exit_ns=9, result=result_of(case)) for case in (usual, swept)]
    (block,) = blocks(analyse(run_of([usual, swept], records)))
    assert block.profiles == ["default", "default, optimization-disable"]
