"""Reports of runs with many targets: families, the best first with all ties, and targets by models."""

from __future__ import annotations

import re
from dataclasses import replace
from io import StringIO
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from contrast import contrast
from many_targets import ABSENT, TARGETS, analysis_of_many, many_targets
from rich.console import Console
from synthetic import CONTROL, case_of, run_of, synthetic_run

from runoff.analysis.analyse import Analysis, analyse
from runoff.analysis.metric_samples import Key
from runoff.analysis.verdict import Verdict
from runoff.report import curves, matrix, panels, pareto
from runoff.report.families import FEW, by_family, family_of, is_crowded, name_of
from runoff.report.frame import DASHES, NARROW, WIDE
from runoff.report.markdown import MOST, ranking, report
from runoff.report.overview import as_dict, blocks
from runoff.report.page.answers import board, by_profile, cards, lead
from runoff.report.page.render import page
from runoff.report.palette import CONTROL as CONTROL_COLOUR
from runoff.report.palette import DARK, FAMILIES, SHADES, shades, target_colours
from runoff.report.terminal import audit_lines, leaders_table, show
from runoff.report.verdicts import PROCESS, findings, headlines, ranked

if TYPE_CHECKING:
    from runoff.report.overview import Block
    from runoff.report.verdicts import BestTarget

ORT = ("ort-python", "ort-rust", "ort-pyo3", "capi-rust", "ort-node", "ort-node-wasm")


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    """Return a run of two models and two profiles."""
    return analysis_of_many()


@pytest.fixture(scope="module")
def few() -> Analysis:
    """Return a run of four targets that compute, and one that does not."""
    return analyse(synthetic_run(blocks=4, warm=8, live=True))


@pytest.mark.parametrize(
    ("target", "family", "name"),
    [
        ("torch", "torch", "PyTorch"),
        ("torch-compile", "torch", "PyTorch"),
        ("torchscript", "torch", "PyTorch"),
        ("ort-web-webgpu-jsep", "ort", "ONNX Runtime"),
        ("capi-rust", "ort", "ONNX Runtime"),
        ("ort-python@int8", "ort", "ONNX Runtime"),
        ("ort-python-again", "ort", "ONNX Runtime"),
        ("openvino-rust", "openvino", "OpenVINO"),
        ("tract-rust", "tract", "tract"),
        ("mine", "mine", "mine"),
    ],
)
def test_the_family_of_a_target_is_its_engine(target: str, family: str, name: str) -> None:
    assert (family_of(target), name_of(target)) == (family, name)


def test_families_are_in_the_order_of_their_first_target() -> None:
    assert by_family(["rten", "torch", "ort-rust", "torch-export", "capi-rust"]) == {
        "rten": ["rten"],
        "torch": ["torch", "torch-export"],
        "ort": ["ort-rust", "capi-rust"],
    }


def test_a_run_is_crowded_by_targets_that_compute_and_can_run(analysis: Analysis, few: Analysis) -> None:
    assert is_crowded(analysis.run)
    assert not is_crowded(few.run)
    names = [f"t{number}" for number in range(FEW)]
    others = [case_of("null-rust"), case_of("t0-again", control_of="t0"), case_of("coreml", skipped=ABSENT)]
    assert not is_crowded(run_of([*map(case_of, names), *others], []))
    assert is_crowded(run_of([*map(case_of, [*names, "mine"]), *others], []))


def test_every_other_case_is_compared_with_the_best(analysis: Analysis) -> None:
    summary = analysis.summary
    walls = summary[(summary["probe"] == "process") & (summary["metric"] == "wall") & (summary["status"] == "ok")]
    competing = walls[~walls["target"].isin([CONTROL, "coreml"])].drop_duplicates("case")
    keys = [key for key in analysis.leaders if (key.probe, key.metric) == ("process", "wall")]
    assert len(keys) == 4
    for key in keys:
        (own,) = competing[competing["case"] == key.case].to_dict("records")
        peers = competing[(competing["model"] == own["model"]) & (competing["profile"] == own["profile"])]
        assert own["estimate"] == peers["estimate"].min()
        assert set(analysis.leaders[key]) == set(peers["target"]) - {own["target"]}
        for target, verdict in analysis.leaders[key].items():
            assert verdict.kind in ("worse", "no difference", "undecided"), target


def test_ties_are_all_that_cannot_be_distinguished_from_the_best(analysis: Analysis) -> None:
    for block in blocks(analysis):
        for found in findings(block):
            tied = {name for name, verdict in found.rivals.items() if not verdict.differs}
            assert set(found.tied) == tied
            assert {*found.level, *found.far} == tied
            assert found.clear == (not tied)


def best(block: Block, profile: str, what: str = PROCESS) -> BestTarget:
    (found,) = (one for one in findings(block) if (one.profile, one.what) == (profile, what))
    return found


def test_targets_that_are_made_alike_tie_and_others_do_not(analysis: Analysis) -> None:
    found = best(blocks(analysis)[0], "cold")
    assert {found.winner.target, *found.level} >= {"ort-rust", "capi-rust"}
    assert not {"torch", "ort-node", "ort-pyo3"} & set(found.tied)
    # wrong outputs do not compete
    assert "tract-rust" not in found.rivals


def test_a_tie_with_a_baseline_is_not_a_tie_with_the_best(analysis: Analysis) -> None:
    """Of few targets, one that ties with the baseline that the best ties with is as good; of many, all are compared."""
    block = blocks(analysis)[0]
    rows = [row for row in block.rows if row.profile == "cold"]
    first, second = (next(row for row in rows if row.target == name) for name in ("ort-rust", "ort-python"))
    level = Verdict("no difference", 1.0, 0.99, 1.01, unit="ns")
    slower = Verdict("worse", 0.97, 0.96, 0.98, unit="ns")
    rows = [
        msgspec.structs.replace(
            first, wall_vs={"torch": level}, rivals={"wall": {"torch": level, "ort-python": slower}}
        ),
        msgspec.structs.replace(second, wall=first.wall, wall_vs={"torch": level}),
        msgspec.structs.replace(first, target="torch", wall_vs={"torch": Verdict("baseline")}, rivals={}),
    ]
    of_many = best(msgspec.structs.replace(block, rows=rows), "cold")
    assert of_many.level == ["torch"]
    of_few = best(
        msgspec.structs.replace(block, rows=[msgspec.structs.replace(row, rivals={}) for row in rows]), "cold"
    )
    assert of_few.level == ["torch", "ort-python"]


def test_few_targets_are_compared_with_their_baselines_only(few: Analysis) -> None:
    assert few.leaders
    assert all(not row.rivals for block in blocks(few) for row in block.rows)
    assert not any(block.crowded for block in blocks(few))


def test_sentences_name_ties_that_are_no_baselines(analysis: Analysis) -> None:
    block = blocks(analysis)[0]
    (line,) = (one for one in headlines(block) if one.startswith("cold, process time"))
    others = [name for name in best(block, "cold").tied if name not in block.baselines]
    assert others
    assert line.endswith(f"; not distinguishable from {', '.join(others)}.")


def test_json_has_the_rivals_of_the_best(analysis: Analysis) -> None:
    rows = as_dict(analysis)["blocks"][0]["rows"]
    rivals = [row["rivals"]["wall"] for row in rows if "wall" in row["rivals"]]
    assert len(rivals) == 2
    assert all(isinstance(words, str) and words for one in rivals for words in one.values())


def test_colours_are_shades_of_families() -> None:
    colours = target_colours([*TARGETS, "mine", "yours", CONTROL], crowded=True)
    assert len({colours[target] for target in ORT}) == len(ORT)
    assert {colours[target] for target in ORT} <= shades(FAMILIES["ort"]).keys()
    assert {colours[target] for target in TARGETS if target.startswith("torch")} <= shades(FAMILIES["torch"]).keys()
    assert colours[CONTROL] == CONTROL_COLOUR
    assert colours["mine"] != colours["yours"]
    assert len({colours[family[0]] for family in by_family(TARGETS).values()}) == len(by_family(TARGETS))
    assert list(colours) == [
        *(name for family in by_family([*TARGETS, "mine", "yours"]).values() for name in family),
        CONTROL,
    ]


def test_shades_can_be_seen_on_dark_and_on_white() -> None:
    for light, dark in SHADES.items():
        assert contrast(dark, DARK["#FFFFFF"]) > 3, light
    for colour in set(FAMILIES.values()):
        made = shades(colour)
        assert len(set(made.values())) == len(made)


def sorts(chart: Any) -> list[list[str]]:
    """Return the order of the names on each y axis of a chart."""
    found: list[list[str]] = []

    def visit(part: Any) -> None:
        for value in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            visit(value)
        if isinstance(part, dict) and part.get("field") == "target" and isinstance(part.get("sort"), list):
            found.append(part["sort"])

    visit(chart.to_dict())
    return found


def test_bars_go_by_their_values(analysis: Analysis) -> None:
    block, frame = blocks(analysis)[0], WIDE.crowd(target_colours(TARGETS, crowded=True))
    peaks = {row.target: row.peak.value or 0.0 for row in block.present if row.profile == "default"}
    drawn = sorts(panels.memory(block, frame))
    assert [peaks[name] for name in drawn[0]] == sorted(peaks[name] for name in drawn[0])
    assert sorts(panels.memory(block, WIDE))[0][:3] == ["torch", "torch-export", "torch-compile"]
    wholes = analysis.life.groupby(["case", "target"])["duration_ns"].sum().reset_index()
    own = wholes[wholes["case"].str.contains("regnet") & wholes["case"].str.contains("default")]
    assert sorts(panels.life(analysis.life, block, frame))[0] == list(own.sort_values("duration_ns")["target"])
    ratios = sorts(panels.ratios(analysis.summary, block, frame))[0]
    assert ratios.index("ort-rust") < ratios.index("ort-python") < ratios.index("torch-compile")


def test_dashes_distinguish_lines_of_a_family(analysis: Analysis) -> None:
    block, colours = blocks(analysis)[0], target_colours(TARGETS, crowded=True)
    chart = curves.warm(analysis.samples, block, NARROW.crowd(colours)).to_dict()
    encoding = chart["vconcat"][0]["encoding"]
    scale = encoding["strokeDash"]["scale"]
    dashes = dict(zip(scale["domain"], scale["range"], strict=True))
    assert [dashes[name] for name in ORT[:4]] == [list(dash) for dash in DASHES]
    assert dashes["rten"] == dashes["torch"] == [1, 0]
    assert encoding["color"]["scale"]["domain"] == scale["domain"]
    assert "strokeDash" not in curves.warm(analysis.samples, block, NARROW).to_dict()["vconcat"][0]["encoding"]


def test_a_front_has_names(analysis: Analysis) -> None:
    block = blocks(analysis)[0]
    frame = WIDE.crowd(target_colours(TARGETS, crowded=True))
    marks = [layer["mark"]["type"] for layer in pareto.pareto(block, frame).to_dict()["concat"][0]["layer"]]
    assert marks == ["line", "point", "point", "text"]
    marks = [layer["mark"]["type"] for layer in pareto.pareto(block, WIDE).to_dict()["concat"][0]["layer"]]
    assert marks == ["line", "point", "point"]


def test_the_page_has_the_best_first_and_the_others_folded(analysis: Analysis, few: Analysis) -> None:
    text = page(analysis, [], [])
    answer = text.partition('<section id="answer"')[2].partition("</section>")[0]
    assert answer.index('id="board"') < answer.index("<details") < answer.index('id="profiles"')
    compared = text.partition('<section id="compare-all"')[2].partition("</section>")[0]
    assert compared.index("<details") < compared.index("data-filters") < compared.index('id="compare"')
    assert compared.index('<select name="family">') < compared.index('<select name="target">')
    assert set(re.findall('data-family="([^"]*)"', compared)) == {name_of(target) for target in TARGETS}
    assert '<section id="models"' in text
    for light, dark in SHADES.items():
        assert f"--c{light[1:].lower()}:{DARK.get(light, dark)}" in text
    usual = page(few, [], [])
    for part in (
        'id="profiles"',
        'id="models"',
        "data-family",
        "<details",
        *(f"--c{code[1:].lower()}:" for code in SHADES if code not in DARK),
    ):
        assert part not in usual.partition('<section id="life"')[0].partition('<section id="ratios"')[0], part


def test_the_page_names_the_best_and_those_that_are_as_good(analysis: Analysis) -> None:
    made = blocks(analysis)
    shown = [best(block, "cold") for block in made]
    names = {found.winner.target: [found.winner.target, *found.level] for found in shown}
    both = [
        name
        for name in dict.fromkeys(name for one in names.values() for name in one)
        if all(name in one for one in names.values())
    ]
    words = str(lead(made).striptags())
    for name in both:
        assert name in words.partition(" for one short process")[0]
    assert "(2 of 2)" in words
    (first, second) = board(made).lines
    assert first.cells[1].text.startswith(shown[0].winner.target)
    assert all(name in second.cells[1].text for name in shown[1].level)
    assert [line.cells[0].note for line in by_profile(made).lines] == ["profile default", "profile cold"] * 2
    far = replace_rivals(made[0], Verdict("undecided", 1.2, 0.5, 2.0, unit="ns"))
    assert any("not distinguishable from" in line for card in cards(far) for line in card.comparisons)


def replace_rivals(block: Block, verdict: Verdict) -> Block:
    """Return the block with this verdict on all others."""
    rows = [
        msgspec.structs.replace(
            row, rivals={what: dict.fromkeys(others, verdict) for what, others in row.rivals.items()}
        )
        for row in block.rows
    ]
    return msgspec.structs.replace(block, rows=rows)


def test_rows_go_by_process_time(analysis: Analysis, few: Analysis) -> None:
    block = blocks(analysis)[0]
    for profile in block.profiles:
        times = [row.wall.value for row in ranked(block) if row.profile == profile and row.wall.value is not None]
        assert times == sorted(times)
    (usual,) = blocks(few)
    assert [row.case for row in ranked(usual)] == [row.case for row in usual.present]


def test_markdown_has_the_board_first_and_the_best_in_bold(analysis: Analysis) -> None:
    text = report(analysis, [])
    first = text.partition("<details>")[0]
    assert "| comparison | one short process | many calls | least memory |" in first
    assert ", profile cold" in first
    assert "### " not in first
    assert f"<summary>{matrix.title(analysis)}</summary>" in text
    assert len(text) <= MOST
    block = blocks(analysis)[0]
    found = best(block, "cold")
    rows = [line.split(" | ") for line in ranking(block).splitlines()[2:]]
    bold = {cells[1] for cells in rows if cells[0] == "| cold" and cells[2].startswith("**")}
    assert bold == {found.winner.target, *found.tied}
    assert ranking(block) in text


def test_one_crowded_comparison_has_a_board_too() -> None:
    made = analyse(many_targets(models=("vit_b_16",), profiles=("cold",), threads=(1,), blocks=2, warm=3))
    first = report(made, []).partition("<details>")[0]
    assert "| vit_b_16, classify, 1 thread, batch 1 | " in first
    assert "| cold | torch |" not in first


def test_the_terminal_has_the_best_of_each_profile_in_80_columns(analysis: Analysis) -> None:
    output = StringIO()
    show(analysis, Console(file=output, width=80))
    shown = output.getvalue().partition("the best of")[0]
    assert "fastest process" in shown
    assert max(map(len, shown.splitlines())) <= 80
    for block in blocks(analysis):
        assert len(leaders_table(block).rows) == len(block.profiles)
        for found in findings(block):
            assert found.winner.target in shown
            assert all(name in shown for name in found.tied)
    assert (
        f"the best of {sum(len(block.present) for block in blocks(analysis))} cases; the report has all"
        in output.getvalue()
    )


def test_a_finding_of_many_comparisons_is_one_line(analysis: Analysis) -> None:
    point = next(point for point in analysis.audit if point.point == "same output" and point.outcome == "differs")
    many = [msgspec.structs.replace(point, comparison=(f"net{number}",)) for number in range(5)]
    made = replace(analysis, audit=many)
    assert audit_lines(made) == [f"not a fair comparison: 5 comparisons: same output: {point.detail}"]
    assert len(audit_lines(replace(analysis, audit=many[:4]))) == 4


def test_metrics_of_the_best_are_known(analysis: Analysis) -> None:
    assert {(key.probe, key.metric) for key in analysis.leaders} == {
        ("process", "wall"),
        ("latency", "inference.warm"),
        ("memory", "peak_memory"),
        ("process", "peak_memory"),
    }
    assert all(isinstance(key, Key) for key in analysis.leaders)
