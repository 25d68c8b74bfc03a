"""The table of ratios: pairing, bars, rows without a number, Markdown. Nothing is started here."""

from __future__ import annotations

import json
from io import StringIO
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from runoff import paths
from runoff.records.reason import Reason
from runoff.speed.pairs import BLOCKS
from runoff.speed.plot import write_plot
from runoff.speed.ratios import Group, medians, outcome
from runoff.speed.report import markdown, table, write
from runoff.speed.rows import ROWS, Row, find_rows
from runoff.speed.run import Run
from runoff.targets import BUILT_IN

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.speed.ratios import Unit

LEAST = Row(name="least", what="a / b", group="g", over=("a",), under=("b",), bar=2.0, at_least=True)
MOST = Row(name="most", what="a / b, at most", group="g", over=("a",), under=("b",), bar=0.45)


def group_of(*ratios: float, unit: str = "ns") -> Group:
    """Return a block for each of `ratios` on a machine whose speed drifts by a factor of ten."""
    drifts = [1e6 * (1 + 9 * place / max(len(ratios) - 1, 1)) for place in range(len(ratios))]
    return Group(unit=unit, units=[{"a": [r * d], "b": [d]} for r, d in zip(ratios, drifts, strict=True)])


def run_of(rows: tuple[Row, ...], **groups: Group) -> Run:
    machine = {"cpu": "abacus", "cores_allowed": 2, "virtualised": False, "system": "L", "kernel": "1", "load_1min": 0}
    return Run(
        command="nox -s speed",
        started="2026-11-22T10:15:00+00:00",
        seconds=60.0,
        rounds=1,
        planned=1,
        machine=machine,
        versions={"g": {"a": "1.0"}},
        outcomes=[outcome(row, groups[row.group]) for row in rows],
        groups=groups,
    )


def test_rows_of_the_table() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS) == 14
    profiles = {f"{kind}-{profile}" for kind in ("process", "memory") for profile in ("cold", "default")}
    assert {row.group for row in ROWS} == {*profiles, "warm", *BLOCKS}
    programs = {name for row in ROWS if row.group not in BLOCKS for name in (*row.over, *row.under)}
    assert programs <= {*BUILT_IN, "floor"}
    assert find_rows(()) == ROWS
    assert [row.name for row in find_rows(("call", "torch-cold"))] == ["torch-cold", "call"]


@given(st.floats(0.01, 100))
def test_a_bar_is_met_at_the_bar_and_beyond(ratio: float) -> None:
    for row in (LEAST, MOST):
        assert row.meets(row.bar)
        assert row.meets(ratio) == (row.margin(ratio) >= 1)
    assert LEAST.meets(ratio) == (ratio >= 2)
    assert MOST.meets(ratio) == (ratio <= 0.45)


def test_ratios_are_paired_by_block() -> None:
    found = outcome(LEAST, group_of(*[3.0] * 8))
    assert found.value == pytest.approx(3.0)
    assert found.low == pytest.approx(3.0)
    assert found.high == pytest.approx(3.0)
    assert (found.units, found.blocks, found.verdict) == (8, 8, "met")


def test_only_blocks_with_both_count() -> None:
    group = group_of(*[3.0] * 6)
    group.units += [{"a": [1.0]}, {"b": [1.0]}, {}]
    assert outcome(LEAST, group).units == 6


def test_processes_count_first_and_blocks_within_them() -> None:
    units: list[Unit] = [{"a": [2.0 + place / 100] * 50, "b": [1.0] * 50} for place in range(9)]
    found = outcome(LEAST, Group(unit="ns", units=units))
    assert (found.units, found.blocks) == (9, 450)
    assert found.value == pytest.approx(2.04, rel=1e-4)
    assert found.low is not None
    assert found.high is not None
    # fifty equal blocks in each do not hide that processes differ
    assert found.low <= 2.02
    assert found.high >= 2.06


def test_a_ratio_of_gains() -> None:
    row = msgspec.structs.replace(LEAST, over=("a1", "b2"), under=("a2", "b1"), bar=0.97)
    unit = {"a1": [10.0], "a2": [5.0], "b1": [12.0], "b2": [8.0]}
    found = outcome(row, Group(unit="ns", units=[unit] * 6))
    assert found.value == pytest.approx((10 / 5) / (12 / 8))


@pytest.mark.parametrize(
    ("row", "ratios", "verdict"),
    [
        (LEAST, [3.0] * 6, "met"),
        (LEAST, [1.9] * 6, "missed"),
        (LEAST, [1.0, 1.9, 2.1, 2.2, 3.0, 1.9, 2.3], "met, within the interval"),
        (LEAST, [1.0, 1.5, 1.9, 1.8, 3.0, 1.6, 2.3], "missed, within the interval"),
        (MOST, [0.4] * 6, "met"),
        (MOST, [0.5] * 6, "missed"),
        (MOST, [0.4], "met, no interval"),
    ],
)
def test_the_estimate_decides_and_an_interval_that_holds_the_bar_is_named(
    row: Row, ratios: list[float], verdict: str
) -> None:
    assert outcome(row, group_of(*ratios)).verdict == verdict


def test_a_row_without_a_number_has_a_reason() -> None:
    group = group_of(2.0, 2.0)
    group.reasons["b"] = Reason("not-installed", "it is not built", "run: nox -s build")
    found = outcome(LEAST, group)
    assert found.verdict == "not measured"
    assert str(found.reason) == "b: it is not built (run: nox -s build)"
    assert "its turn" in str(outcome(LEAST, Group(unit="ns")).reason)


def test_medians_have_the_values_that_ratios_come_from() -> None:
    found = medians(group_of(3.0, 3.0, 3.0))
    assert found["a"].value == pytest.approx(3 * found["b"].value)


def test_markdown() -> None:
    other = msgspec.structs.replace(MOST, name="other", group="h", what="c / d")
    missing = Group(unit="ns", reasons={"a": Reason("x", f"{paths.root()}/target/release/runoff-floor is not built")})
    text = markdown(run_of((LEAST, MOST, other), g=group_of(*[3.0] * 6), h=missing), plot=True)
    assert "| a / b | 3.00 (3.00 to 3.00) | at least 2 | **met** | 6 | `nox -s speed -- --row least` |" in text
    assert "| at most 0.45 | **missed** | 6 |" in text
    assert "| c / d |  | at most 0.45 | not measured |  | `nox -s speed -- --row other` |" in text
    assert "Not measured: other: a: runoff-floor is not built" in text
    assert "1 of 3 rows met" in text
    assert str(paths.root()) not in text
    assert "![" in text
    assert "![" not in markdown(run_of((other,), h=missing), plot=False)


def test_no_ratio_is_printed_with_fewer_decimals_than_its_bar() -> None:
    wide = [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9]
    assert "| 0.48 (" in markdown(run_of((MOST,), g=group_of(*wide)), plot=False)


def test_files(tmp_path: Path) -> None:
    run = run_of((LEAST, MOST), g=group_of(*[3.0] * 6))
    write(run, tmp_path / "speed")
    write_plot(run, tmp_path / "speed")
    assert sorted(path.name for path in (tmp_path / "speed").iterdir()) == [
        "speed.json",
        "speed.md",
        "speed.svg",
    ]
    again = json.loads((tmp_path / "speed" / "speed.json").read_bytes())
    assert again["outcomes"][0]["value"] == pytest.approx(3.0)
    assert len(again["groups"]["g"]["units"]) == 6
    assert "at least 2" in (tmp_path / "speed" / "speed.svg").read_text()


def test_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    write_plot(run_of((LEAST,), g=Group(unit="ns")), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_terminal_shows_every_row() -> None:
    console = Console(width=100, record=True, file=StringIO())
    console.print(table(run_of((LEAST, MOST), g=group_of(*[3.0] * 6))))
    text = console.export_text()
    assert "met" in text
    assert "missed" in text
    assert "3.00" in text
