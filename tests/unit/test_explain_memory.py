"""``runoff explain --metric memory`` without a process: parts that add up, holders, what settings save, words."""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING

import numpy as np
import pytest
from compared import latency_of
from msgspec.structs import replace
from rich.console import Console
from synthetic import case_of, phases_of, record, result_of, run_of

from runoff.explain.explanation import Explained
from runoff.explain.memory import Memory as Found
from runoff.explain.memory import Variant, details_of, memory_parts, savings_of, untried, variants
from runoff.explain.page import page
from runoff.explain.show import document, draw, sentences, show
from runoff.probes.mappings import FILES, LANGUAGE, PROGRAM, RUNTIME, by_holder, holder
from runoff.records.errors import RunoffError
from runoff.records.protocol import Arena, Memory
from runoff.records.reason import Reason
from runoff.sides import parse_side

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.records.schema import Case, Record, Run

MB, MS, BLOCKS = 1_000_000, 1_000_000, 10
ADDED = {
    "ort-python": {"start": 8, "imports": 30, "load": 40, "inference": 20},
    "ort-rust": {"start": 3, "runtime": 10, "load": 40, "inference": 20},
    "ort-rust-arena-false": {"start": 3, "runtime": 10, "load": 40, "inference": 12},
    "ort-rust-prepacking-false": {"start": 3, "runtime": 10, "load": 40, "inference": 20},
}
FREED = {"ort-python": 5, "ort-rust": 5, "ort-rust-arena-false": 5, "ort-rust-prepacking-false": 5}
WARM = {"ort-rust-arena-false": 12.0}
MAPPINGS = {
    "start": {"/opt/runoff-ort": 2 * MB, "[heap]": MB},
    "load": {"/opt/runoff-ort": 2 * MB, "/opt/libonnxruntime.so.1.32.0": 10 * MB, "[heap]": 41 * MB},
    "inference": {"/opt/runoff-ort": 2 * MB, "/opt/libonnxruntime.so.1.32.0": 11 * MB, "[heap]": 60 * MB},
    "output": {"[heap]": 60 * MB},
}


def memory_of(case: Case, block: int, noise: float, drop: float = 0.0) -> Record:
    """Return a record whose phases add `ADDED`, after a first reading that is `drop` MB higher than the second."""
    resident, after = noise, {}
    for place, (phase, added) in enumerate(ADDED[case.control_of or case.target].items()):
        resident += added * MB
        after[phase] = int(resident + (drop * MB if place == 0 else 0))
    phases = phases_of(dict.fromkeys(after, MS), 0)
    peak = int(resident) + FREED[case.control_of or case.target] * MB
    return record(case, "memory", block, result=result_of(case, phases=phases, memory=Memory(peak, after)))


def mappings_of(case: Case, block: int) -> Record:
    peaks = {"start": 3 * MB, "load": 75 * MB, "inference": 75 * MB, "output": 75 * MB}
    arena = {"load": Arena(5 * MB, 5 * MB, 5 * MB), "inference": Arena(6 * MB, 17 * MB, 20 * MB)}
    memory = Memory(75 * MB, peak_after=peaks, mappings=MAPPINGS, arena=arena)
    phases = phases_of(dict.fromkeys(peaks, MS), 0)
    return record(case, "mappings", block, result=result_of(case, phases=phases, memory=memory))


def measured_run(folder: Path, *, first: str = "ort-python", drop: float = 0.0) -> Run:
    """Return a run of two sides and of two variants of ort-rust, in which ort-python lists no mappings."""
    probes = ("accuracy", "latency", "memory", "mappings")
    cases = [case_of(name, probes) for name in (first, *ADDED) if name != "ort-python" or first == name]
    cases = list({case.target: case for case in cases}.values())
    cases.insert(1, replace(case_of(f"{first}-again", probes), control_of=first))
    rng = np.random.default_rng(1)
    made = [memory_of(case, block, rng.normal(0, 0.2) * MB, drop) for case in cases for block in range(BLOCKS)]
    for case in cases:
        warm = [latency_of(case, b, WARM.get(case.target, 10.0) * MS * rng.lognormal(0, 0.01, 20)) for b in range(8)]
        made += warm
        if case.target == "ort-rust":
            made += [mappings_of(case, block) for block in range(3)]
        if case.target == "ort-python":
            reason = Reason("measure", "the runner does not support 'mappings' (supported: once)")
            made.append(replace(record(case, "mappings", 0), status="not-measured", reason=reason))
    return run_of(cases, made, folder)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Explained:
    """Return the explanation of a run."""
    run = measured_run(tmp_path_factory.mktemp("run"))
    sides = [parse_side(text, {}) for text in ("ort-python", "ort-rust")]
    parts, missing = memory_parts(run, "ort-python", "ort-rust")
    names = {side.text: side.text for side in sides}
    tried = [(one.name, one) for one in variants(sides) if one.name in ADDED]
    savings, notes = savings_of(run, names, tried, parts[0].floor)
    details = tuple(details_of(run, side, side.name, 78 * MB) for side in sides)
    reasons = untried([*sides, *variants(sides)], [side for _, side in tried])
    memory = Found(details=details, savings=savings, notes=(*missing, *notes, *reasons))
    return Explained(
        model="net", first=sides[0], second=sides[1], cuts=None, parts=parts, memory=memory, folder=run.folder
    )


def test_phases_and_what_was_freed_add_up_to_the_difference_of_the_peaks(tmp_path: Path) -> None:
    # what is below an earlier reading adds nothing
    for drop in (0.0, 2.0):
        parts, missing = memory_parts(measured_run(tmp_path, drop=drop), "ort-python", "ort-rust")
        assert missing == ()
        whole, *phases = parts
        assert whole.difference.value / MB == pytest.approx(-25, abs=0.5)
        assert sum(part.difference.value for part in phases) == pytest.approx(whole.difference.value)
        found = {part.phase: part for part in phases}
        assert list(found) == ["start", "imports", "runtime", "load", "inference", "temporary memory"]
        assert found["imports"].second == 0
        assert {name for name, part in found.items() if part.differs} == {"start", "runtime", "imports"}


def test_two_equal_sides_claim_nothing(tmp_path: Path) -> None:
    run = measured_run(tmp_path, first="ort-rust")
    other = "ort-rust-prepacking-false"
    assert not any(part.differs for part in memory_parts(run, "ort-rust", other)[0])


def test_the_holders_add_up_to_the_peak(tmp_path: Path) -> None:
    details = details_of(measured_run(tmp_path), parse_side("ort-rust", {}), "ort-rust", 78 * MB)
    held = {one.name: one.size / MB for one in details.held if one.size}
    assert (details.peak, details.peak_in) == (75 * MB, "load")
    assert held == {
        "code of the runtime": 11,
        "program and system libraries": 2,
        "allocated before the model is loaded": 1,
        "allocated in load: weights, graph": 40,
        "repacked weights (arena)": 5,
        "allocated after load: inputs, activations, outputs": 19,
        "activations and workspace (arena)": 12,
        "freed again": 2,
    }


def test_a_mapping_belongs_to_the_runtime_the_language_the_program_or_a_file() -> None:
    packages = "/env/lib/python3.11/site-packages"
    assert holder(f"{packages}/onnxruntime/capi/onnxruntime_pybind11_state.so", "onnxruntime") == RUNTIME
    assert holder(f"{packages}/torch/lib/libtorch_cpu.so", "torch") == RUNTIME
    assert holder(f"{packages}/numpy/core.so", "onnxruntime") == LANGUAGE
    assert holder("/usr/lib/libpython3.11.so.1.0", "torch") == LANGUAGE
    assert holder("/usr/lib/x86_64-linux-gnu/libc.so.6", "torch") == PROGRAM
    assert holder("/home/me/target/release/runoff-ort", "onnxruntime") == PROGRAM
    assert holder("/home/me/models/net.ort", "onnxruntime") == FILES
    assert sum(by_holder({"": 1, "[heap]": 2, "/a.onnx": 4}, "torch").values()) == 7


def test_what_a_setting_saves_and_costs_is_said(found: Explained) -> None:
    lines = list(sentences(found))
    assert lines[0].startswith("ort-rust needs 25")
    assert "less memory than ort-python, of 103 MB" in lines[0]
    assert "30 MB (" in lines[1]
    assert "of it in imports" in lines[1]
    assert "lost: ort-rust needs more memory in runtime" in lines[2]
    text = "\n".join(lines)
    assert "ort-rust peaks at 75 MB, reached in load: 40 MB allocated in load" in text
    (saving, other) = found.memory.savings if found.memory else ()
    assert (saving.differs, other.differs) == (True, False)
    assert saving.peak.value / MB == pytest.approx(-8, abs=0.3)
    assert saving.warm is not None
    assert saving.warm.value / MS == pytest.approx(2, rel=0.1)
    words = r"ort-rust,arena=false needs [78].* MB \(.*\) less; a warm inference takes .* ms \(.*\) more"
    assert re.search(words, text)
    assert "no difference of memory shown: ort-rust,prepacking=false" in text
    assert "what holds the memory of ort-python is not known: the runner does not support 'mappings'" in text
    assert "settings of ort-python were not measured: its runner knows none that lowers memory" in text


def test_table_json_plot_and_page(found: Explained) -> None:
    file = StringIO()
    show(found, Console(width=160, file=file))
    assert "difference in MB" in file.getvalue()
    assert "of it: activations and workspace (arena)" in file.getvalue()
    made = document(found)
    assert made["parts"][0]["difference_bytes"] == found.parts[0].difference.value
    assert [one["side"] for one in made["savings"]] == ["ort-rust,arena=false", "ort-rust,prepacking=false"]
    assert made["held"][1]["peak_bytes"] == 75 * MB
    plot = draw(found)
    assert b"needs less memory" in plot
    html = page(found, plot.decode(), "Test CPU").decode()
    assert "What holds the memory at the peak" in html
    assert "Difference in MB" in html


def test_settings_are_tried_that_differ_and_once_for_a_target() -> None:
    def tried(*texts: str) -> list[str]:
        return [side.text for side in variants([parse_side(text, {}) for text in texts])]

    of_rust = ["prepacking=false", "optimization=basic", "prepared=true", "profile=cold"]
    assert tried("ort-rust", "ort-rust,arena=false") == [f"ort-rust,{words}" for words in of_rust]
    both = tried("torch", "ort-rust,profile=cold")
    assert "torch,arena=false" in both
    assert not any(text.startswith("ort-rust") and "arena" in text for text in both)
    made = variants([parse_side("ort-rust@1.25.0", {"threads": 2}), parse_side("ort-python", {})])[0]
    assert isinstance(made, Variant)
    assert (made.of, made.changed, made.runs_as) == ("ort-rust@1.25.0", ("arena",), "ort-rust-1.25.0")
    assert made.resolved.threads == 2


def test_a_runner_without_phases_or_peak_is_named(tmp_path: Path) -> None:
    run = measured_run(tmp_path)

    def without(record: Record, memory: Memory | None) -> Record:
        is_second = record.probe == "memory" and ".ort-rust.default" in record.case
        return replace(record, result=replace(record.result, memory=memory)) if is_second else record  # type: ignore[type-var]

    plain = replace(run, records=tuple(without(one, Memory(78 * MB)) for one in run.records))
    parts, missing = memory_parts(plain, "ort-python", "ort-rust")
    assert [part.kind for part in parts] == ["whole"]
    assert missing == ("no memory by phase: the runner of ort-rust does not report it",)
    bare = replace(run, records=tuple(without(one, None) for one in run.records))
    with pytest.raises(RunoffError, match="the memory of ort-rust was not measured: its runner reports no peak"):
        memory_parts(bare, "ort-python", "ort-rust")
