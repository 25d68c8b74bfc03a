"""IOReport over a fake of the library's one class."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest

from runoff.measure.energy.ioreport import find_ioreport
from runoff.measure.energy.meter import CumulativeMeter, MeterError, difference
from runoff.processes import Spawner
from runoff.records.reason import Reason


class AppleEnergyMonitor:
    """Counters set by a test, in millijoules; None if the chip has no such counter."""

    counted: ClassVar[dict[str, int | None]]
    broken = False

    def get_cumulative_energy(self) -> Any:
        """Return the counters."""
        if self.broken:
            raise RuntimeError("IOReportCreateSamples failed")
        return SimpleNamespace(**self.counted)


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> type[AppleEnergyMonitor]:
    """Return the class of the library on a Mac."""

    class Monitor(AppleEnergyMonitor):
        counted: ClassVar[dict[str, int | None]] = {
            "cpu_total_mj": 1000,
            "gpu_mj": 20,
            "gpu_sram_mj": None,
            "ane_mj": 0,
            "dram_mj": None,
        }

    library = ModuleType("zeus_apple_silicon")
    library.AppleEnergyMonitor = Monitor  # type: ignore[attr-defined]  # a module made here
    monkeypatch.setitem(sys.modules, "zeus_apple_silicon", library)
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    return Monitor


def opened() -> CumulativeMeter:
    meter = find_ioreport()
    assert isinstance(meter, CumulativeMeter)
    meter.open(Spawner(None), None)  # type: ignore[arg-type]  # it starts and writes nothing
    return meter


def test_joules_since_it_was_opened(mac: type[AppleEnergyMonitor]) -> None:
    meter = opened()
    assert set(meter.info.domains) == {"cpu", "gpu", "neural-engine", "soc"}
    assert set(meter.info.unavailable) == {"gpu-sram", "dram"}
    begun = meter.read()
    mac.counted = {"cpu_total_mj": 3500, "gpu_mj": 20, "gpu_sram_mj": None, "ane_mj": 500, "dram_mj": None}
    joules, silent = difference(meter, begun, meter.read(), at_work=True)
    assert joules == pytest.approx({"cpu": 2.5, "neural-engine": 0.5, "soc": 3.0})
    assert silent["gpu"].endswith("not in use, or dead")


def test_a_cpu_counter_that_stands_still_is_dead_and_takes_the_sum_with_it(mac: type[AppleEnergyMonitor]) -> None:
    meter = opened()
    begun = meter.read()
    mac.counted = {**mac.counted, "gpu_mj": 400}
    joules, silent = difference(meter, begun, meter.read(), at_work=True)
    assert set(joules) == {"gpu"}
    assert silent["cpu"].startswith("dead counter")
    assert silent["soc"].startswith("dead counter: cpu")


@pytest.mark.parametrize("change", [{"gpu_mj": 1}, {"gpu_mj": None}])
def test_a_counter_that_went_back_or_is_gone(change: dict[str, int | None], mac: type[AppleEnergyMonitor]) -> None:
    meter = opened()
    mac.counted = {**mac.counted, **change}
    with pytest.raises(MeterError, match="IOReport"):
        meter.read()


def test_a_failing_library_is_reported(mac: type[AppleEnergyMonitor]) -> None:
    mac.broken = True
    reason = find_ioreport()
    assert isinstance(reason, Reason)
    assert reason.message == "IOReport cannot be read: IOReportCreateSamples failed"


@pytest.mark.usefixtures("mac")
def test_without_the_library_its_session_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeus_apple_silicon", None)
    reason = find_ioreport()
    assert isinstance(reason, Reason)
    assert (reason.kind, reason.hint) == ("not-installed", "run: nox -s runoff")


def test_other_systems_need_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    reason = find_ioreport()
    assert isinstance(reason, Reason)
    assert reason.message == "needs macOS on Apple silicon"
