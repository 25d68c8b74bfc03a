"""From windows to joules: subtraction, omitted figures, and the fields of a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from energy_runs import METER, energy_run, of_case, window, windows
from synthetic import case_of, record, run_of

from runoff.analysis.audit import audit
from runoff.analysis.samples import tidy
from runoff.analysis.summary import summarise
from runoff.probes.energy import nets, read, resolutions, shortfalls, shown_domains
from runoff.records.reason import Reason
from runoff.records.schema import MeterInfo, Run

if TYPE_CHECKING:
    from runoff.records.schema import EnergyWindow, Record


def run_with(*blocks: tuple[EnergyWindow, ...], target: str = "ort-rust") -> Run:
    """Return a run of one case with these blocks."""
    case = case_of(target, ("energy",))
    run = run_of([case], of_case(case, *blocks))
    run.info.meters = (METER,)
    return run


def numbers(run: Run) -> dict[str, float]:
    """Return the values of the first record by metric."""
    return {sample.metric: sample.value for sample in read(run.records[0], run.info.meters)}


def lines_of(run: Run) -> dict[str, dict[Any, Any]]:
    """Return the lines of a run's summary by metric."""
    return {line["metric"]: line for line in summarise(run, tidy(run)).to_dict("records")}


def test_idle_power_is_subtracted() -> None:
    found = numbers(run_with(windows(process=(30.0, 4), inference=(25.0, 200), idle=(9.0, 11.0))))
    assert found["process.package"] == pytest.approx((60 - 20) / 4)
    assert found["process.package.gross"] == pytest.approx(60 / 4)
    assert found["inference.package"] == pytest.approx((50 - 20) / 200)
    assert found["inference.core"] == pytest.approx((25 - 10) / 200)
    assert found["power.process.package"] == pytest.approx(20)
    assert found["power.process.package.gross"] == pytest.approx(30)
    assert found["power.idle.package"] == pytest.approx(10)
    assert (found["power.idle-before.package"], found["power.idle-after.package"]) == pytest.approx((9, 11))
    assert found["others.process"] == 0.02


def test_rest_between_the_readings_adds_nothing() -> None:
    """A stream's window is longer than the work: the machine idles until its block ends."""
    longer = window("process", 0.0, 4, joules={"powercap.package": 60.0 + 0.2 * 10}, seconds={"powercap": 2.2})
    before, _, after = windows(inference=None)
    found = numbers(run_with((before, longer, after)))
    assert found["process.package"] == pytest.approx((60 - 20) / 4)
    assert found["process.package.gross"] == pytest.approx(60 / 4)
    assert found["power.process.package"] == pytest.approx(20)


def test_the_resolution_is_a_step_of_each_window_and_the_drift() -> None:
    run = run_with(windows(process=(30.0, 4), idle=(9.0, 11.0)))
    steps = (61e-6 + 30 * 0.001) + (61e-6 + 10 * 0.001)
    assert resolutions(run.records, run.info.meters)["process.package"] == pytest.approx((steps + 2.0) / 4)


@pytest.mark.parametrize(
    ("process_w", "idle", "says"),
    [(10.005, (10.0, 10.0), "above idle"), (13.0, (10.0, 14.0), "above idle"), (9.0, (10.0, 10.0), "below idle")],
)
def test_a_net_figure_within_the_resolution_is_omitted_with_a_reason(
    process_w: float, idle: tuple[float, float], says: str
) -> None:
    run = run_with(*[windows(process=(process_w, 1), idle=idle)] * 2)
    lines = lines_of(run)
    line = lines["process.package"]
    assert (line["status"], line["n"]) == ("not-measured", 0)
    assert line["reason"].startswith("below the resolution: ")
    assert says in line["reason"]
    assert lines["power.process.package"]["status"] == "not-measured"
    assert lines["process.package.gross"]["status"] == "ok"
    assert lines["inference.package"]["status"] == "ok"
    assert "process.package" not in set(tidy(run)["metric"])


def test_one_unresolved_block_omits_the_net_figure() -> None:
    lines = lines_of(run_with(windows(), windows(), windows(process=(10.0, 1))))
    assert lines["process.package"]["status"] == "not-measured"
    assert lines["inference.package"]["n"] == 3


def test_a_dead_counter_has_no_figure_in_any_form() -> None:
    dead = windows(
        joules={"powercap.package": 60.0}, silent={"powercap.core": "dead counter: core did not move in 2.0 s of work"}
    )
    lines = lines_of(run_with(dead, dead))
    for metric in ("process.core", "process.core.gross", "power.process.core", "power.process.core.gross"):
        assert lines[metric]["status"] == "not-measured"
        assert lines[metric]["reason"] == "powercap: dead counter: core did not move in 2.0 s of work"
    assert lines["process.package"]["status"] == "ok"


def test_an_idle_counter_that_stands_still_is_not_zero_watts() -> None:
    lines = lines_of(run_with(*[windows(idle=(0.0, 0.0))] * 2))
    assert lines["power.idle.package"]["status"] == "not-measured"
    assert "did not move while the machine was idle" in lines["power.idle.package"]["reason"]
    assert lines["process.package"]["estimate"] == pytest.approx(15)


def test_without_both_idle_windows_there_is_no_figure() -> None:
    run = run_with(windows()[:-1])
    assert list(nets(run.records[0], run.info.meters)) == []
    assert "before and after" in lines_of(run)["process.package"]["reason"]


def test_a_runner_without_turns_has_no_inference_energy_and_a_reason() -> None:
    lines = lines_of(run_with(*[windows(inference=None)] * 2))
    assert lines["inference.package"]["status"] == "not-measured"
    assert "needs a runner that takes turns" in lines["inference.package"]["reason"]


def test_a_null_runner_has_no_inference_window() -> None:
    lines = lines_of(run_with(*[windows(inference=None)] * 2, target="null-rust"))
    assert not any(metric.startswith("inference") for metric in lines)
    assert lines["process.package"]["verdict"] == ""


def test_every_figure_has_its_source_scope_and_resolution() -> None:
    lines = lines_of(energy_run())
    figures = {metric: line for metric, line in lines.items() if line["unit"] in ("J", "W") and line["status"] == "ok"}
    assert len(figures) > 10
    assert all(line["reason"].startswith("powercap, ") for line in figures.values())
    assert figures["inference.package"]["reason"].startswith("powercap, processor package; resolution 0.000")


def test_ratios_are_about_joules_and_not_about_watts() -> None:
    summary = summarise(run := energy_run(), tidy(run))
    rust = summary[(summary["target"] == "ort-rust") & (summary["baseline"] == "torch")].set_index("metric")
    inference = rust.loc["inference.package"]
    assert inference["ratio"] == pytest.approx((40 / 40) / (30 / 210), rel=0.05)
    assert " less (" in inference["verdict"]
    assert not any(str(metric).startswith("power.") for metric in rust.index)


def test_a_machine_without_counters_has_a_row_with_every_source_and_reason() -> None:
    case = case_of("ort-rust", ("energy",))
    why = Reason("no-meter", "powercap: no RAPL zone; perf: no events; nvml: no driver")
    run = run_of([case], [record(case, "energy", 0, status="not-measured", reason=why)])
    (line,) = summarise(run, tidy(run)).to_dict("records")
    assert (line["probe"], line["metric"], line["status"]) == ("energy", "inference", "not-measured")
    assert line["reason"] == f"no-meter: {why.message}"
    assert line["n"] == 0


def test_a_failed_process_is_an_error_not_a_small_figure() -> None:
    run = run_with(windows(), windows())
    bad = msgspec.structs.replace(run.records[1], status="error", reason=Reason("crashed", "it did"))
    corrupted = Run(run.folder, run.info, (run.records[0], bad))
    assert {line["status"] for line in lines_of(corrupted).values()} == {"error"}


def test_a_report_shows_the_processor_and_separate_gpus() -> None:
    run = energy_run()
    apple = MeterInfo(name="ioreport", source="", domains={"cpu": "", "gpu": "", "soc": ""}, resolution_j=1, step_s=1)
    nvidia = MeterInfo(name="nvml", source="", domains={"gpu0": "", "gpu1": ""}, resolution_j=1, step_s=1)
    assert shown_domains(run.info.meters) == ["package"]
    assert shown_domains((apple,)) == ["soc"]
    assert shown_domains((METER, nvidia)) == ["package", "gpu0", "gpu1"]
    assert shown_domains(()) == []


@pytest.mark.parametrize(("others", "outcome"), [(0.02, "ok"), (0.8, "unknown")])
def test_other_work_on_the_package_is_in_the_audit(others: float, outcome: str) -> None:
    (point,) = [point for point in audit(energy_run(others=others)) if point.point == "energy"]
    assert point.outcome == outcome
    assert point.detail.startswith("counters: powercap.core, powercap.package; ")
    assert "other work: " in point.detail


def test_different_sources_are_not_a_fair_comparison() -> None:
    run = energy_run()

    def renamed(item: Record) -> Record:
        if "torch" not in item.case:
            return item
        parts = [msgspec.structs.replace(part, joules={"perf.package": 1.0}) for part in item.energy]
        return msgspec.structs.replace(item, energy=tuple(parts))

    (point,) = [
        point for point in audit(Run(run.folder, run.info, tuple(map(renamed, run.records)))) if point.point == "energy"
    ]
    assert point.outcome == "differs"


def test_windows_survive_the_file() -> None:
    item = energy_run().records[0]
    assert msgspec.json.decode(msgspec.json.encode(item), type=type(item)) == item
    assert list(shortfalls([item], (METER,))) == []
