"""From raw records to one tidy table, ``samples.csv``, with a row for each measured number."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pandas as pd

from runoff.analysis.validity import excluded
from runoff.probes import PROBES
from runoff.probes.base import metric_name

if TYPE_CHECKING:
    from runoff.records.schema import Record, Run

COLUMNS = [
    *("case", "target", "model", "workload", "profile"),
    *("probe", "phase", "block", "process", "sample", "metric", "unit", "value"),
]


def tidy(run: Run) -> pd.DataFrame:
    """Return all samples of `run` with the columns `COLUMNS`.

    `process` numbers the processes of a case and probe from 0 in the order of `Record.order`. Times are in
    ns, memory in bytes. If the outputs of a case disagree, it keeps only its ``accuracy`` rows; its other
    measurements stay in the raw records.
    """
    cases = {case.id: case for case in run.info.cases}
    processes: defaultdict[tuple[str, str], int] = defaultdict(int)
    rows: list[tuple[object, ...]] = []
    groups = _records_read(run)
    omitted = {
        name: {shortfall.metric for shortfall in PROBES[name[1]].shortfalls(records, run.info.meters)}
        for name, records in groups.items()
    }
    for record in sorted((record for records in groups.values() for record in records), key=lambda item: item.order):
        case, name = cases[record.case], (record.case, record.probe)
        head = (case.id, case.target, case.model, case.workload, case.settings.profile, record.probe)
        first = last = processes[name]
        hidden = omitted[name]
        for metric, unit, value, phase, process, sample in PROBES[record.probe].read(record, run.info.meters):
            last = first + process
            if not hidden or metric_name(phase, metric) not in hidden:
                rows.append((*head, phase, record.block, last, sample, metric, unit, value))
        processes[name] = last + 1
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({"block": "int64", "process": "int64", "sample": "int64", "value": "float64"})


def _records_read(run: Run) -> dict[tuple[str, str], list[Record]]:
    """Return the records that count, by case and probe."""
    cases, wrong = {case.id for case in run.info.cases}, excluded(run)
    groups: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in run.records:
        probe = PROBES.get(record.probe)
        if probe is None or record.case not in cases:
            continue
        if probe.checks_outputs or (record.status == "ok" and record.case not in wrong):
            groups[record.case, record.probe].append(record)
    return groups
