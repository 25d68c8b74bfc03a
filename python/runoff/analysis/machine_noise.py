"""Noise of the machine while a case was measured: other work, and whether the CPU was slowed down.

runoff is designed to detect differences of 2%, so what takes 1% of the time away is half of such a difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from runoff.analysis.evidence import Evidence
from runoff.analysis.wording import percent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runoff.analysis.evidence import StabilityVerdict
    from runoff.records.schema import Record

STEAL = 0.01
"""Share of CPU time."""
THROTTLED = 0.01
"""Share of the time."""
OTHERS = 0.25
"""Cores. A system's own services come near a tenth of a core, so less is normal."""
SWITCHES_PER_S = 30.0
"""At about 3 ms each, a usual slice of Linux's scheduler, they are a tenth of the time, as `evidence.NOISY_SD`."""
CLOCK_FALL = 0.05
"""It changes a time as much as `evidence.TREND`."""


def machine_noise(records: Sequence[Record], cores: int | None) -> list[Evidence]:
    """Return the signs of noise and slowdowns; one more lists what the system does not report.

    Parameters
    ----------
    records
        Timed records of one case, in order of time.
    cores
        Cores of the entire machine, for its load average; None if unknown.
    """
    known = [record for record in records if record.conditions is not None]
    if not known:
        return [Evidence("the state of the machine was not recorded")]
    found = {
        "steal": _above(_mean(known, "steal"), STEAL, "noisy", percent, "steal {} of CPU time"),
        "other work": _above(_mean(known, "others"), OTHERS, "noisy", _plain, "{} cores were busy with other work"),
        "load": _load(_mean(known, "load"), cores),
        "throttling": _above(
            _mean(known, "throttled"), THROTTLED, "throttled", percent, "throttled by its CPU quota for {} of the time"
        ),
        "context switches": _above(
            _switches(known), SWITCHES_PER_S, "noisy", _plain, "{} involuntary context switches per second"
        ),
        "clock": _clock(known),
    }
    silent = [name for name, sign in found.items() if sign is None]
    signs = [sign for sign in found.values() if sign is not None]
    return [*signs, Evidence(f"not reported by this system: {', '.join(silent)}")] if silent else signs


def _plain(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"  # noqa: PLR2004 (two digits)


def _above(
    value: float | None, threshold: float, holds: StabilityVerdict, format_value: Callable[[float], str], text: str
) -> Evidence | None:
    if value is None:
        return None
    return Evidence(text.format(format_value(value)), holds if value > threshold else None)


def _mean(records: Sequence[Record], field: str) -> float | None:
    """Return the mean of `field` over the records that have it, weighted by their duration."""
    values = [
        (value, max(record.exit_ns - record.spawn_ns, 1))
        for record in records
        if (value := getattr(record.conditions, field)) is not None
    ]
    return float(np.average([value for value, _ in values], weights=[ns for _, ns in values])) if values else None


def _load(load: float | None, cores: int | None) -> Evidence | None:
    if load is None:
        return None
    if cores is None:
        return Evidence(f"load average {_plain(load)}")
    return Evidence(f"load average {_plain(load)} on {cores} cores", "noisy" if load > cores else None)


def _switches(records: Sequence[Record]) -> float | None:
    """Return involuntary context switches per second, of the processes that report them."""
    counts = [
        (record.conditions.switches, (record.exit_ns - record.spawn_ns) / 1e9)
        for record in records
        if record.conditions is not None and record.conditions.switches is not None
    ]
    seconds = sum(spent for _, spent in counts)
    return sum(count for count, _ in counts) / seconds if seconds > 0 else None


def _clock(records: Sequence[Record]) -> Evidence | None:
    """Return whether the clock of the last third of the processes was below that of the first third."""
    clocks = [mhz for record in records if record.conditions and (mhz := record.conditions.mhz) is not None]
    if not clocks:
        return None
    third = max(len(clocks) // 3, 1)
    first, last = float(np.median(clocks[:third])), float(np.median(clocks[-third:]))
    if last < first * (1 - CLOCK_FALL):
        return Evidence(f"clock fell from {first:,.0f} to {last:,.0f} MHz", "throttled")
    return Evidence(f"clock {first:,.0f} MHz at first, {last:,.0f} MHz at last")
