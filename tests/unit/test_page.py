"""``report.html`` without a browser: parts, text and figures."""

from __future__ import annotations

import re
from dataclasses import replace
from math import nan
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import msgspec
import pytest
from contrast import contrast
from hypothesis import given
from hypothesis import strategies as st
from synthetic import case_of, run_of, synthetic_run

from runoff.analysis.analyse import Analysis, analyse
from runoff.analysis.verdict import Verdict, not_comparable
from runoff.analysis.wording import tone
from runoff.records.reason import Reason
from runoff.records.schema import Footprint, Run
from runoff.report import details, verdicts
from runoff.report.build import write_report
from runoff.report.overview import blocks
from runoff.report.page.answers import board, cards, lead
from runoff.report.page.cases import naming
from runoff.report.page.compared import percentiles
from runoff.report.page.render import page
from runoff.report.page.svg import inline, paint, small
from runoff.report.palette import DARK, PHASES, TARGETS, target_colours
from runoff.report.pareto import front, front_words
from runoff.report.plots import draw
from runoff.report.tables import Column, Line, Table, nothing, plain, verdict_cell, without_empty
from runoff.report.terminal import unavailable_lines
from runoff.report.text import Figure
from runoff.report.verdicts import answers

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.records.protocol import Result
    from runoff.report.overview import Block

UNAVAILABLE = Reason("provider-unavailable", "no <driver> here", "install one")


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    run = synthetic_run(profiles=("default", "cold"), blocks=6, warm=20, live=True)
    run.info.cases = (*run.info.cases, case_of("ort-web", skipped=UNAVAILABLE))
    run.info.footprints = {run.info.cases[0].id: Footprint({"environment": 5_000_000_000, "model": 19_000_000})}
    return analyse(run)


@pytest.fixture(scope="module")
def text(analysis: Analysis) -> str:
    return page(analysis, list(draw(analysis)), ["samples.csv", "raw/a b.jsonl"])


def test_the_page_has_every_part(text: str) -> None:
    for name in ("answer", "compare-all", "life", "ratios", "latency", "tradeoff", "memory", "same", "footprint"):
        assert f'<section id="{name}"' in text
    for name in ("audit", "stability", "missing", "how", "machine", "data"):
        assert f'<section id="{name}"' in text


def test_the_page_needs_nothing_else(text: str) -> None:
    assert "default-src 'none'" in text
    fetched = re.findall(r"""(?:src|href)=["']([^"']*)["']|url\(([^)]*)\)|@import""", text)
    links = {one or other for one, other in fetched}
    plots = {link for link in links if link.startswith("plots/")}
    assert {link for link in links - plots if not link.startswith("#")} == {"data:,", "samples.csv", "raw/a%20b.jsonl"}
    assert "http" not in re.sub(r'(xmlns(:xlink)?="[^"]*"|http-equiv)', "", text)


def test_the_comparison_reports_the_timing_of_its_pairs(text: str) -> None:
    def intro(whole: str) -> str:
        return whole.partition('<section id="compare-all"')[2].partition("</p>")[0]

    alone = analyse(synthetic_run(profiles=("default",), blocks=2, warm=5))
    assert "Warm inferences, interleaved: " in intro(text)
    assert "Warm inferences, by the runner itself: one process at a time" in intro(page(alone, [], []))


def test_inferences_on_a_gpu_have_a_section(analysis: Analysis) -> None:
    def with_part(result: Result) -> Result:
        samples = result.samples | {"copy_in": result.samples["inference"]}
        return msgspec.structs.replace(result, samples=samples)

    records = [
        msgspec.structs.replace(one, result=with_part(one.result))
        if one.probe == "latency" and one.result and "inference" in one.result.samples
        else one
        for one in analysis.run.records
    ]
    assert '<section id="gpu"' not in page(analysis, [], [])
    text = page(analyse(Run(analysis.run.folder, analysis.run.info, tuple(records))), [], [])
    section = text.split('<section id="gpu"')[1].split("</section>")[0]
    assert section.count('<th scope="row"') == 10
    assert "copy in" in section
    assert "data-sortable" not in section


def test_user_text_is_escaped(text: str) -> None:
    assert "no &lt;driver&gt; here" in text
    assert "<driver>" not in text


def test_a_run_without_results_is_reported(tmp_path: Path) -> None:
    skipped = case_of("torch", probes=("process",), skipped=UNAVAILABLE)
    write_report(analyse(run_of([skipped], [], tmp_path)))
    text = (tmp_path / "report.html").read_text()
    assert "<h1>Nothing was measured.</h1>" in text
    assert "no &lt;driver&gt; here" in text
    assert "<figure" not in text


def test_a_report_in_another_folder_links_to_existing_files(tmp_path: Path) -> None:
    run = synthetic_run(tmp_path / "run", targets=("ort-python",), profiles=("default",), blocks=2, warm=3)
    (run.folder / "raw").mkdir(parents=True)
    (run.folder / "raw" / "one.jsonl").touch()
    made = analyse(run)
    for folder, linked in ((None, True), (tmp_path / "published", False)):
        paths = write_report(made, folder)
        (written,) = (path for path in paths if path.name == "report.html")
        assert ('href="raw/one.jsonl"' in written.read_text()) is linked
        for link in re.findall(r'href="(plots/[^"]*)"', written.read_text()):
            assert (written.parent / link).is_file()


FASTER = Verdict("better", 2.1, 2.0, 2.2, unit="ns")


def level(floor: float = nan) -> Verdict:
    return Verdict("no difference", floor=floor)


def block_of(walls: dict[str, float], verdicts: dict[str, Verdict], analysis: Analysis) -> Block:
    """Return a block with process times only: milliseconds and the verdict against torch, by target."""
    (block,) = blocks(analysis)
    rows = [
        msgspec.structs.replace(
            row,
            wall=Figure(ms * 1e6, 0.9 * ms * 1e6, 1.1 * ms * 1e6, "ns", 6),
            wall_vs={"torch": verdicts.get(row.target, Verdict("baseline"))},
            warm=Figure(),
            peak=Figure(),
        )
        for row in block.rows
        if row.profile == "default" and (ms := walls.get(row.target)) is not None
    ]
    return msgspec.structs.replace(block, rows=rows)


def answer_text(*made: Block) -> str:
    return str(lead(made).striptags())


def test_the_answer_names_equally_good_targets(analysis: Analysis) -> None:
    walls = {"torch": 10.5, "ort-rust": 10.0}
    assert answer_text(block_of(walls, {"ort-rust": FASTER}, analysis)) == "ort-rust for one short process."
    tied = block_of(walls, {"ort-rust": level(0.08)}, analysis)
    assert answer_text(tied) == "ort-rust or torch for one short process."


def test_a_distant_indistinguishable_target_is_not_recommended(analysis: Analysis) -> None:
    far = block_of({"torch": 21.0, "ort-rust": 10.0}, {"ort-rust": level()}, analysis)
    assert answer_text(far) == "ort-rust (not distinguishable from torch) for one short process."
    assert [card.targets for card in cards(far)] == [["ort-rust"]]


def test_of_many_comparisons_only_clear_ones_count(analysis: Analysis) -> None:
    walls = {"torch": 21.0, "ort-rust": 10.0}
    clear = block_of(walls, {"ort-rust": FASTER}, analysis)
    open_ = block_of(walls, {"ort-rust": level()}, analysis)
    single = block_of(walls, {"ort-rust": not_comparable("one block")}, analysis)
    assert answer_text(clear, clear, open_) == "ort-rust for one short process (2 of 3)."
    assert answer_text(clear, open_, single) == "no clear best for one short process."


def test_runs_without_intervals_are_reported_as_one_value_each(analysis: Analysis) -> None:
    made = block_of({"torch": 21.0, "ort-rust": 10.0}, {"ort-rust": not_comparable("one block")}, analysis)
    rows = [msgspec.structs.replace(row, wall=Figure(row.wall.value, None, None, "ns", 1)) for row in made.rows]
    single = msgspec.structs.replace(made, rows=rows)
    assert answer_text(single) == "ort-rust for one short process (one value)."
    assert answer_text(single, single) == "ort-rust for one short process (2 of 2, one value each)."
    (line, *_) = board([single, single]).lines
    assert line.cells[1].note.startswith("10.0 ms, one value, profile default")


def test_a_target_that_ties_with_a_tied_baseline_is_as_good(analysis: Analysis) -> None:
    tied = dict.fromkeys(("ort-rust", "ort-python", "ort-pyo3"), level(0.08))
    walls = {"ort-rust": 10.0, "torch": 10.5, "ort-python": 10.3, "ort-pyo3": 14.0}
    assert answer_text(block_of(walls, tied, analysis)) == "ort-rust, torch or ort-python for one short process."
    slower = tied | {"ort-python": Verdict("worse", 0.97, 0.96, 0.98, unit="ns")}
    assert answer_text(block_of(walls, slower, analysis)) == "ort-rust or torch for one short process."


def test_the_board_marks_indistinguishable_targets(analysis: Analysis) -> None:
    far = block_of({"torch": 21.0, "ort-rust": 10.0}, {"ort-rust": level()}, analysis)
    (line,) = board([far]).lines
    assert line.cells[1].text == "ort-rust (not distinguishable from torch)"


def test_a_comparison_of_which_nothing_was_measured_has_no_line_on_the_board(analysis: Analysis) -> None:
    far = block_of({"torch": 21.0, "ort-rust": 10.0}, {"ort-rust": level()}, analysis)
    empty = msgspec.structs.replace(far, model="unavailable", rows=[])
    assert [line.cells[0].text for line in board([far, empty]).lines] == [far.title]
    assert list(verdicts.board([empty, far])[1]) == [far.title]


def test_a_drawing_has_room_for_a_wider_font_at_its_sides() -> None:
    drawing = '<svg xmlns="http://www.w3.org/2000/svg" width="100" height="50"><rect width="100" height="50"/></svg>'
    root = ET.fromstring(small(drawing))  # noqa: S314 - our own drawing
    (background,) = root
    assert root.attrib == {"width": "124", "height": "50", "viewBox": "-12 0 124 50"}
    assert background.attrib == {"x": "-12", "width": "124", "height": "50"}


def test_another_profile_wins_only_if_its_whole_interval_is_below(analysis: Analysis) -> None:
    (block,) = blocks(analysis)

    usual = Figure(10.0, 9.0, 11.0, "ns", 6)

    def with_walls(cold: Figure) -> str:
        rows = [
            msgspec.structs.replace(row, wall=cold if row.profile == "cold" else usual)
            for row in block.rows
            if row.target == "ort-rust"
        ]
        return answers(msgspec.structs.replace(block, rows=rows))[0].profile

    assert with_walls(Figure(8.0, 7.5, 8.5, "ns", 6)) == "cold"
    assert with_walls(Figure(8.0, 7.0, 9.2, "ns", 6)) == "default"
    assert with_walls(Figure(8.0, None, None, "ns", 1)) == "default"
    usual = Figure(10.0, None, None, "ns", 1)
    assert with_walls(Figure(8.0, None, None, "ns", 1)) == "cold"
    assert with_walls(Figure(12.0, None, None, "ns", 1)) == "default"


def test_cards_show_the_other_costs_of_the_winner(analysis: Analysis) -> None:
    first, *_ = cards(blocks(analysis)[0])
    assert first.question == "One short process"
    assert "per warm inference" in first.costs
    assert "peak memory" in first.costs
    assert any("faster than torch" in line for line in first.comparisons)


@pytest.mark.parametrize(
    ("verdict", "shown", "note", "key"),
    [
        (Verdict("better", 4.6, 4.2, 5.1, unit="ns"), "4.6x faster", "4.2 to 5.1", 4.6),
        (level(0.021), "no difference", "floor 2.1 %", None),
        (not_comparable("1 block (2 are needed)"), "not comparable", "1 block (2 are needed)", None),
        (Verdict("baseline"), "baseline", "", 1.0),
    ],
)
def test_verdicts_in_cells(verdict: Verdict, shown: str, note: str, key: float | None) -> None:
    cell = verdict_cell(verdict)
    assert (cell.text, cell.note, cell.key, cell.tone) == (shown, note, key, tone(verdict))
    assert verdict_cell(None) == nothing()


def test_a_percentile_without_bounds_has_a_reason(analysis: Analysis) -> None:
    table = percentiles(analysis, naming(blocks(analysis)))
    place = [column.name for column in table.columns].index("p90")
    why = set(analysis.summary[analysis.summary["metric"] == "inference.warm.p90"]["reason"])
    shown = {line.cells[place].more[0] for line in table.lines if line.cells[place].fold == "no bounds"}
    assert shown
    assert shown <= why


def test_audit_points_are_grouped_by_outcome(analysis: Analysis) -> None:
    point = analysis.audit[0]
    points = [
        msgspec.structs.replace(point, comparison=comparison, outcome="ok", point="input", detail=detail)
        for comparison, detail in ((("a",), "a, b"), (("b",), "a"), (("c",), "a"))
    ]
    (line,) = details.audit(replace(analysis, audit=points)).lines
    assert [line.cells[2].text, line.cells[2].more, line.cells[2].fold] == ["a", ["a: a, b"], "1 other detail"]
    assert line.cells[3].text == "all 3"


def test_facts_of_the_machine_are_words(analysis: Analysis) -> None:
    run = analysis.run
    known = {"cgroup_memory_max": "9223372036854771712", "cgroup_cpu_max": "max", "virtualised": True}
    info = msgspec.structs.replace(run.info, machine=run.info.machine | known | {"memory_bytes": 25_276_510_208})
    lines = details.machine(replace(analysis, run=Run(run.folder, info, run.records))).lines
    facts = {line.cells[0].text: line.cells[1].text for line in lines}
    assert facts["cgroup memory max"] == facts["cgroup cpu max"] == "no limit"
    assert (facts["memory"], facts["virtualised"]) == ("25.3 GB", "yes")
    limited = msgspec.structs.replace(info, machine=info.machine | {"cgroup_memory_max": "4000000000"})
    lines = details.machine(replace(analysis, run=Run(run.folder, limited, run.records))).lines
    assert "4.0 GB" in {line.cells[1].text for line in lines}


def test_shares_are_percent(analysis: Analysis) -> None:
    table = details.accuracy(analysis, naming(blocks(analysis)))
    place = [column.name for column in table.columns].index("top1 agrees")
    assert {line.cells[place].text for line in table.lines} == {"100%"}


def test_columns_without_a_value_are_omitted() -> None:
    columns = [Column("a"), Column("b"), Column("c")]
    lines = [Line([plain("x"), nothing(), nothing("why")]), Line([plain("y"), nothing(), plain("z")])]
    left = without_empty(Table("t", "t", columns, lines))
    assert [column.name for column in left.columns] == ["a", "c"]
    assert all(len(line.cells) == 2 for line in left.lines)


def test_cases_that_cannot_run_share_a_line_for_each_reason(analysis: Analysis) -> None:
    made = blocks(analysis)
    assert unavailable_lines(made) == [
        "unavailable: coreml (1 case): not-installed: CoreML runs on macOS only (run this suite on a Mac)",
        "unavailable: ort-web (1 case): provider-unavailable: no <driver> here (install one)",
    ]
    assert {row.target for row in made[0].present}.isdisjoint({"coreml", "ort-web"})


def test_unavailable_cases_are_a_line_at_the_end(text: str) -> None:
    answer, _, rest = text.partition('<section id="compare-all">')
    assert "no &lt;driver&gt; here" not in answer
    missing = rest.partition('<section id="missing">')[2].partition("</section>")[0]
    assert missing.count("no &lt;driver&gt; here") == 1
    assert (
        "<li>Unavailable: ort-web (1 case): provider-unavailable: no &lt;driver&gt; here (install one)</li>" in missing
    )


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_the_pareto_front_is_undominated(points: list[tuple[float, float]]) -> None:
    kept = front(points)
    best = [points[index] for index in kept]
    assert best == sorted(best)
    for x, y in points:
        beaten = any(a <= x and b <= y and (a, b) != (x, y) for a, b in points)
        assert ((x, y) in best) is not beaten


def test_the_pareto_front_is_described(analysis: Analysis) -> None:
    words = "; ".join(front_words(blocks(analysis)[0]))
    assert words.startswith("on the front, process time: ")
    assert "ort-rust" in words
    assert "again" not in words
    assert "null" not in words


def test_drawings_on_the_page_are_small_and_named(analysis: Analysis) -> None:
    figures = list(draw(analysis))
    assert {figure.plot.kind for figure in figures} == {"life", "ratio", "warm", "pareto", "memory"}
    for figure in figures:
        made = inline(figure.svg, "one", "A <title>", "what it shows")
        root = ET.fromstring(made)  # noqa: S314 - our own drawing
        assert len(made) < 0.6 * len(figure.svg)
        assert figure.plot.machine not in made
        assert {element.get("id") for element in root.iter() if element.get("id")} >= {"one-t", "one-d"}
        assert all(name.startswith("one-") for element in root.iter() if (name := element.get("id")))
        assert "aria-roledescription" not in made
        _, top, _, height = map(float, root.attrib["viewBox"].split())
        assert top > 50
        assert height > 100
        texts = {element.text for element in root.iter("text")}
        assert {row.target for row in blocks(analysis)[0].present if row.computes and not row.control_of} <= texts


def test_every_colour_of_a_figure_has_one_for_the_dark(analysis: Analysis) -> None:
    for figure in draw(analysis):
        for svg in (figure.svg, figure.narrow):
            painted = set(re.findall(r' (?:fill|stroke)="([^"]*)"', inline(svg, "one", "t", "d")))
            assert {colour for colour in painted if not colour.startswith("var(--c")} <= {"none", "transparent"}
    known = {*PHASES.values(), *target_colours([*TARGETS, "mine", "yours", "theirs", "ort-python-again"]).values()}
    assert {paint(colour) for colour in known} & known == set()


def test_dark_colours_can_be_seen_on_dark() -> None:
    for light in {*PHASES.values(), *TARGETS.values()}:
        assert contrast(DARK[light], DARK["#FFFFFF"]) > 3, light
