"""Which sources are taken, in which order they are read, and what is said when there is none."""

from __future__ import annotations

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
    from pathlib import Path


class Told:
    """A source that notes what is asked of it."""

    may_rest: frozenset[str] = frozenset()

    def __init__(self, name: str, heard: list[str], *, waits: bool = False, step_s: float = 0.001) -> None:
        self.needs: dict[str, str] = {}
        self.waits = waits
        self.heard = heard
        self.info = MeterInfo(name=name, source="", domains={"package": ""}, resolution_j=0.0, step_s=step_s)

    def open(self, spawner: Spawner, scratch: Path) -> None:  # noqa: ARG002 (the interface of a meter)
        """Note it."""
        self.heard.append(f"open {self.info.name}")

    def read(self) -> Reading:
        """Note it."""
        self.heard.append(f"read {self.info.name}")
        return Reading(0, {"package": 0.0})

    def close(self) -> None:
        """Note it."""
        self.heard.append(f"close {self.info.name}")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Return what each source answers, by name: nothing is here until a test puts it there."""
    answers: dict[str, object] = {}

    def answer(name: str) -> object:
        return answers.get(name, Reason("no-counter", f"no {name}"))

    monkeypatch.setattr(powercap, "find_powercap", lambda: answer("powercap"))
    monkeypatch.setattr(perf, "find_perf", lambda _: answer("perf"))
    monkeypatch.setattr(ioreport, "find_ioreport", lambda: answer("ioreport"))
    monkeypatch.setattr(powermetrics, "find_powermetrics", lambda _: answer("powermetrics"))
    monkeypatch.setattr(nvml, "find_nvml", lambda: answer("nvml"))
    return answers


def test_with_no_source_each_is_named_with_its_reason(here: dict[str, object], tmp_path: Path) -> None:
    here["powercap"] = Reason("permission", "energy_uj may be read by root only", "run: sudo chmod")
    here["perf"] = Reason("permission", "perf may not count", "run: sudo sysctl")
    reason = find_meters(Spawner(tmp_path)).reason
    assert reason == Reason(
        "no-meter",
        "powercap: energy_uj may be read by root only; perf: perf may not count; ioreport: no ioreport; "
        "powermetrics: no powermetrics; nvml: no nvml",
        "run: sudo chmod; or run: sudo sysctl",
    )


@pytest.mark.parametrize(("better", "other"), [("powercap", "perf"), ("ioreport", "powermetrics")])
def test_of_two_that_read_the_same_counters_the_better_is_taken(
    better: str, other: str, here: dict[str, object], tmp_path: Path
) -> None:
    here[other] = Told(other, [])
    assert [meter.info.name for meter in find_meters(Spawner(tmp_path)).found] == [other]
    here[better], here["nvml"] = Told(better, []), Told("nvml", [])
    found = find_meters(Spawner(tmp_path))
    assert [meter.info.name for meter in found.found] == [better, "nvml"]
    assert found.reason is None
    assert found.lacking[other].message == f"not needed beside {better}"


def test_streams_are_waited_for_outside_the_work(tmp_path: Path) -> None:
    heard: list[str] = []
    both = Meters((Told("nvml", heard), Told("perf", heard, waits=True, step_s=0.1)))
    with both.opened(Spawner(tmp_path), tmp_path):
        both.begin()
        both.end()
    assert heard == [
        *("open nvml", "open perf"),
        *("read perf", "read nvml", "read nvml", "read perf"),
        *("close perf", "close nvml"),
    ]
    assert both.step_s == 0.1


def test_what_was_opened_is_closed_when_another_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    first, second = Told("nvml", heard), Told("perf", heard)

    def refuse(_spawner: Spawner, _scratch: Path) -> None:
        raise MeterError(Reason("stream", "it does not start"))

    monkeypatch.setattr(second, "open", refuse)
    with pytest.raises(MeterError, match="does not start"), Meters((first, second)).opened(Spawner(tmp_path), tmp_path):
        heard.append("never")
    assert heard == ["open nvml", "close perf", "close nvml"]


def test_the_real_search_on_this_machine_takes_or_explains_every_source(tmp_path: Path) -> None:
    with Spawner(tmp_path) as spawner:
        found = find_meters(spawner)
    names = {meter.info.name for meter in found.found} | set(found.lacking)
    assert names == {"powercap", "perf", "ioreport", "powermetrics", "nvml"}
    assert all(reason.message for reason in found.lacking.values())
    assert meters.Meters().step_s == 0.0


def test_doctor_says_what_can_be_read_or_what_to_do(here: dict[str, object], tmp_path: Path) -> None:
    here["powercap"] = Reason("permission", "energy_uj may be read by root only", "run: sudo chmod")
    finding = doctor._energy(Spawner(tmp_path))
    assert (finding.what, finding.state, finding.advice) == ("probe energy", "missing", "run: sudo chmod")
    assert finding.detail.startswith("powercap: energy_uj may be read by root only; perf: no perf; ")
    here["powercap"], here["nvml"] = Told("powercap", []), Told("nvml", [])
    finding = doctor._energy(Spawner(tmp_path))
    assert (finding.state, finding.detail) == ("ok", "powercap: package; nvml: package")


def test_a_run_notes_its_sources_and_keeps_those_of_the_sitting_before(here: dict[str, object], tmp_path: Path) -> None:
    asked, not_asked = case_of("a", ("energy",)), case_of("b", ("life",))
    info = info_of(asked, not_asked)
    here["powercap"] = Told("powercap", [])
    assert _find_meters([not_asked], Spawner(tmp_path), info).found == ()
    assert info.meters_lacking == {}
    assert len(_find_meters([asked], Spawner(tmp_path), info).found) == 1
    assert set(info.meters_lacking) == {"perf", "ioreport", "powermetrics", "nvml"}
    here["powercap"], here["nvml"] = Reason("permission", "no more"), Told("nvml", [])
    assert [meter.info.name for meter in _find_meters([asked], Spawner(tmp_path), info).found] == ["nvml"]
    assert [meter.name for meter in info.meters] == ["powercap", "nvml"]
    assert set(info.meters_lacking) == {"perf", "ioreport", "powermetrics"}
