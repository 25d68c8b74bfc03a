"""Rows of the tidy table, for conversion from and to the formats of other tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from runoff.analysis.samples import COLUMNS
from runoff.records.errors import RunoffError
from runoff.report.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

TYPES = {"block": "int64", "process": "int64", "sample": "int64", "value": "float64"}


class SampleRow(NamedTuple):
    """A row of ``samples.csv``; see `runoff.analysis.samples.COLUMNS`."""

    case: str
    target: str
    model: str
    workload: str
    profile: str
    probe: str
    phase: str
    block: int
    process: int
    sample: int
    metric: str
    unit: str
    value: float


def table(rows: Iterable[SampleRow], path: Path) -> pd.DataFrame:
    """Return `rows` as a tidy table.

    Raises
    ------
    RunoffError
        If there are none.
    """
    frame = pd.DataFrame(rows, columns=COLUMNS)
    if frame.empty:
        raise RunoffError(f"{path} contains no measurement")
    return frame.astype(TYPES)


def omitted(samples: pd.DataFrame) -> list[str]:
    """Return a description of `samples` that a format omits; none if there are none."""
    if samples.empty:
        return []
    probes = ", ".join(dict.fromkeys(samples["probe"]))
    return [f"{plural(len(samples), 'sample')} of {probes}"]
