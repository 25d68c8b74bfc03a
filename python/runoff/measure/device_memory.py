"""The memory of NVIDIA's GPUs while a process runs, sampled by NVML in the pass of the probe ``memory``.

The process's own use is preferred. If NVML does not report it (in a container it knows processes by the ids of the
host), the use of all GPUs counts, less their use just before the process was spawned.
"""

from __future__ import annotations

import threading
from typing import Any, Self

from runoff.measure.energy.nvml import gpu_handles
from runoff.records.schema import DeviceMemory

PROVIDERS = ("cuda", "tensorrt")
"""Providers that compute in memory that NVML reports."""
EVERY_S = 0.005
"""Pause between two samples: shorter peaks are missed."""
_SAMPLED = f"sampled every {EVERY_S * 1e3:.0f} ms"


class DeviceWatch:
    """Samples the GPUs' memory in a thread. Use it as a context manager.

    If NVML is unavailable, the result has the reason, and nothing is disturbed.
    """

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._handles: list[Any] = []
        self._failure = ""
        self._nvml: Any = None
        self._before = self._peak = 0
        self._known: set[int] = set()
        self._own: dict[int, int] = {}

    def __enter__(self) -> Self:
        import pynvml as nvml  # late: a thousand constants

        self._nvml = nvml
        try:
            self._handles = gpu_handles()
            self._before = self._peak = self._used()
            self._known = set(self._processes())
        except nvml.NVMLError as error:
            self._failure = f"NVML failed: {error}"
            return self
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def of(self, pid: int) -> DeviceMemory:
        """Return the peak of the process `pid`, or the reason why it is unknown; call it after the end."""
        own = self._own.get(pid) if pid not in self._known else None
        rise = self._peak - self._before
        if self._failure:
            return DeviceMemory(reason=self._failure)
        if own:
            return DeviceMemory(peak_bytes=own, how=f"the process's own, {_SAMPLED}")
        if rise <= 0:
            return DeviceMemory(reason="no GPU's memory in use rose while the process ran")
        return DeviceMemory(peak_bytes=rise, how=f"all GPUs, less what was in use before, {_SAMPLED}")

    def _sample(self) -> None:
        while not self._stop.wait(EVERY_S):
            try:
                self._peak = max(self._peak, self._used())
                for pid, used in self._processes().items():
                    self._own[pid] = max(self._own.get(pid, 0), used)
            except self._nvml.NVMLError as error:
                self._failure = f"NVML failed: {error}"
                return

    def _used(self) -> int:
        """Return the bytes in use on all GPUs."""
        return sum(int(self._nvml.nvmlDeviceGetMemoryInfo(handle).used) for handle in self._handles)

    def _processes(self) -> dict[int, int]:
        """Return the bytes that each process uses on all GPUs, as far as NVML reports them."""
        used: dict[int, int] = {}
        for handle in self._handles:
            for process in self._nvml.nvmlDeviceGetComputeRunningProcesses(handle):
                used[process.pid] = used.get(process.pid, 0) + (process.usedGpuMemory or 0)
        return used
