"""Apple's IOReport: the energy model of Apple silicon, without root, read by the library ``zeus-apple-silicon``.

Its one class keeps counters in millijoules. Nothing here has run on a Mac yet: docs/energy.md says how to prove it.
"""

from __future__ import annotations

import importlib
import platform
import time
from typing import TYPE_CHECKING, Any

from runoff.measure.energy.meter import MeterError, Reading
from runoff.records.reason import Reason
from runoff.records.schema import MeterInfo

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.processes import Spawner

NAME = "ioreport"
FIELDS = {
    "cpu_total_mj": "cpu",
    "gpu_mj": "gpu",
    "gpu_sram_mj": "gpu-sram",
    "ane_mj": "neural-engine",
    "dram_mj": "dram",
}
"""The library's field to the domain. None stands for a counter that this chip does not have."""
SCOPES = {
    "cpu": "processor cores",
    "gpu": "device",
    "gpu-sram": "memory of the GPU",
    "neural-engine": "device",
    "dram": "memory",
    "soc": "all of the chip that is counted",
}
WHOLE = "soc"
"""The sum of the others."""
RESOLUTION_J = 0.001
STEP_S = 0.1
"""Apple does not say how often the counters move; a tenth of a second is what powermetrics reads them at."""


def find_ioreport() -> IOReport | Reason:
    """Return IOReport as a source, or the reason why it is none."""
    if (platform.system(), platform.machine()) != ("Darwin", "arm64"):
        return Reason("needs-macos", "needs macOS on Apple silicon")
    try:
        monitor = importlib.import_module("zeus_apple_silicon").AppleEnergyMonitor()
        counted = _joules(monitor)
    except ImportError:
        return Reason("not-installed", "the library zeus-apple-silicon is not installed", "run: nox -s runoff")
    except RuntimeError as error:
        return Reason("no-counter", f"IOReport cannot be read: {error}")
    if not counted:
        return Reason("no-counter", f"IOReport has none of {', '.join(FIELDS)} here")
    return IOReport(monitor, tuple(counted))


def _joules(monitor: Any) -> dict[str, float]:  # noqa: ANN401 (the library has no types where it is not installed)
    counted = monitor.get_cumulative_energy()
    values = {domain: getattr(counted, field) for field, domain in FIELDS.items()}
    return {domain: float(millijoules) / 1e3 for domain, millijoules in values.items() if millijoules is not None}


class IOReport:
    """IOReport's counters.

    Parameters
    ----------
    monitor
        The library's ``AppleEnergyMonitor``.
    domains
        Those that it counts here.
    """

    waits = False
    may_rest = frozenset({"gpu", "gpu-sram", "neural-engine"})

    def __init__(self, monitor: Any, domains: tuple[str, ...]) -> None:  # noqa: ANN401 (as above)
        self.needs = {WHOLE: "cpu"}
        self._monitor = monitor
        self._zero: dict[str, float] = {}
        self.info = MeterInfo(
            name=NAME,
            source="Apple's IOReport, read by zeus-apple-silicon",
            domains={domain: SCOPES[domain] for domain in (*domains, WHOLE)},
            resolution_j=RESOLUTION_J,
            step_s=STEP_S,
            lacks={domain: "this chip does not count it" for domain in FIELDS.values() if domain not in domains},
        )

    def open(self, spawner: Spawner, scratch: Path) -> None:  # noqa: ARG002 (the interface of a meter)
        """Begin to count from zero."""
        self._zero = self._counted()

    def read(self) -> Reading:
        """Return the joules by domain since `open`.

        Raises
        ------
        MeterError
            When a counter is gone or went back.
        """
        now_ns, counted = time.monotonic_ns(), self._counted()
        joules = {domain: counted[domain] - zero for domain, zero in self._zero.items()}
        if min(joules.values()) < 0:
            raise MeterError(Reason("no-counter", "a counter of IOReport went back"))
        return Reading(now_ns, {**joules, WHOLE: sum(joules.values())})

    def close(self) -> None:
        """Nothing was started."""

    def _counted(self) -> dict[str, float]:
        try:
            counted = _joules(self._monitor)
            return {domain: counted[domain] for domain in self.info.domains if domain != WHOLE}
        except (RuntimeError, KeyError) as error:
            raise MeterError(Reason("no-counter", f"IOReport cannot be read any more: {error!r}")) from error
