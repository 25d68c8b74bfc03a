"""NVIDIA's NVML: what each of its GPUs has drawn since the driver was loaded, read by ``nvidia-ml-py``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from runoff.measure.energy.meter import MeterError, Reading
from runoff.records.reason import Reason
from runoff.records.schema import MeterInfo

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.processes import Spawner

NAME = "nvml"
RESOLUTION_J = 0.001
STEP_S = 0.1
"""How often the counter moves: every 20 to 100 ms, by model (Yang, Adamek and Armour, *Part-time power measurements*,
2023). The longest is taken."""


def find_nvml() -> Nvml | Reason:
    """Return the GPUs that count their energy, or the reason why there is none."""
    import pynvml  # late: a thousand constants

    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        return Reason("no-counter", f"no NVIDIA GPU can be asked: {error}")
    if not handles:
        return Reason("no-counter", "NVIDIA's library is here, and no GPU")
    able, lacks, names = {}, {}, {}
    for index, handle in enumerate(handles):
        domain = "gpu" if len(handles) == 1 else f"gpu{index}"
        try:
            names[domain] = _text(pynvml.nvmlDeviceGetName(handle))
            pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
            able[domain] = handle
        except pynvml.NVMLError as error:
            lacks[domain] = f"{names.get(domain, 'the GPU')} does not count its energy: {error}"
    if not able:
        return Reason("no-counter", "; ".join(lacks.values()))
    return Nvml(able, names, lacks)


def _text(name: str | bytes) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else name


class Nvml:
    """The energy counters of NVIDIA's GPUs.

    Parameters
    ----------
    handles
        By domain, what the library knows a GPU by.
    names
        By domain, the GPU's name.
    lacks
        By domain, why it cannot be had.
    """

    waits = False
    may_rest: frozenset[str] = frozenset()

    def __init__(self, handles: dict[str, Any], names: dict[str, str], lacks: dict[str, str]) -> None:
        self.needs: dict[str, str] = {}
        self._handles = handles
        self._zero_mj: dict[str, int] = {}
        self.info = MeterInfo(
            name=NAME,
            source="NVIDIA's NVML",
            domains={domain: f"device, {names[domain]}" for domain in handles},
            resolution_j=RESOLUTION_J,
            step_s=STEP_S,
            lacks=lacks,
        )

    def open(self, spawner: Spawner, scratch: Path) -> None:  # noqa: ARG002 (the interface of a meter)
        """Begin to count from zero."""
        self._zero_mj = self._counted()

    def read(self) -> Reading:
        """Return the joules by GPU since `open`.

        Raises
        ------
        MeterError
            When a GPU is gone, or its counter began anew.
        """
        now_ns, counted = time.monotonic_ns(), self._counted()
        joules = {domain: (counted[domain] - zero) / 1e3 for domain, zero in self._zero_mj.items()}
        if min(joules.values()) < 0:
            raise MeterError(Reason("no-counter", "the counter of a GPU went back: its driver was loaded anew"))
        return Reading(now_ns, joules)

    def close(self) -> None:
        """Nothing was started."""

    def _counted(self) -> dict[str, int]:
        import pynvml

        try:
            return {
                domain: int(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))
                for domain, handle in self._handles.items()
            }
        except pynvml.NVMLError as error:
            raise MeterError(Reason("no-counter", f"NVIDIA's library says: {error}")) from error
