"""Print what each way gained in a run of ``tools/ways/*.toml``: ``python tools/ways/table.py RUN``.

A variant of a target is compared with the target under the same settings, and changed settings of a target with its
unchanged profile: ratios of blocks, with their 95% interval. Below 1, the case takes less than what it is compared with.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from runoff.analysis.samples import tidy
from runoff.plan.settings import resolve
from runoff.records.files import read_run
from runoff.statistics import paired

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from runoff.records.schema import Case, RunInfo

METRICS = (("process", "wall"), ("process", "peak_memory"), ("memory", "peak_memory"), ("latency", "inference"))


def main(folder: Path) -> None:
    """Print a table of the run in `folder`."""
    run = read_run(folder)
    samples = tidy(run)
    print("| case | compared with |", " | ".join(".".join(metric) for metric in METRICS), "|")
    print("| --- | --- |" + " --- |" * len(METRICS))
    for case, base in pairs(run.info):
        ratios = [ratio(samples, case, base, *metric) for metric in METRICS]
        print(f"| {name(case)} | {name(base)} |", " | ".join(ratios), "|")


def pairs(info: RunInfo) -> Iterator[tuple[Case, Case]]:
    """Yield each case that ran, except those that are only compared with, and what it is compared with."""
    usual = {(case.target, case.settings): case for case in info.cases if case.skipped is None}
    own = info.suite["targets"]
    for case in usual.values():
        plain = resolve({"threads": case.settings.threads, "profile": case.settings.profile})
        base = usual.get((info.baselines[0], case.settings) if case.target in own else (case.target, plain))
        if base not in (None, case) and case.control_of is None:
            yield case, base


def name(case: Case) -> str:
    """Return the target, the profile and the settings that differ from it."""
    _model, _workload, profile, _threads, _batch, *others = case.comparison
    return " ".join((case.target, profile, *others))


def ratio(samples: pd.DataFrame, case: Case, base: Case, probe: str, metric: str) -> str:
    """Return the ratio case / base of `metric` with its interval; empty if it was not measured."""
    chosen = samples[(samples["probe"] == probe) & (samples["metric"] == metric)]
    medians = [chosen[chosen["case"] == one.id].groupby("block")["value"].median() for one in (case, base)]
    logs = np.log(medians[0] / medians[1]).dropna().to_numpy()
    if not len(logs):
        return ""
    found = paired([np.array([log]) for log in logs])
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
