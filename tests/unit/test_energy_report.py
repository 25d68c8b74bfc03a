"""Energy in the terminal, in report.md, in JSON and as a plot."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from energy_runs import energy_run
from msgspec.structs import replace
from rich.console import Console

from runoff.analysis.analyse import Analysis, analyse
from runoff.analysis.measurements import of_run
from runoff.analysis.verdict import Verdict
from runoff.compare.limits import parse_limit
from runoff.compare.pairing import compare_targets
from runoff.records.errors import RunoffError
from runoff.report.build import write_report
from runoff.report.energy import HEAD, rows
from runoff.report.markdown import overview, report
from runoff.report.overview import as_dict, blocks
from runoff.report.terminal import show
from runoff.report.text import Figure
from runoff.report.verdicts import headlines

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return analyse(energy_run())


def printed(analysis: Analysis, width: int) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        show(analysis, console)
    return capture.get()


def test_energy_of_an_inference_is_shown_next_to_its_time(analysis: Analysis) -> None:
    (block,) = blocks(analysis)
    assert block.domains == ["package"]
    rows = [
        replace(row, warm=Figure(1e6), warm_vs=dict.fromkeys(("torch", "ort-python"), Verdict("baseline")))
        for row in block.rows
    ]
    text = overview(replace(block, rows=rows))
    head = next(line for line in text.splitlines() if line.startswith("| profile | target"))
    columns = [cell.strip() for cell in head.strip("|").split("|")]
    place = columns.index("energy per inference (package)")
    assert columns[place - 3 : place] == ["warm inference", "vs torch", "vs ort-python"]
    assert columns[place + 1 : place + 3] == ["vs torch", "vs ort-python"]
    rust = next(line for line in text.splitlines() if line.startswith("| default | ort-rust"))
    cells = [cell.strip() for cell in rust.strip("|").split("|")]
    assert cells[place].startswith("14")
    assert " mJ (" in cells[place]
    assert " less (" in cells[place + 1]


def test_the_headlines_name_the_most_frugal(analysis: Analysis) -> None:
    (line,) = [line for line in headlines(blocks(analysis)[0]) if "energy" in line]
    assert line.startswith("default, energy per inference (package): ort-rust ")
    assert "less than torch" in line


def test_each_row_of_the_table_has_all_that_belongs_to_a_figure(analysis: Analysis) -> None:
    made = [dict(zip(HEAD, row, strict=True)) for row in rows(analysis)]
    assert len(made) == 3 * 2 * 2 + 2
    for row in made:
        assert row["source"].startswith("powercap, ")
        assert all(row[column] for column in HEAD)
        assert row["other work"].endswith(" cores")
        assert row["idle before"].startswith("10.0" if ", package" in row["source"] else "5.0")
    text = report(analysis, [])
    assert "- energy, powercap: RAPL" in text
    assert "steps of 61.0 µJ, every 1.00 ms" in text
    assert {row.status for row in blocks(analysis)[0].rows} == {"ok"}
    assert "not read: nvml: no NVIDIA GPU" in text
    assert "not read: powercap, dram: it may be read by root only" in text
    assert "nan" not in text.lower()


def test_other_work_is_highlighted() -> None:
    cells = {(row[1], row[-1]) for row in rows(analyse(energy_run(others=0.8)))}
    assert cells == {("process", "**0.80 cores**"), ("inference", "0.02 cores")}


def test_the_terminal_has_a_line_of_joules_below_each_case_in_80_columns(analysis: Analysis) -> None:
    text = printed(analysis, 80)
    lines = text[: text.index("energy, powercap")].splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("  package") for line in lines) == 4
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    assert "x less" in text


def test_json_has_the_figures_and_the_sources(analysis: Analysis) -> None:
    plain = json.loads(json.dumps(as_dict(analysis), allow_nan=False))
    rust = next(row for row in plain["blocks"][0]["rows"] if row["target"] == "ort-rust")
    assert rust["energy"]["package"]["inference"]["unit"] == "J"
    assert rust["energy"]["package"]["process"]["value"] == pytest.approx(2.0, rel=0.05)
    assert plain["meters"][0]["domains"]["package"] == "processor package"
    assert "nvml" in plain["meters_lacking"]
    assert {"inference.package", "process.package"} <= {line["metric"] for line in plain["ratios"]}


def test_a_plot_of_it_is_drawn(tmp_path: Path) -> None:
    write_report(analyse(energy_run(tmp_path)))
    svg = (tmp_path / "plots" / "energy-package-net-classify-t1-b1.svg").read_text()
    assert "joules per inference, package" in svg
    assert "Energy per inference" in svg


def test_two_targets_are_compared_by_joules(analysis: Analysis) -> None:
    made = compare_targets(of_run(analysis.run), "torch", "ort-rust", ())
    verdicts = {line.metric: line.verdict.kind for line in made.lines}
    assert verdicts["energy.inference.package"] == "better"
    assert verdicts["energy.process.package"] == "better"


def test_a_gate_takes_joules() -> None:
    limit = parse_limit("energy.inference.package > 50mJ")
    assert (limit.value, limit.unit) == (0.05, "J")
    limit.check_unit("J")
    with pytest.raises(RunoffError, match="an energy, such as 50mJ"):
        parse_limit("energy.inference.package > 50ms").check_unit("J")
