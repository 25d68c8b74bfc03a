"""The announcement of a run: what it is about to measure, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff.paths import shown
from runoff.records.machine import limits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runoff.records.schema import RunInfo


def announcement(info: RunInfo, processes: int, folder: Path) -> list[str]:
    """Return the number of cases, the stopping rule or the number of processes, and the unavailable cases by reason."""
    runnable = [case for case in info.cases if case.skipped is None]
    rules = [f"until intervals are within {info.precision:.2g} of the value"] if info.precision else []
    rules += [f"for {info.time_s:.0f} s"] if info.time_s else []
    extent = ", or ".join(rules) or f"{processes} processes to measure"
    lines = [f"{len(runnable)} of {len(info.cases)} cases can run on this machine; {extent}, into {shown(folder)}"]
    return [*limits(info.machine), *lines, *_unavailable(info), *_unread(info)]


def _unavailable(info: RunInfo) -> Sequence[str]:
    targets: dict[str, dict[str, None]] = {}
    for case in info.cases:
        if case.skipped:
            targets.setdefault(str(case.skipped), {})[case.target] = None
    return [f"unavailable: {', '.join(names)}: {reason}" for reason, names in targets.items()]


def _unread(info: RunInfo) -> Sequence[str]:
    """Return a line for each counter of energy that cannot be read, or for all sources if none can."""
    if info.unavailable_meters and not info.meters:
        return ["unavailable: energy: " + "; ".join(f"{name}: {why}" for name, why in info.unavailable_meters.items())]
    return [
        f"unavailable: energy, {meter.name}, {name}: {why}"
        for meter in info.meters
        for name, why in meter.unavailable.items()
    ]
