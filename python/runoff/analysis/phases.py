"""Where the time of a whole process went: its phases, from spawn to exit.

The phases shown for a case are those of one real process, the one whose whole time is the median of the
case's processes. Medians taken phase by phase come from different processes and would not add up; they are in
``summary.csv``, each with its interval.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from msgspec import Struct

from runoff.analysis.validity import disagreements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runoff.records.protocol import Phase
    from runoff.records.schema import Record, Run

COLUMNS = [
    "case",
    "target",
    "model",
    "workload",
    "profile",
    "threads",
    "batch",
    "phase",
    "duration_ns",
    "share",
]


class PhaseBreakdown(Struct, frozen=True):
    """The life of one process."""

    phases: dict[str, int]
    """Nanoseconds by phase, in order of time, ``exit`` last."""
    unaccounted_ns: int
    """Time inside the process's life that belongs to no phase."""
    whole_ns: int

    @property
    def unaccounted_share(self) -> float:
        """Unaccounted part of the whole, 0 to 1."""
        return self.unaccounted_ns / self.whole_ns if self.whole_ns else 0.0


def phase_breakdown(record: Record) -> PhaseBreakdown:
    """Return where the time of the process of a ``life`` record went.

    Raises
    ------
    ValueError
        When the record has no runner's result.
    """
    if record.result is None:
        raise ValueError(f"record of {record.case} in block {record.block} has no result")
    phases = durations(record.result.phases)
    whole = record.exit_ns - record.spawn_ns
    if record.result.phases:
        phases["exit"] = record.exit_ns - record.result.phases[-1].end_ns
    return PhaseBreakdown(phases, whole - sum(phases.values()), whole)


def durations(phases: Sequence[Phase]) -> dict[str, int]:
    """Return nanoseconds by phase, in order of time."""
    spent: dict[str, int] = {}
    for phase in phases:
        spent[phase.name] = spent.get(phase.name, 0) + phase.end_ns - phase.start_ns
    return spent


def life_table(run: Run) -> pd.DataFrame:
    """Return a row for each case and phase of its median process, with the columns `COLUMNS`.

    `duration_ns` is an integer, `share` the part of the whole (0 to 1). Cases whose outputs disagree are left
    out.
    """
    wrong = disagreements(run)
    rows = []
    for case in run.info.cases:
        lives = [
            phase_breakdown(record)
            for record in run.records
            if (record.case, record.probe, record.status) == (case.id, "life", "ok") and record.result
        ]
        if not lives or case.id in wrong:
            continue
        middle = sorted(lives, key=lambda life: life.whole_ns)[(len(lives) - 1) // 2]
        settings = case.settings
        head = (
            case.id,
            case.target,
            case.model,
            case.workload,
            settings.profile,
            settings.threads,
            settings.batch,
        )
        parts = middle.phases | ({"unaccounted": middle.unaccounted_ns} if middle.unaccounted_ns else {})
        rows += [(*head, name, ns, ns / middle.whole_ns) for name, ns in parts.items()]
    return pd.DataFrame(rows, columns=COLUMNS)
