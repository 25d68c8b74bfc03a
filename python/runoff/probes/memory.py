"""``memory``: resident memory by phase and its peak, read by the process itself (``VmRSS``, ``VmHWM``).

On NVIDIA's GPUs also the peak of their memory, by NVML: see `runoff.measure.device_memory`.
"""

from __future__ import annotations

from runoff.probes.base import Probe
from runoff.records.protocol import Once

MEMORY = Probe(name="memory", summary="resident memory after each phase, and its peak", measure=Once(memory=True))
