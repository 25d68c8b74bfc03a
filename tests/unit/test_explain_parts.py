"""``runoff explain`` without a process: parts that add up, claims, words, plots, and what a side may be."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

import numpy as np
import pytest
from compared import latency_of
from msgspec.structs import replace
from rich.console import Console
from synthetic import Maker, case_of, run_of

from runoff.explain.explanation import Explained
from runoff.explain.parts import parts_of, phases_of
from runoff.explain.show import document, draw, sentences, show
from runoff.models.cuts import Cuts, Segment
from runoff.records.errors import RunoffError
from runoff.records.schema import Run
from runoff.sides import names_of, parse_side

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.records.schema import Case, Record

MS = 1_000_000
BLOCKS = 8
SEGMENTS = [2.0, 3.0, 1.0, 4.0]
PASS = 0.05
CUTS = Cuts(
    segments=tuple(
        Segment(operators={"Conv": 2 + place, "Clip": 1}, nodes=(f"conv{place}",), share=0.25) for place in range(4)
    ),
    cuts=(("a",), ("b",), ("c",)),
)


def run(gains: dict[int, float], *, call: float = 1.0, fused: float = 0.0, seed: int = 1, spread: float = 0.004) -> Run:
    """Return a run in which the second side takes `gains` ms more in some segments, `call` times as long to be called.

    `fused` is what the whole takes less than its segments on the second side.
    """
    times = {f"segment-{place}": (own, own + gains.get(place, 0.0)) for place, own in enumerate(SEGMENTS, 1)}
    whole = sum(SEGMENTS), sum(SEGMENTS) + sum(gains.values()) - fused
    extra = PASS, PASS * call
    models = {name: (one + extra[0], other + extra[1]) for name, (one, other) in times.items()}
    models |= {f"cut-{place}": extra for place in range(1, 4)}
    models |= dict.fromkeys(("original", "whole"), (whole[0] + extra[0], whole[1] + extra[1]))
    cases: list[Case] = []
    records: list[Record] = []
    rng = np.random.default_rng(seed)
    for model, (first, second) in models.items():
        speeds = {"one": first, "one-again": first, "two": second}
        made = {name: case_of(name, ("latency",), model=model) for name in speeds}
        made["one-again"] = replace(made["one-again"], control_of="one")
        cases += made.values()
        for block in range(BLOCKS):
            machine = rng.lognormal(0, 0.2)
            for name, case in made.items():
                own = rng.lognormal(0, spread) * machine * rng.lognormal(0, 0.01, 30)
                records.append(latency_of(case, block, speeds[name] * MS * own))
    return run_of(cases, records)


def explained(made: Run, folder: Path) -> Explained:
    sides = [parse_side(text, {}) for text in ("ort-python", "ort-rust")]
    parts = parts_of(made, CUTS, "one", "two")
    return Explained(model="net", first=sides[0], second=sides[1], cuts=CUTS, parts=parts, folder=folder)


def test_the_segment_that_differs_is_named_and_the_parts_add_up(tmp_path: Path) -> None:
    found = explained(run({2: 1.0}, call=1.4), tmp_path)
    assert [part.segments for part in found.by_kind["segment"]] == [(1,), (2,), (3, 4)]
    assert [part.segments for part in found.by_kind["segment"] if part.differs] == [(2,)]
    whole, added = (
        sum(part.difference.value for kind in kinds for part in found.by_kind[kind])
        for kinds in (["whole"], ["segment", "rest"])
    )
    assert added == pytest.approx(whole)
    assert whole / MS == pytest.approx(1.0 + PASS * 0.4, rel=0.25)
    assert not found.by_kind["rest"][0].differs
    lines = list(sentences(found))
    assert lines[0].startswith("ort-rust is 1.")
    assert "slower than ort-python" in lines[0]
    assert "of it in segment 2: 3 Conv, 1 Clip" in lines[1]


def test_what_is_in_no_segment_is_said(tmp_path: Path) -> None:
    found = explained(run({}, fused=2.0), tmp_path)
    assert not any(part.differs for part in found.by_kind["segment"])
    lines = list(sentences(found))
    assert "no part of it differs by more than noise" in lines
    assert "is in no segment" in lines[-1]


def test_a_segment_that_loses_what_others_gain_is_said(tmp_path: Path) -> None:
    lines = list(sentences(explained(run({1: 0.5, 4: -1.5}), tmp_path)))
    assert "faster than ort-python" in lines[0]
    assert "of it in segment 4" in lines[1]
    assert "lost: ort-rust is slower in segment 1" in lines[2]


def test_two_equal_sides_claim_nothing(tmp_path: Path) -> None:
    claims = 0
    for seed in range(60):
        found = explained(run({}, seed=seed, spread=0.01), tmp_path)
        claims += any(part.differs for part in found.parts)
    assert claims <= 2


def test_a_change_of_three_percent_of_the_whole_is_found(tmp_path: Path) -> None:
    right = 0
    for seed in range(40):
        found = explained(run({3: 0.3}, seed=seed), tmp_path)
        right += [part.segments for part in found.by_kind["segment"] if part.differs] == [(3,)]
    assert right >= 38


def test_table_json_and_plot(tmp_path: Path) -> None:
    found = explained(run({2: 1.0}), tmp_path)
    file = StringIO()
    show(found, Console(width=160, file=file))
    text = file.getvalue()
    assert "segments 3 to 4" in text
    assert "cuts (subtracted)" in text
    made = document(found)
    assert [part["kind"] for part in made["parts"]] == ["original", "whole", *["segment"] * 3, "cuts", "rest"]
    assert made["nodes"][1] == ("conv1",)
    assert b"<svg" in draw(found)


def test_the_phases_of_a_process_add_up(tmp_path: Path) -> None:
    cases = [case_of(name, ("life",)) for name in ("ort-python", "ort-rust")]
    cases.insert(1, replace(case_of("ort-python-again", ("life",)), control_of="ort-python"))
    maker = Maker(1, warm=1)
    made = run_of(cases, [maker.life(case, block) for block in range(20) for case in cases])
    sides = [parse_side(text, {}) for text in ("ort-python", "ort-rust")]
    parts = phases_of(made, "ort-python", "ort-rust")
    found = Explained(model="net", first=sides[0], second=sides[1], cuts=None, parts=parts, folder=tmp_path)
    phases = {part.phase: part for part in found.by_kind["phase"]}
    assert list(phases)[-1] == "exit"
    assert {"imports", "runtime", "environment", "load"} <= phases.keys()
    # a phase that one side lacks takes no time there
    assert (phases["environment"].first, phases["imports"].second) == (0, 0)
    whole = found.by_kind["whole"][0].difference.value
    assert sum(part.difference.value for part in phases.values()) == pytest.approx(whole, rel=0.05)
    lines = list(sentences(found))
    assert "faster than ort-python" in lines[0]
    assert "of it in imports" in lines[1]
    assert lines[2].endswith(("lost: ort-rust is slower in environment", "of it in exit", "of it in start"))
    assert document(found)["nodes"] == []
    assert b"<svg" in draw(found)


def test_a_model_that_failed_on_a_side_is_named() -> None:
    made = run({})
    left = [record for record in made.records if not record.case.startswith("segment-2.classify.two")]
    with pytest.raises(RunoffError, match="segment-2 on two has no times"):
        parts_of(Run(made.folder, made.info, tuple(left)), CUTS, "one", "two")


def test_a_side_runs_networks_or_onnx_files() -> None:
    names = ("torch", "torch-compile", "torchscript", "torch-export", "ort-rust", "openvino-python")
    assert [parse_side(name, {}).network for name in names] == ["pt", "pt", "pt", "pt2", "", ""]


def test_a_side_is_a_target_with_settings_or_a_release() -> None:
    side = parse_side("ort-rust@1.25.0,optimization=basic,arena=false", {"threads": 2})
    assert (side.target, side.release, side.runs_as) == ("ort-rust", "1.25.0", "ort-rust-1.25.0")
    assert (side.resolved.optimization, side.resolved.arena, side.resolved.threads) == ("basic", False, 2)
    assert side.name == "ort-rust-1.25.0-optimization-basic-arena-false"
    same = parse_side("torch", {})
    assert names_of([same, same]) == ["torch", "torch-2"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ort-pyton", "unknown target 'ort-pyton'"),
        ("ort-python,optimisation=basic", "unknown setting 'optimisation'"),
        ("ort-python,basic", "basic: no value"),
        ("ort-python,threads=none", "threads"),
    ],
)
def test_a_side_that_cannot_be_read_is_named(text: str, words: str) -> None:
    with pytest.raises(RunoffError, match=words):
        parse_side(text, {})
