"""NVML: NVIDIA's own Python code over a fake driver library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pynvml
import pytest

from runoff.measure.energy.meter import CumulativeMeter, MeterError, difference
from runoff.measure.energy.nvml import find_nvml
from runoff.processes import Spawner
from runoff.records.reason import Reason

if TYPE_CHECKING:
    import ctypes

NOT_SUPPORTED, LOST = 3, 15


def opened() -> CumulativeMeter:
    meter = find_nvml()
    assert isinstance(meter, CumulativeMeter)
    meter.open(Spawner(Path()), Path())
    return meter


def test_joules_since_it_was_opened(driver: ctypes.CDLL) -> None:
    meter = opened()
    assert meter.info.domains == {"gpu": "device, Fake GPU A"}
    begun = meter.read()
    driver.fake_energy(0, 3_500_000_001_000)
    joules, silent = difference(meter, begun, meter.read(), at_work=True)
    assert joules == pytest.approx({"gpu": 3.5e9})
    assert silent == {}


def test_several_gpus_are_distinguished_and_one_without_a_counter_is_named(driver: ctypes.CDLL) -> None:
    driver.fake_count(2)
    driver.fake_state(1, NOT_SUPPORTED)
    meter = opened()
    assert meter.info.domains == {"gpu0": "device, Fake GPU A"}
    assert meter.info.unavailable == {"gpu1": "Fake GPU B does not count its energy: Not Supported"}


def test_a_counter_that_stands_still_is_dead(driver: ctypes.CDLL) -> None:  # noqa: ARG001 (it has to be there)
    meter = opened()
    joules, silent = difference(meter, meter.read(), meter.read(), at_work=True)
    assert joules == {}
    assert silent["gpu"].startswith("dead counter: gpu")


def test_a_gpu_that_is_lost(driver: ctypes.CDLL) -> None:
    meter = opened()
    driver.fake_state(0, LOST)
    with pytest.raises(MeterError, match="GPU is lost"):
        meter.read()


def test_a_reloaded_driver(driver: ctypes.CDLL) -> None:
    meter = opened()
    driver.fake_energy(0, 10)
    with pytest.raises(MeterError, match="was reset"):
        meter.read()


def test_no_gpu_counts_energy(driver: ctypes.CDLL) -> None:
    driver.fake_state(0, NOT_SUPPORTED)
    reason = find_nvml()
    assert isinstance(reason, Reason)
    assert reason.message == "Fake GPU A does not count its energy: Not Supported"


def test_a_driver_without_a_gpu(driver: ctypes.CDLL) -> None:
    driver.fake_count(0)
    reason = find_nvml()
    assert isinstance(reason, Reason)
    assert reason.message == "NVIDIA's driver is installed, but there is no GPU"


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setattr(pynvml, "CDLL", missing)
    reason = find_nvml()
    assert isinstance(reason, Reason)
    assert reason.message == "no NVIDIA GPU can be queried: NVML Shared Library Not Found"
