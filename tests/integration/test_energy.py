"""The probe ``energy``: real runners over injected counters, and the counters of this machine."""

from __future__ import annotations

import io
import json
import re
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from injected_energy import inject
from rich.console import Console
from running import only_run, reasons, runoff, write_suite

from runoff.analysis.analyse import analyse
from runoff.bench import bench
from runoff.measure.energy.meters import find_meters
from runoff.measure.energy.stream import Stream
from runoff.processes import Spawner
from runoff.records.errors import ExitCode
from runoff.report.markdown import report

if TYPE_CHECKING:
    from pathlib import Path

    from injected_energy import InjectedEnergy

    from runoff.analysis.analyse import Analysis

IDLE_W, PROCESS_J, INFERENCE_J = 10.0, 0.5, 0.02
MORE = """
[measure]
timeout_s = 20
[measure.blocks]
energy = 2
[measure.latency]
warmup_time_s = 0.1
[measure.energy]
window_s = 0.6
idle_s = 0.4
"""


def measured(folder: Path, *targets: str) -> tuple[ExitCode, Analysis]:
    """Measure these targets with the whole pipeline, in this process."""
    suite = write_suite(folder, *targets, probes='"energy"', more=MORE)
    _, code = bench(suite, folder / "results", Console(file=io.StringIO()))
    return code, analyse(only_run(folder / "results"))


@pytest.fixture(scope="module")
def injected(
    complete: None,  # noqa: ARG001 (checked before)
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[ExitCode, Analysis, InjectedEnergy]:
    """Return a run of a real runtime and of a null runner, with the tree of its counters."""
    folder = tmp_path_factory.mktemp("injected")
    with pytest.MonkeyPatch.context() as monkeypatch:
        tree = inject(folder / "powercap", monkeypatch, idle_w=IDLE_W, process_j=PROCESS_J, inference_j=INFERENCE_J)
        return *measured(folder, "ort-python", "ort-rust", "null-python"), tree


def lines_of(analysis: Analysis, target: str) -> dict[str, dict[Any, Any]]:
    """Return the lines of a target by metric."""
    summary = analysis.summary
    own = summary[(summary["target"] == target) & (summary["probe"] == "energy")]
    return {line["metric"]: line for line in own.to_dict("records")}


@pytest.mark.parametrize("target", ["ort-python", "ort-rust", "ort-python-again"])
def test_measured_joules_equal_the_injected_ones(
    target: str, injected: tuple[ExitCode, Analysis, InjectedEnergy]
) -> None:
    code, analysis, tree = injected
    assert code == ExitCode.OK
    assert tree.wrapped
    lines = lines_of(analysis, target)
    assert lines["process.package"]["estimate"] == pytest.approx(PROCESS_J, rel=0.02)
    assert lines["inference.package"]["estimate"] == pytest.approx(INFERENCE_J, rel=0.02)
    for part in ("idle", "idle-before", "idle-after"):
        assert lines[f"power.{part}.package"]["estimate"] == pytest.approx(IDLE_W, rel=0.02)
    assert lines["inference.package.gross"]["estimate"] > lines["inference.package"]["estimate"]
    assert lines["process.package"]["n"] == 2
    assert lines["process.package"]["reason"].startswith("powercap, processor package; resolution ")
    assert "process.core" not in lines
    (meter,) = analysis.run.info.meters
    assert meter.unavailable["core"].startswith("dead counter: core did not move in ")


def test_equal_joules_are_no_difference(injected: tuple[ExitCode, Analysis, InjectedEnergy]) -> None:
    _, analysis, _ = injected
    # the counters are exact, so a difference of a ten-thousandth, from the idle power, may be beyond their noise floor
    assert lines_of(analysis, "ort-rust")["process.package"]["ratio"] == pytest.approx(1, abs=1e-3)


def test_a_null_runner_shows_the_harness_cost_of_a_process(
    injected: tuple[ExitCode, Analysis, InjectedEnergy],
) -> None:
    _, analysis, _ = injected
    lines = lines_of(analysis, "null-python")
    assert lines["process.package"]["estimate"] == pytest.approx(PROCESS_J, rel=0.02)
    assert not any(metric.startswith("inference") for metric in lines)


def test_windows_are_long_enough_and_rest_is_counted_as_a_pause(
    injected: tuple[ExitCode, Analysis, InjectedEnergy],
) -> None:
    _, analysis, _ = injected
    rests, info = 0, analysis.run.info
    for record in analysis.run.records:
        if record.probe != "energy":
            continue
        parts = [window.part for window in record.energy]
        assert parts[0] == "idle-before"
        assert parts[-1] == "idle-after"
        for window in record.energy:
            lasted = window.end_ns - window.start_ns
            assert lasted >= (0.6e9 if window.count else 0.4e9)
            assert window.others is not None
            rests += 0 if window.count else lasted
    assert info.paused_ns == rests
    assert [meter.name for meter in info.meters] == ["powercap"]
    assert set(info.unavailable_meters) >= {"perf", "ioreport"}


def test_the_report_has_every_part(injected: tuple[ExitCode, Analysis, InjectedEnergy]) -> None:
    text = report(injected[1], [])
    assert "| energy per inference (package) |" in text
    assert "powercap, core: dead counter" in text
    assert "powercap, package (processor package)" in text
    assert "| energy | " in text[text.index("<summary>Fairness audit</summary>") :]


# test_bad_turns has all of them: the engine is the same
KINDS = {"dies": "crashed", "hangs": "timeout", "late": "outputs-differ"}


def test_a_failing_live_runner_has_no_figure(
    complete: None,  # noqa: ARG001 (checked before)
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inject(tmp_path / "powercap", monkeypatch, idle_w=IDLE_W, process_j=PROCESS_J, inference_j=INFERENCE_J)
    monkeypatch.setattr(f"{__name__}.MORE", MORE.replace("timeout_s = 20", "timeout_s = 2"))
    code, analysis = measured(tmp_path, "bad-turn-ok", *(f"bad-turn-{how}" for how in KINDS))
    assert code == ExitCode.CASE_FAILED
    assert reasons(analysis.run) == {f"bad-turn-{how}": ("error", kind) for how, kind in KINDS.items()}
    summary = analysis.summary[analysis.summary["probe"] == "energy"]
    failed = summary[summary["target"].isin([f"bad-turn-{how}" for how in KINDS])]
    assert set(failed["status"]) == {"error"}
    assert failed["estimate"].isna().all()
    fine = lines_of(analysis, "bad-turn-ok")
    assert fine["inference.package"]["estimate"] == pytest.approx(INFERENCE_J, rel=0.03)


def test_a_removed_counter_leaves_a_reason_and_no_figure(
    complete: None,  # noqa: ARG001 (checked before)
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tree = inject(tmp_path / "powercap", monkeypatch, idle_w=IDLE_W, process_j=PROCESS_J, inference_j=INFERENCE_J)
    monkeypatch.setattr(tree, "add", lambda joules: tree.remove() if joules < PROCESS_J else None)
    code, analysis = measured(tmp_path, "ort-python")
    assert code == ExitCode.CASE_FAILED, "it was planned, and began"
    (record,) = [record for record in analysis.run.records if record.probe == "energy"]
    assert (record.status, [window.part for window in record.energy]) == ("not-measured", ["idle-before", "process"])
    assert "can no longer be read" in str(record.reason)
    (line,) = lines_of(analysis, "ort-python").values()
    assert (line["status"], line["n"]) == ("not-measured", 0)


@pytest.mark.clock
def test_this_machine_counts_energy_or_gives_a_reason(tmp_path: Path) -> None:
    more = "[measure.blocks]\nenergy = 2\n[measure.energy]\nwindow_s = 0.2\nidle_s = 0.2\n"
    suite = write_suite(tmp_path, "null-python", probes='"life", "energy"', more=more)
    ended = runoff("bench", suite, "--results", tmp_path / "results")
    assert ended.code == 0, ended.err
    run = only_run(tmp_path / "results")
    with Spawner(tmp_path / "log") as spawner:
        here = find_meters(spawner)
    assert {meter.name for meter in run.info.meters} == {meter.info.name for meter in here.found}
    assert set(run.info.unavailable_meters) == set(here.unavailable)
    summary = pd.read_csv(run.folder / "summary.csv")
    rows = summary[summary["probe"] == "energy"]
    assert not rows.empty
    text = (run.folder / "report.md").read_text()
    for name, reason in here.unavailable.items():
        assert f"{name}: {reason.message}" in text
    energy_rows = rows[rows["unit"].isin(["J", "W"])]
    if here.reason is None:
        figures = energy_rows[energy_rows["status"] == "ok"]
        assert figures["estimate"].notna().all()
        assert figures["reason"].notna().all()
    else:
        assert set(energy_rows["status"]) == {"not-measured"}
        assert energy_rows["estimate"].isna().all()
        assert energy_rows["reason"].str.contains(here.reason.message, regex=False).all()
        assert [record.status for record in run.records if record.probe == "energy"] == ["not-measured"]
        assert here.reason.message in " ".join(ended.out.split())


@pytest.mark.clock
def test_the_real_perf_writes_a_block_every_tenth_of_a_second_and_ends(perf: str, tmp_path: Path) -> None:
    command = (perf, "stat", "-a", "-j", "-e", "cpu-clock,context-switches", "--log-fd", "1", "-I", "100")
    with Spawner(tmp_path / "log") as spawner:
        stream = Stream(spawner, command, tmp_path / "perf.jsonl", re.compile(rb"context-switches[^\n]*\n"))
        stream.next()
        time.sleep(0.35)
        lines = [json.loads(line) for line in stream.next().splitlines()]
        began = time.monotonic()
        stream.close()
        assert time.monotonic() - began < 2
    ends = sorted({line["interval"] for line in lines})
    assert len(ends) >= 3
    assert max(later - earlier for earlier, later in pairwise(ends)) < 0.3
    assert {line["event"] for line in lines} == {"cpu-clock", "context-switches"}
    size = (tmp_path / "perf.jsonl").stat().st_size
    time.sleep(0.3)
    assert (tmp_path / "perf.jsonl").stat().st_size == size
