"""Selection of energy sources, their reading order, and the errors if none is available."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from orchestra import case_of, info_of

from runoff.bench import _find_meters
from runoff.cli import doctor
from runoff.measure.energy import ioreport, meters, nvml, perf, powercap, powermetrics
from runoff.measure.energy.meter import MeterError, Reading
from runoff.measure.energy.meters import Meters, find_meters
from runoff.processes import Spawner
from runoff.records.reason import Reason
from runoff.records.schema import MeterInfo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class RecordingMeter:
    """A source that records its calls."""

    may_rest: frozenset[str] = frozenset({"uncore"})

    def __init__(
        self, name: str, heard: list[str], *, waits: bool = False, step_s: float = 0.001, **watts: float
    ) -> None:
        self.watts = watts or {"package": 1.0}
        self.waits = waits
        self.heard = heard
        self.info = MeterInfo(
            name=name, source="", domains=dict.fromkeys(self.watts, ""), resolution_j=0.0, step_s=step_s
        )

    def open(self, spawner: Spawner, scratch: Path) -> None:  # noqa: ARG002 (the interface of a meter)
        """Record the call."""
        self.heard.append(f"open {self.info.name}")

    def read(self) -> Reading:
        """Record the call."""
        self.heard.append(f"read {self.info.name}")
        now_ns = time.monotonic_ns()
        return Reading(now_ns, {domain: watts * now_ns for domain, watts in self.watts.items()})

    def close(self) -> None:
        """Record the call."""
        self.heard.append(f"close {self.info.name}")


@pytest.fixture
def spawner(tmp_path: Path) -> Iterator[Spawner]:
    with Spawner(tmp_path / "log") as made:
        yield made


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Return the result of each source by name; none is available until a test adds it."""
    answers: dict[str, object] = {}

    def answer(name: str) -> object:
        return answers.get(name, Reason("no-counter", f"no {name}"))

    monkeypatch.setattr(powercap, "find_powercap", lambda: answer("powercap"))
    monkeypatch.setattr(perf, "find_perf", lambda _: answer("perf"))
    monkeypatch.setattr(ioreport, "find_ioreport", lambda: answer("ioreport"))
    monkeypatch.setattr(powermetrics, "find_powermetrics", lambda _: answer("powermetrics"))
    monkeypatch.setattr(nvml, "find_nvml", lambda: answer("nvml"))
    monkeypatch.setattr(meters, "_WORK_S", 0.05)
    return answers


def test_with_no_source_each_is_named_with_its_reason(here: dict[str, object], spawner: Spawner) -> None:
    here["powercap"] = Reason("permission", "energy_uj may be read by root only", "run: sudo chmod")
    here["perf"] = Reason("permission", "perf may not count", "run: sudo sysctl")
    reason = find_meters(spawner).reason
    assert reason == Reason(
        "no-meter",
        "powercap: energy_uj may be read by root only; perf: perf may not count; ioreport: no ioreport; "
        "powermetrics: no powermetrics; nvml: no nvml",
        "run: sudo chmod; or run: sudo sysctl",
    )


@pytest.mark.parametrize(("better", "other"), [("powercap", "perf"), ("ioreport", "powermetrics")])
def test_the_better_of_two_sources_of_the_same_counters_is_taken(
    better: str, other: str, here: dict[str, object], spawner: Spawner
) -> None:
    here[other] = RecordingMeter(other, [])
    assert [meter.info.name for meter in find_meters(spawner).found] == [other]
    here[better], here["nvml"] = RecordingMeter(better, []), RecordingMeter("nvml", [])
    found = find_meters(spawner)
    assert [meter.info.name for meter in found.found] == [better, "nvml"]
    assert found.reason is None
    assert found.unavailable[other].message == f"not needed: {better} reads the same counters"


def test_streams_are_waited_for_outside_the_work(spawner: Spawner, tmp_path: Path) -> None:
    heard: list[str] = []
    both = Meters((RecordingMeter("nvml", heard), RecordingMeter("perf", heard, waits=True, step_s=0.1)))
    with both.opened(spawner, tmp_path):
        both.begin()
        both.end()
    assert heard == [
        *("open nvml", "open perf"),
        *("read perf", "read nvml", "read nvml", "read perf"),
        *("close perf", "close nvml"),
    ]
    assert both.step_s == 0.1


def test_open_sources_are_closed_if_another_fails_to_open(
    spawner: Spawner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    first, second = RecordingMeter("nvml", heard), RecordingMeter("perf", heard)

    def refuse(_spawner: Spawner, _scratch: Path) -> None:
        raise MeterError(Reason("stream", "it does not start"))

    monkeypatch.setattr(second, "open", refuse)
    with pytest.raises(MeterError, match="does not start"), Meters((first, second)).opened(spawner, tmp_path):
        heard.append("never")
    assert heard == ["open nvml", "close perf", "close nvml"]


def test_the_real_search_on_this_machine_takes_or_explains_every_source(spawner: Spawner) -> None:
    found = find_meters(spawner)
    names = {meter.info.name for meter in found.found} | set(found.unavailable)
    assert names == {"powercap", "perf", "ioreport", "powermetrics", "nvml"}
    assert all(reason.message for reason in found.unavailable.values())
    assert meters.Meters().step_s == 0.0


def test_doctor_reports_readable_sources_or_a_hint(here: dict[str, object], spawner: Spawner) -> None:
    here["powercap"] = Reason("permission", "energy_uj may be read by root only", "run: sudo chmod")
    finding = doctor._energy(spawner)
    assert (finding.what, finding.state, finding.advice) == ("probe energy", "missing", "run: sudo chmod")
    assert finding.detail.startswith("powercap: energy_uj may be read by root only; perf: no perf; ")
    here["powercap"], here["nvml"] = RecordingMeter("powercap", []), RecordingMeter("nvml", [])
    finding = doctor._energy(spawner)
    assert (finding.state, finding.detail) == ("ok", "powercap: package; nvml: package")


def test_a_run_records_its_sources_and_keeps_those_before_a_resume(here: dict[str, object], spawner: Spawner) -> None:
    with_energy, without_energy = case_of("a", ("energy",)), case_of("b", ("life",))
    info = info_of(with_energy, without_energy)
    here["powercap"] = RecordingMeter("powercap", [])
    assert _find_meters([without_energy], spawner, info).found == ()
    assert info.unavailable_meters == {}
    assert len(_find_meters([with_energy], spawner, info).found) == 1
    assert set(info.unavailable_meters) == {"perf", "ioreport", "powermetrics", "nvml"}
    here["powercap"], here["nvml"] = Reason("permission", "no more"), RecordingMeter("nvml", [])
    assert [meter.info.name for meter in _find_meters([with_energy], spawner, info).found] == ["nvml"]
    assert [meter.name for meter in info.meters] == ["powercap", "nvml"]
    assert set(info.unavailable_meters) == {"perf", "ioreport", "powermetrics"}


def test_a_dead_counter_is_removed_before_anything_is_measured(here: dict[str, object], spawner: Spawner) -> None:
    half_dead = here["powercap"] = RecordingMeter("powercap", [], package=2.0, psys=0.0, uncore=0.0)
    found = find_meters(spawner)
    assert set(half_dead.info.domains) == {"package", "uncore"}
    assert half_dead.info.unavailable["psys"].startswith("dead counter: psys did not move in ")
    (line,) = found.unreadable()
    assert line.startswith("powercap, psys: dead counter")
    assert doctor._energy(spawner).detail.startswith(
        "powercap: package, uncore; unavailable: powercap, psys: dead counter"
    )
    assert half_dead.heard[-1] == "close powercap"


def test_a_source_with_only_dead_counters_is_unavailable(here: dict[str, object], spawner: Spawner) -> None:
    dead = here["powercap"] = RecordingMeter("powercap", [], psys=0.0, uncore=0.0)
    info = info_of(case_of("a", ("energy",)))
    found = _find_meters(info.cases, spawner, info)
    assert found.found == ()
    assert found.unavailable["powercap"].message.startswith("dead counter: psys did not move in ")
    assert info.unavailable_meters["powercap"].startswith("dead counter")
    assert "powercap: dead counter" in doctor._energy(spawner).detail
    assert dead.heard.count("open powercap") == 2, "once for the run, once for doctor"


def test_the_work_is_real_and_ends(spawner: Spawner) -> None:
    before = os.times()
    with meters._work(spawner):
        pids = [process.pid for process in spawner.processes]
        time.sleep(0.3)
    spent = os.times()
    assert len(pids) == 2
    assert spent.children_user + spent.children_system > before.children_user + before.children_system
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
