"""The GPU's memory: NVIDIA's own Python code over a fake driver library, from sample to summary."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pynvml
import pytest
from synthetic import MS, case_of, record, result_of, run_of

from runoff.analysis.samples import tidy
from runoff.analysis.summary import summarise
from runoff.measure.device_memory import EVERY_S, DeviceWatch
from runoff.probes.memory import DEVICE_PEAK
from runoff.records.protocol import Memory, Timings
from runoff.records.schema import DeviceMemory

if TYPE_CHECKING:
    import ctypes


pytestmark = pytest.mark.clock

PID, OTHER = 4321, 99
LOST = 15
SAMPLED = ", sampled every 5 ms"


def wait_for_samples() -> None:
    """Let some samples be taken."""
    time.sleep(20 * EVERY_S)


def test_the_peak_of_the_process_itself(driver: ctypes.CDLL) -> None:
    driver.fake_used(0, 1000)
    with DeviceWatch() as watch:
        for used in (200, 700, 300):
            driver.fake_used(0, 5000)
            driver.fake_process(0, PID, used)
            wait_for_samples()
    assert watch.of(PID) == DeviceMemory(peak_bytes=700, how=f"the process's own{SAMPLED}")


def test_a_process_that_ran_before_is_not_counted(driver: ctypes.CDLL) -> None:
    """In a container, NVML reports process ids of the host."""
    driver.fake_used(0, 1000)
    driver.fake_process(0, PID, 600)
    with DeviceWatch() as watch:
        driver.fake_used(0, 1450)
        wait_for_samples()
    assert watch.of(PID) == DeviceMemory(peak_bytes=450, how=f"all GPUs, less what was in use before{SAMPLED}")


def test_the_rise_of_all_gpus(driver: ctypes.CDLL) -> None:
    driver.fake_count(2)
    driver.fake_used(0, 100)
    driver.fake_used(1, 50)
    with DeviceWatch() as watch:
        driver.fake_process(1, OTHER, 9)
        driver.fake_used(1, 850)
        wait_for_samples()
        driver.fake_used(1, 50)
        wait_for_samples()
    assert watch.of(PID).peak_bytes == 800


def test_a_constant_value_is_no_figure(driver: ctypes.CDLL) -> None:
    driver.fake_used(0, 1000)
    with DeviceWatch() as watch:
        wait_for_samples()
    assert watch.of(PID) == DeviceMemory(reason="no GPU's memory in use rose while the process ran")


def test_a_gpu_that_is_lost_during_the_measurement(driver: ctypes.CDLL) -> None:
    with DeviceWatch() as watch:
        driver.fake_used(0, 1000)
        wait_for_samples()
        driver.fake_memory_state(LOST)
        wait_for_samples()
    assert watch.of(PID) == DeviceMemory(reason="NVML failed: GPU is lost")


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setattr(pynvml, "CDLL", missing)
    with DeviceWatch() as watch:
        pass
    assert watch.of(PID) == DeviceMemory(reason="NVML failed: NVML Shared Library Not Found")


def lines_of(probe: str, *records_of: dict[str, Any]) -> dict[str, dict[Any, Any]]:
    """Return the lines of the summary of a case on CUDA, by metric, from the fields of its records."""
    case = case_of("ort-python", ("memory", "latency"), provider="cuda")
    records = [record(case, probe, block, **fields) for block, fields in enumerate(records_of)]
    run = run_of([case], records)
    lines = summarise(run, tidy(run)).to_dict("records")
    return {line["metric"]: line for line in lines if line["probe"] == probe}


def remembered(*values: DeviceMemory | None) -> dict[Any, Any] | None:
    """Return the line of the GPU's memory in the summary of records of the probe ``memory``."""
    result = result_of(case_of("ort-python", provider="cuda"), memory=Memory(900_000))
    return lines_of("memory", *({"result": result, "device_memory": memory} for memory in values)).get(DEVICE_PEAK)


def test_the_summary_has_an_estimate_and_its_scope() -> None:
    how = "the process's own"
    line = remembered(*(DeviceMemory(peak_bytes=peak, how=how) for peak in (600, 600, 600)))
    assert line is not None
    assert (round(line["estimate"]), line["unit"], line["n"], line["status"]) == (600, "bytes", 3, "ok")
    assert line["reason"] == "NVML: the process's own"


def test_the_summary_gives_the_reason_for_a_missing_value() -> None:
    line = remembered(DeviceMemory(reason="no driver"), DeviceMemory(reason="no driver"))
    assert line is not None
    assert (line["n"], line["status"], line["reason"]) == (0, "not-measured", "no driver")


def test_on_the_cpu_there_is_no_such_line() -> None:
    assert remembered(None) is None


def test_parts_of_an_inference_are_metrics() -> None:
    case = case_of("ort-python", provider="cuda")
    samples = {
        "inference": Timings(90 * MS, 12 * MS, (10 * MS,) * 9),
        "copy_in": Timings(4 * MS, 2 * MS, (1 * MS,) * 9),
        "compute": Timings(80 * MS, 8 * MS, (7 * MS,) * 9),
        "copy_out": Timings(5 * MS, 2 * MS, (2 * MS,) * 9),
    }
    lines = lines_of("latency", {"result": result_of(case, samples=samples)})
    values = {name: lines[name]["estimate"] / MS for name in ("copy_in.warm", "compute.warm", "copy_out.warm")}
    assert values == {"copy_in.warm": 1, "compute.warm": 7, "copy_out.warm": 2}
    assert lines["compute.first"]["estimate"] == 80 * MS
