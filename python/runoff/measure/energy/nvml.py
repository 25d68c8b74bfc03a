"""NVIDIA's NVML: energy that each GPU used since the driver was loaded, read by ``nvidia-ml-py``."""

from __future__ import annotations

from typing import Any

from runoff.measure.energy.meter import MILLIJOULE, CumulativeMeter, MeterError
from runoff.records.reason import Reason
from runoff.records.schema import MeterInfo

NAME = "nvml"
STEP_S = 0.1
"""The counter moves every 20 to 100 ms, depending on the model (Yang, Adamek and Armour, *Part-time power
measurements*, 2023); this is the longest."""


def gpu_handles() -> list[Any]:
    """Load NVML and return the library's handle of each GPU.

    Raises
    ------
    pynvml.NVMLError
        If there is no driver.
    """
    import pynvml  # late: a thousand constants

    pynvml.nvmlInit()
    return [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]


def find_nvml() -> CumulativeMeter | Reason:
    """Return the GPUs that count their energy, or the reason why there is none."""
    import pynvml

    try:
        handles = gpu_handles()
    except pynvml.NVMLError as error:
        return Reason("no-counter", f"no NVIDIA GPU can be queried: {error}")
    if not handles:
        return Reason("no-counter", "NVIDIA's driver is installed, but there is no GPU")
    counting, unavailable, names = {}, {}, {}
    for index, handle in enumerate(handles):
        domain = "gpu" if len(handles) == 1 else f"gpu{index}"
        try:
            name = pynvml.nvmlDeviceGetName(handle)
            names[domain] = name.decode(errors="replace") if isinstance(name, bytes) else name
            pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
            counting[domain] = handle
        except pynvml.NVMLError as error:
            unavailable[domain] = f"{names.get(domain, 'the GPU')} does not count its energy: {error}"
    if not counting:
        return Reason("no-counter", "; ".join(unavailable.values()))
    scopes = {domain: f"device, {names[domain]}" for domain in counting}
    info = MeterInfo(
        name=NAME,
        source="NVIDIA's NVML",
        domains=scopes,
        resolution_j=MILLIJOULE,
        step_s=STEP_S,
        unavailable=unavailable,
    )
    return CumulativeMeter(info, lambda: _count(counting))


def _count(handles: dict[str, Any]) -> dict[str, float]:
    import pynvml

    try:
        return {domain: pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1e3 for domain, gpu in handles.items()}
    except pynvml.NVMLError as error:
        raise MeterError(Reason("no-counter", f"NVML failed: {error}")) from error
