"""Sweeps and growth: paired ratios of a setting's values, fitted lines, their tables and figures."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from synthetic import case_of, run_of, synthetic_run

from runoff.analysis.analyse import Analysis, analyse
from runoff.analysis.growth import growth
from runoff.analysis.sweeps import settings_of
from runoff.models.zoo import find_model, operations
from runoff.report.frame import NARROW, WIDE
from runoff.report.plots import figures
from runoff.report.sections import varied
from runoff.report.sweep_plots import growth_chart
from runoff.report.sweeps import growth_table, sweep_table
from runoff_runners import torch_builders

COLUMNS = ["case", "probe", "phase", "block", "process", "sample", "metric", "unit", "value"]


@cache
def analysis() -> Analysis:
    return analyse(synthetic_run(targets=("ort-python", "ort-rust"), batches=(1, 8), blocks=6))


def test_every_setting_is_swept_with_the_others_alike() -> None:
    found = {(one.setting, one.target, one.others, one.words) for one in analysis().sweeps}
    assert ("batch", "ort-rust", "threads 1", "warm inference per item") in found
    assert ("batch", "ort-rust", "profile cold, threads 1", "process time") in found
    assert ("profile", "ort-python", "threads 1, batch 8", "peak memory") in found
    assert {setting for setting, *_ in found} == {"batch", "profile"}


def test_a_ratio_is_paired_and_per_item_over_the_batch() -> None:
    sweep = next(
        one for one in analysis().sweeps if one.words == "warm inference per item" and "cold" not in one.others
    )
    first, eight = sweep.steps
    assert (first.value, first.verdict.kind, eight.value) == ("1", "baseline", "8")
    assert eight.verdict.ratio == pytest.approx(first.estimate.value / eight.estimate.value, rel=0.2)
    assert eight.verdict.low < eight.verdict.ratio < eight.verdict.high
    line = analysis().summary.query("case == @eight.case and metric == 'inference.warm'").iloc[0]
    assert eight.estimate.value == pytest.approx(line["estimate"] / 8)


def test_settings_of_a_case() -> None:
    case = msgspec.structs.replace(case_of("x"), variant=("default", "t2", "b1", "spin_duration_us-100"))
    assert settings_of(case) == {"profile": "default", "threads": "2", "batch": "1", "spin_duration_us": "100"}
    assert settings_of(msgspec.structs.replace(case, variant=())) == {}


def lines_of(cost_ns: dict[int, float], noise: float = 0.0) -> list[Any]:
    """Return the growth of a run with layers_Lx2 of these costs, and 5 blocks."""
    draws = np.random.default_rng(1)
    cases = [
        msgspec.structs.replace(case_of("ort-rust"), id=f"layers_{size}x2", model=f"layers_{size}x2")
        for size in cost_ns
    ]
    rows = [
        (f"layers_{size}x2", "process", "", block, block, 0, "wall", "ns", cost + draws.normal(0, noise))
        for block in range(5)
        for size, cost in cost_ns.items()
    ]
    return growth(run_of(cases, []), pd.DataFrame(rows, columns=COLUMNS))


def test_a_line_has_the_cost_of_an_operation_with_its_interval() -> None:
    (line,) = lines_of({10: 1000 + 20 * 7, 50: 1000 + 100 * 7, 100: 1000 + 200 * 7}, noise=20)
    assert line.metric == "process time"
    assert line.per_operation.low < 7 < line.per_operation.high
    assert line.fixed.low < 1000 < line.fixed.high
    assert list(line.points) == [20, 100, 200]
    assert growth_table([line]).lines[0].cells[1].text == "process time"
    for frame in (WIDE, NARROW):
        assert json.loads(growth_chart([line], frame).to_json())["layer"]


def test_one_size_has_no_line() -> None:
    assert lines_of({10: 100.0}) == []


def test_the_report_has_tables_and_figures() -> None:
    assert "Sweeps" in [section.title for section in varied(analysis())]
    table = sweep_table(analysis().sweeps)
    assert {line.cells[0].text for line in table.lines} == {"batch", "profile"}
    kinds: dict[str, str] = {}
    for plot in figures(analysis()):
        kinds.setdefault(plot.kind, plot.titled().to_json())
        plot.chart(NARROW).to_json()
    assert {"sweep", "batch", "pareto"} <= kinds.keys()
    assert "items per second" in kinds["batch"]


def test_synthetic_networks_of_any_size_are_in_the_zoo() -> None:
    assert (operations("layers_50x4"), operations("layers-7x3"), operations("regnet_x_400mf")) == (200, 21, None)
    model = find_model("layers-7x3")
    assert (model.name, model.builder) == ("layers_7x3", "runoff_runners.torch_builders:layers_7x3")
    assert callable(torch_builders.layers_7x3)
    with pytest.raises(AttributeError):
        _ = torch_builders.layers_0x3
