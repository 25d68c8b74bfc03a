"""Process time by phase, from spawn to exit.

The phases shown for a case are those of one real process: the one with the median process time. Medians taken phase
by phase come from different processes and would not add up; they are in ``summary.csv``, each with its interval.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from runoff.analysis.validity import excluded
from runoff.probes.life import LIFE, phase_breakdown

if TYPE_CHECKING:
    from runoff.records.schema import Run

COLUMNS = [
    *("case", "target", "model", "workload", "profile", "threads", "batch"),
    *("phase", "duration_ns", "share"),
]


def life_table(run: Run) -> pd.DataFrame:
    """Return a row for each case and phase of its median process, with the columns `COLUMNS`.

    `duration_ns` is an integer, `share` a part of process time (0 to 1). Cases with wrong outputs are excluded.
    """
    wrong = excluded(run)
    rows = []
    for case in run.info.cases:
        lives = [
            phase_breakdown(record)
            for record in run.records
            if (record.case, record.probe, record.status) == (case.id, LIFE.name, "ok") and record.result
        ]
        if not lives or case.id in wrong:
            continue
        middle = sorted(lives, key=lambda life: life.whole_ns)[(len(lives) - 1) // 2]
        settings = case.settings
        head = (case.id, case.target, case.model, case.workload, settings.profile, settings.threads, settings.batch)
        parts = middle.phases | ({"unaccounted": middle.unaccounted_ns} if middle.unaccounted_ns else {})
        rows += [(*head, name, ns, ns / middle.whole_ns) for name, ns in parts.items()]
    return pd.DataFrame(rows, columns=COLUMNS)
