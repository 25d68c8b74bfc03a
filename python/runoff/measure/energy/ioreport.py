"""Apple's IOReport: the energy model of Apple silicon, without root, read by the library ``zeus-apple-silicon``.

Its one class has counters in millijoules. It has not run on a Mac yet: docs/energy.md explains how to verify it.
"""

from __future__ import annotations

import importlib
import platform
from typing import Any

from runoff.measure.energy.meter import APPLE_MAY_REST, CumulativeMeter, MeterError, apple_info
from runoff.records.reason import Reason

NAME = "ioreport"
FIELDS = {
    "cpu_total_mj": "cpu",
    "gpu_mj": "gpu",
    "gpu_sram_mj": "gpu-sram",
    "ane_mj": "neural-engine",
    "dram_mj": "dram",
}
"""Field of the library -> domain. The field is None if this chip does not have the counter."""
STEP_S = 0.1
"""Apple does not document how often the counters move; powermetrics reads them every tenth of a second."""


def find_ioreport() -> CumulativeMeter | Reason:
    """Return IOReport as a source, or the reason why it is unavailable."""
    if (platform.system(), platform.machine()) != ("Darwin", "arm64"):
        return Reason("needs-macos", "needs macOS on Apple silicon")
    try:
        monitor = importlib.import_module("zeus_apple_silicon").AppleEnergyMonitor()
        domains = _count(monitor)
    except ImportError:
        return Reason("not-installed", "the library zeus-apple-silicon is not installed", "run: nox -s runoff")
    except MeterError as error:
        return error.reason
    if not domains:
        return Reason("no-counter", f"IOReport has none of {', '.join(FIELDS)} on this machine")
    unavailable = {domain: "this chip does not count it" for domain in FIELDS.values() if domain not in domains}
    info = apple_info(NAME, "Apple's IOReport, read by zeus-apple-silicon", STEP_S, domains, unavailable)
    return CumulativeMeter(info, lambda: _count(monitor), APPLE_MAY_REST)


def _count(monitor: Any) -> dict[str, float]:  # noqa: ANN401 (the library has no types where it is not installed)
    """Return the counters of this chip in joules, by domain."""
    try:
        counted = monitor.get_cumulative_energy()
    except RuntimeError as error:
        raise MeterError(Reason("no-counter", f"IOReport cannot be read: {error}")) from error
    values = {domain: getattr(counted, field) for field, domain in FIELDS.items()}
    return {domain: millijoules / 1e3 for domain, millijoules in values.items() if millijoules is not None}
