"""``report.md`` in a pull request: the first screen, folded sections, and omitted sections."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import case_of, run_of, synthetic_run

from runoff.analysis.analyse import Analysis, analyse
from runoff.analysis.verdict import Verdict
from runoff.records.reason import Reason
from runoff.records.schema import Footprint
from runoff.report import markdown
from runoff.report.markdown import MOST, overview, report
from runoff.report.overview import blocks
from runoff.report.sections import IN_FILES, Section, sections, validity, varied
from runoff.report.text import Figure
from runoff.report.verdicts import answers

FOLDED = re.compile(r"<details>\n<summary>([^\n]*)</summary>\n\n(.*?)\n\n</details>", re.DOTALL)
PLOTS = [Path("plots/life.svg")]


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return analyse(synthetic_run(blocks=6, live=True))


@pytest.fixture(scope="module")
def wide() -> Analysis:
    return analyse(synthetic_run(blocks=3, warm=5, batches=tuple(range(1, 13))))


def first_screen(text: str) -> str:
    return text[: text.index("<details>")]


def test_the_first_screen_has_verdicts_table_and_missing_values(analysis: Analysis) -> None:
    shown = first_screen(report(analysis, PLOTS))
    places = [shown.index(word) for word in ("Test CPU", "## Verdicts", "ort-rust", "| profile |", "## Not measured")]
    assert places == sorted(places)
    assert "perf on this machine: not supported" in shown
    assert "![" not in shown
    assert len(shown) < 6_000


def test_all_the_rest_is_folded_with_the_empty_lines_that_github_needs(analysis: Analysis) -> None:
    text = report(analysis, PLOTS)
    folded = dict(FOLDED.findall(text))
    parts = (*validity(analysis), *varied(analysis), *sections(analysis, PLOTS))
    assert [part.title for part in parts] == list(folded)
    assert list(folded)[:2] == ["Fairness audit", "Stability"]
    assert folded["Plots"] == f"{IN_FILES}\n\n![life](plots/life.svg)"
    assert text.count("![") == 1
    assert text.count("<details>") == text.count("</details>") == len(folded)
    assert FOLDED.sub("", text).count("##") == 3  # verdicts, the block and missing values
    for part in folded.values():
        assert not part.startswith("\n")
        assert "| --- |" not in part or re.search(r"(^|\n\n)\|.*\|\n\| --- ", part)


def test_disk_use_of_a_case(analysis: Analysis) -> None:
    first, second = (case.id for case in analysis.run.info.cases[:2])
    info = msgspec.structs.replace(
        analysis.run.info,
        footprints={
            first: Footprint({"program": 3_000_000, "model": 500_000}, {"program": 900_000}, 2, None),
            second: Footprint(reason="not known"),
        },
    )
    changed = dataclasses.replace(analysis, run=msgspec.structs.replace(analysis.run, info=info))
    (shown,) = (section.text for section in sections(changed, PLOTS) if section.title == "Footprint")
    assert f"| {first} | 3.00 MB | 0.500 MB | 3.50 MB | 0.900 MB | 2 | 2,5" in shown
    assert re.search(rf"\| {second} \|  \|  \|  \|  \|  \| 18\d ms .* \| not known \|", shown)


def test_controls_and_null_runners_have_no_footprint_and_details_of_the_audit_are_in_one_row(
    analysis: Analysis,
) -> None:
    sizes = {case.id: Footprint({"program": 3_000_000}) for case in analysis.run.info.cases}
    info = msgspec.structs.replace(analysis.run.info, footprints=sizes)
    changed = dataclasses.replace(analysis, run=msgspec.structs.replace(analysis.run, info=info))
    shown = {part.title: part.text for part in (*validity(changed), *sections(changed, []))}
    assert "null-" in "".join(sizes)
    assert "null-" not in shown["Footprint"]
    assert "-again." not in shown["Footprint"]
    rows = [line for line in shown["Fairness audit"].splitlines()[2:] if line.startswith("|")]
    assert len(rows) == len({(point.point, point.outcome) for point in analysis.audit})


def test_unavailable_cases_are_a_line_below_the_table(analysis: Analysis) -> None:
    (block,) = blocks(analysis)
    assert "coreml" not in overview(block)
    line = "- unavailable: coreml (1 case): not-installed: CoreML runs on macOS only (run this suite on a Mac)"
    assert line in first_screen(report(analysis, [])).partition("## Not measured")[2]


def test_a_constant_column_is_omitted(analysis: Analysis) -> None:
    (block,) = blocks(analysis)
    head = overview(block).splitlines()[0]
    assert "warm inference" in head
    assert "status" not in head
    odd = [msgspec.structs.replace(row, status="error") for row in block.rows]
    assert "status" in overview(msgspec.structs.replace(block, rows=odd)).splitlines()[0]


def test_several_blocks_are_a_board_and_each_is_folded_under_its_first_verdict(wide: Analysis) -> None:
    text = report(wide, [])
    shown = first_screen(text)
    assert "### " not in shown
    assert "| comparison | one short process | many calls | least memory |" in shown
    rows = [line for line in shown.splitlines() if line.startswith("| net, classify, 1 thread, batch ")]
    assert len(rows) == 12
    assert all(" | ort-rust: " in row for row in rows)
    cases = sum(len(block.present) for block in blocks(wide))
    counts = shown[shown.index("Stability of the cases: ") :].splitlines()[0]
    assert sum(int(count) for count in re.findall(r"\d+", counts)) == cases
    titles = [title for title, _ in FOLDED.findall(text) if title.startswith("net, classify, 1 thread, batch")]
    assert len(titles) == 12
    assert all(": default, process time: ort-rust is the fastest, " in title for title in titles)


def test_the_board_reports_ties_single_values_and_unfair_comparisons(wide: Analysis) -> None:
    (found, *_) = answers(blocks(wide)[0])
    odd = msgspec.structs.replace(
        found,
        figure=Figure(2e6, unit="ns"),
        versus={"near": Verdict("no difference"), "far": Verdict("undecided", 1.0, 0.5, 2.0)},
        level=["near"],
        unfair=["threads"],
    )
    words = "2.00 ms; one value; not distinguishable from far; not a fair comparison: threads"
    assert markdown._first(odd) == f"ort-rust or near: {words}"
    assert markdown._first(None) == ""


def test_omitted_percentiles_are_counted_as_not_measured(analysis: Analysis) -> None:
    lines = analysis.summary[analysis.summary["metric"].str.contains(".p99", regex=False)]
    assert {*lines["status"]} == {"not-measured"}
    count = len(lines.drop_duplicates(["case", "probe", "metric"]))
    assert f"- too few samples for {count} percentiles" in first_screen(report(analysis, []))


def test_sections_that_do_not_fit_into_a_comment_are_omitted_and_named(wide: Analysis) -> None:
    text = report(wide, PLOTS)
    assert len(text) <= MOST
    end = text[text.rindex("Omitted to fit ") :]
    assert "Probe latency" in end
    assert "[report.html](report.html) (a file next to this one) has everything." in end
    titles = [title for title, _ in FOLDED.findall(text)]
    whole = {part.title: part.text for part in (*validity(wide), *varied(wide), *sections(wide, PLOTS))}
    assert all(part == whole[title] for title, part in FOLDED.findall(text) if title in whole)
    assert set(whole) == {title for title in whole if title in titles or title in end}
    assert not re.search(r"(?m)^\|(?!.*\|$)", text)


@given(
    st.lists(st.integers(0, 300), max_size=8),
    st.integers(-100, 900),
)
def test_parts_that_fit_never_take_more_than_the_room(sizes: list[int], room: int) -> None:
    parts = [Section(str(place), "x" * size) for place, size in enumerate(sizes)]
    texts, dropped = markdown._fitting(parts, room)
    assert sum(len(text) + 2 for text in texts) <= max(room, 0)
    assert len(texts) + len(dropped) == len(parts)


def test_many_warnings_are_counted_on_the_first_screen() -> None:
    reasons = [Reason("odd", f"reason {place}") for place in range(50)]
    cases = [case_of("torch", skipped=reason, batch=place + 1) for place, reason in enumerate(reasons)]
    shown = first_screen(report(analyse(run_of(cases, [])), []))
    assert "reason 29" in shown
    assert "reason 30" not in shown
    assert "- 20 more are in [report.html](report.html) (a file next to this one)" in shown
