"""One Parquet file for each run, in the folder ``.history`` beside the runs, made anew when the run has changed."""

from __future__ import annotations

import hashlib
from pathlib import Path  # noqa: TC003 (msgspec evaluates the annotations)
from typing import TYPE_CHECKING

import click
import msgspec
import pyarrow as pa
from msgspec import Struct
from pyarrow import parquet

from runoff.analysis.verdict import NO_DIFFERENCE
from runoff.history.rows import SUMMARY_FILE, analysed, moment, rows, suite_of
from runoff.records.errors import RunoffError
from runoff.records.files import RAW, RUN_FILE, read_run, write_atomically
from runoff.records.machine import headline, machine_key
from runoff.report.overview import blocks
from runoff.report.text import number
from runoff.report.verdicts import answers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runoff.records.schema import Run
    from runoff.report.overview import Block
    from runoff.report.verdicts import Finding

FOLDER = ".history"
VERSION = 2
"""Of what is kept: files of another version are made anew."""
_READS = 1
"""The version of ``run.json`` that is read."""
_FEW = 5
"""More runs than these are announced before they are read."""
_KEY = b"runoff"
"""Of Parquet's own metadata."""


class RunSummary(Struct, frozen=True, kw_only=True):
    """What a list of runs says of one."""

    version: int = VERSION
    stamp: str
    """Of the files that it was made from."""
    run: str
    suite: str
    started: str
    finished: str | None
    machine: str
    machine_key: str
    ok: int
    failed: int
    missing: int
    """Cases by how they ended; what could not run here is missing."""
    best: str
    """The quickest target of the first comparisons, in words; empty when nothing was measured."""
    raw: bool
    """Whether the raw results are there; published runs have none."""


class CachedRun(Struct, frozen=True):
    """A run and its Parquet file."""

    folder: Path
    file: Path
    card: RunSummary


class RunIndex(Struct, frozen=True):
    """The runs in some folders."""

    runs: list[CachedRun]
    """In order of time."""
    skipped: dict[str, str]
    """By folder: why a run cannot be read."""


def find(folders: Iterable[Path], scratch: Path) -> RunIndex:
    """Return the runs in `folders`: those that are runs, and those one and two levels below.

    A published run is left out where the same run is there with its raw results.

    Parameters
    ----------
    folders
        Where to look.
    scratch
        Where files are kept that cannot be kept beside their run.
    """
    runs: list[CachedRun] = []
    skipped = {}
    there = {folder: _current(folder) for folder in run_folders(folders)}
    new = sum(run is None for run in there.values())
    if new > _FEW:
        click.echo(f"reading {new} runs for the first time (about 1 s each)", err=True)
    for folder, run in there.items():
        try:
            runs.append(run or kept(folder, scratch))
        except RunoffError as error:
            skipped[str(folder)] = error.message
    whole = {run.card.run for run in runs if run.card.raw}
    shown = [run for run in runs if run.card.raw or run.card.run not in whole]
    return RunIndex(sorted(shown, key=lambda run: (moment(run.card.started), run.card.run)), skipped)


def run_folders(folders: Iterable[Path]) -> list[Path]:
    """Return the folders of runs at `folders` and up to two levels below.

    Raises
    ------
    RunoffError
        When one of `folders` is no folder.
    """
    found: dict[Path, None] = {}
    for folder in folders:
        if not folder.is_dir():
            raise RunoffError(f"{folder}: there is no such folder", "past runs: runoff list runs")
        files = [path for depth in ("", "*/", "*/*/") for path in sorted(folder.glob(f"{depth}{RUN_FILE}"))]
        found |= dict.fromkeys(path.parent for path in files)
    return list(found)


def kept(folder: Path, scratch: Path) -> CachedRun:
    """Return the Parquet file of the run in `folder`, made where there is no current one.

    Raises
    ------
    RunoffError
        When the run cannot be read, or is of another format.
    """
    current = _current(folder)
    if current is not None:
        return current
    run = read_run(folder)
    if run.info.version != _READS:
        raise RunoffError(f"{folder / RUN_FILE} has version {run.info.version}; this runoff reads {_READS}")
    try:
        headline(run.info.machine)
    except KeyError as error:
        raise RunoffError(f"{folder / RUN_FILE} is of another format: its machine lacks {error}") from error
    stamp = _stamp(folder)
    return _keep(run, stamp, [_beside(folder), scratch / f"{stamp}.parquet"])


def _beside(folder: Path) -> Path:
    return folder.resolve().parent / FOLDER / f"{folder.resolve().name}.parquet"


def _current(folder: Path) -> CachedRun | None:
    """Return the Parquet file of the run in `folder`; None when there is none, or the run has changed since."""
    file = _beside(folder)
    card = _card(file)
    return CachedRun(folder, file, card) if card is not None and card.stamp == _stamp(folder) else None


def _stamp(folder: Path) -> str:
    """Return a digest that changes when a file changes that the history is made from."""
    raw = sorted((folder / RAW).glob("*.jsonl"))
    states = [
        (path.name, path.stat()) for path in (folder / RUN_FILE, *(raw or [folder / SUMMARY_FILE])) if path.exists()
    ]
    text = "\n".join(f"{name} {state.st_size} {state.st_mtime_ns}" for name, state in states)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _card(file: Path) -> RunSummary | None:
    """Return the card in a Parquet file; None when there is none, or it is of another version."""
    try:
        card = msgspec.json.decode((parquet.read_schema(file).metadata or {})[_KEY], type=RunSummary)
    except (OSError, KeyError, pa.ArrowInvalid, msgspec.DecodeError):
        return None
    return card if card.version == VERSION else None


def _keep(run: Run, stamp: str, places: list[Path]) -> CachedRun:
    analysis = analysed(run)
    made = blocks(analysis)
    states = [row.status for block in made for row in block.rows]
    card = RunSummary(
        stamp=stamp,
        run=run.info.run_id,
        suite=suite_of(run),
        started=run.info.started,
        finished=run.info.finished,
        machine=headline(run.info.machine),
        machine_key=machine_key(run.info.machine),
        ok=states.count("ok"),
        failed=states.count("error"),
        missing=len(states) - states.count("ok") - states.count("error"),
        best=best(made),
        raw=bool(run.records),
    )
    sink = pa.BufferOutputStream()
    table = rows(run, analysis.summary)
    parquet.write_table(table.replace_schema_metadata({_KEY: msgspec.json.encode(card)}), sink, compression="zstd")
    return CachedRun(run.folder, _written(sink.getvalue().to_pybytes(), places), card)


def _written(data: bytes, places: list[Path]) -> Path:
    """Write `data` to the first of `places` that takes it: beside a run that may only be read there is no room."""
    *wanted, last = places
    for file in wanted:
        try:
            file.parent.mkdir(exist_ok=True)
            write_atomically(file, data)
        except (OSError, RunoffError):
            continue
        return file
    write_atomically(last, data)
    return last


def best(made: list[Block]) -> str:
    """Return which target is the quickest and how it stands to the last baseline, for the first block with times."""
    for block in made:
        found = answers(block)
        if found:
            return (f"{block.model}: " if len(made) > 1 else "") + _told(found[0])
    return ""


def _told(found: Finding) -> str:
    if found.unfair:
        return "not a fair comparison: " + ", ".join(found.unfair)
    text = f"{found.winner.target} ({found.profile}): {found.what} {number(found.figure)}"
    for name, verdict in list(found.versus.items())[-1:]:
        word, _, _ = verdict.partition(" (")
        text += f", {word} {'from' if word.startswith(NO_DIFFERENCE) else 'than'} {name}"
    return text
