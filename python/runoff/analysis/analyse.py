"""Stage five: all tables of a run, made once and read by every report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runoff.analysis.audit import Point, audit
from runoff.analysis.harness import Harness, harness
from runoff.analysis.life import life_table
from runoff.analysis.samples import tidy
from runoff.analysis.summary import summarise

if TYPE_CHECKING:
    import pandas as pd

    from runoff.store import Run


@dataclass(frozen=True)
class Analysis:
    """What the reports are made of."""

    run: Run
    samples: pd.DataFrame
    summary: pd.DataFrame
    life: pd.DataFrame
    audit: list[Point]
    harness: Harness


def analyse(run: Run) -> Analysis:
    """Return all tables of `run`."""
    samples = tidy(run)
    return Analysis(run, samples, summarise(run, samples), life_table(run), audit(run), harness(run.info))
