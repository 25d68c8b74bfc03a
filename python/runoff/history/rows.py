"""What the history keeps of a run: every line of its summary, and beside it what identifies the versions."""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from runoff.analysis.analyse import Analysis, analyse
from runoff.analysis.harness import harness
from runoff.analysis.samples import COLUMNS as SAMPLES
from runoff.analysis.summary import COLUMNS as SUMMARY
from runoff.analysis.validity import computes
from runoff.compare.measurements import engine_of, model_sha256
from runoff.records.errors import RunoffError
from runoff.records.machine import headline, machine_key

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.records.schema import Case, Record, Run

SUMMARY_FILE = "summary.csv"
_TEXT, _NUMBER = pa.string(), pa.float64()
_NUMBERS = {"estimate", "low", "high", "ratio", "ratio_low", "ratio_high", "p_adjusted", "floor"}
SCHEMA = pa.schema(
    [
        *((name, _TEXT) for name in ("run", "suite")),
        *((name, pa.timestamp("s")) for name in ("started", "finished")),
        *((name, _TEXT) for name in ("machine", "machine_key", "runoff")),
        *((name, _TEXT) for name in ("runtime", "runtime_version", "runtime_build", "model_sha256", "made_with")),
        *(("computes", pa.bool_()), ("twin_of", _TEXT)),
        *((name, pa.int64() if name == "n" else _NUMBER if name in _NUMBERS else _TEXT) for name in SUMMARY),
    ]
)
"""The columns of the view `history`; docs/history.md says what each one is."""
_COMMIT = re.compile(r"\bgit(?:-commit-id=|\s+)([0-9a-f]{7,40})\b")


def rows(run: Run, summary: pd.DataFrame) -> pa.Table:
    """Return the lines of `summary` with the columns `SCHEMA`; what is empty or not a number is null."""
    records: defaultdict[str, list[Record]] = defaultdict(list)
    for record in run.records:
        records[record.case].append(record)
    cases = {case.id: _versions(run, case, records[case.id]) for case in run.info.cases}
    shared = _shared(run)
    lines = [
        {name: _plain(value) for name, value in (shared | cases.get(line["case"], {}) | line).items()}
        for line in summary.to_dict("records")
    ]
    return pa.Table.from_pylist(lines, schema=SCHEMA)


def _shared(run: Run) -> dict[str, Any]:
    info = run.info
    return {
        "run": info.run_id,
        "suite": suite_of(run),
        "started": moment(info.started),
        "finished": moment(info.finished) if info.finished else None,
        "machine": headline(info.machine),
        "machine_key": machine_key(info.machine),
        "runoff": info.tools.get("runoff"),
    }


def suite_of(run: Run) -> str:
    """Return the name of the run's suite."""
    return str(run.info.suite.get("suite", {}).get("name", ""))


def moment(text: str) -> datetime:
    """Return a time of ``run.json`` in UTC, without its zone.

    Raises
    ------
    RunoffError
        When it is no time.
    """
    try:
        return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None, microsecond=0)
    except ValueError as error:
        raise RunoffError(f"{text!r} is not a time") from error


def _versions(run: Run, case: Case, records: list[Record]) -> dict[str, Any]:
    runtime, version, build = engine_of(run, case, records)
    made_with = run.info.models.get(case.model, {}).get("made_with") or {}
    return {
        "runtime": runtime,
        "runtime_version": version,
        "runtime_build": short_build(build),
        "model_sha256": model_sha256(run, case),
        "made_with": ", ".join(f"{name} {number}" for name, number in made_with.items()),
        "computes": computes(run, case.target),
        "twin_of": case.control_of,
    }


def short_build(build: str) -> str:
    """Return the commit that a build names, seven digits of it; the whole text where it names none."""
    found = _COMMIT.search(build)
    return found[1][:7] if found else build


def _plain(value: object) -> object:
    return None if value == "" or value is None or pd.isna(value) else value  # type: ignore[call-overload]


def analysed(run: Run) -> Analysis:
    """Return the analysis of a run; of a published one, which has no raw results, what its summary tells."""
    file = run.folder / SUMMARY_FILE
    if run.records or not file.is_file():
        return analyse(run)
    empty = pd.DataFrame(columns=SAMPLES)
    return Analysis(run, empty, _published(file), pd.DataFrame(), [], harness(run.info), {})


def _published(path: Path) -> pd.DataFrame:
    """Return ``summary.csv``; columns that older ones lack are empty."""
    try:
        summary = pd.read_csv(path, keep_default_na=False, na_values={name: [""] for name in _NUMBERS})
    except (OSError, ValueError) as error:
        raise RunoffError(f"{path} cannot be read: {error}") from error
    lacking = sorted(set(SUMMARY[: SUMMARY.index("p_adjusted")]) - set(summary.columns))
    if lacking:
        raise RunoffError(f"{path} is of another format: it has no column {lacking[0]!r}")
    for name in set(SUMMARY) - set(summary.columns):
        summary[name] = float("nan") if name in _NUMBERS else ""
    return summary[SUMMARY]
