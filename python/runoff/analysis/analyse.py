"""Stage five: all tables of a run, computed once and used by every report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runoff.analysis.audit import AuditPoint, audit
from runoff.analysis.growth import Growth, growth
from runoff.analysis.labelled import LabelledModel, labelled_models
from runoff.analysis.leaders import leaders
from runoff.analysis.measurements import measured
from runoff.analysis.phases import life_table
from runoff.analysis.precision import FULL, Precision, precisions
from runoff.analysis.samples import tidy
from runoff.analysis.stability import Stability, stability
from runoff.analysis.summary import summarise
from runoff.analysis.sweeps import Sweep, sweeps

if TYPE_CHECKING:
    import pandas as pd

    from runoff.analysis.metric_samples import Key
    from runoff.analysis.verdict import Verdict
    from runoff.records.schema import Run


@dataclass(frozen=True)
class Analysis:
    """The input of all reports."""

    run: Run
    samples: pd.DataFrame
    summary: pd.DataFrame
    life: pd.DataFrame
    audit: list[AuditPoint]
    stability: dict[str, Stability]
    """By case id; cases that could not run on this machine are omitted."""
    labelled: list[LabelledModel]
    """Models with labelled images."""
    sweeps: list[Sweep] = field(default_factory=list)
    growth: list[Growth] = field(default_factory=list)
    precisions: list[Precision] = field(default_factory=list)
    """The cases of targets in a precision other than fp32, and their counterparts in fp32."""
    leaders: dict[Key, dict[str, Verdict]] = field(default_factory=dict)
    """By the best case of each comparison on each headline metric: the verdict on each other case, by its target."""


def analyse(run: Run) -> Analysis:
    """Return all tables of `run`."""
    samples = tidy(run)
    summary = summarise(run, samples)
    steadiness = stability(run, summary)
    verdicts = {case: found.verdict for case, found in steadiness.items()}
    summary["stability"] = [verdicts.get(case, "") for case in summary["case"]]
    data = measured(run, samples)
    return Analysis(
        run,
        samples,
        summary,
        life_table(run),
        audit(run),
        steadiness,
        labelled_models(run),
        sweeps(run, samples, summary),
        growth(run, samples),
        precisions(run, data) if any(case.settings.precision != FULL for case in run.info.cases) else [],
        leaders(data),
    )
