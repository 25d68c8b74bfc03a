"""File formats of measurements: reading and writing them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from runoff.analysis.measurements import Measurements, of_published, of_run
from runoff.compare.formats import hyperfine, pyperf, tables
from runoff.records.errors import RunoffError
from runoff.records.files import PUBLISHED_SAMPLES, RUN_FILE, SAMPLES, read_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SUFFIXES = {".csv": "csv", ".parquet": "parquet"}
WRITERS: dict[str, Callable[[Measurements, Path], list[str]]] = {
    "csv": tables.write_csv,
    "parquet": tables.write_parquet,
    "hyperfine": hyperfine.write_2,
    "hyperfine-1": hyperfine.write_1,
    "pyperf": pyperf.write,
}
"""By format: write measurements to a file and return what the format omits."""


def read(path: Path) -> Measurements:
    """Return the measurements in a run's folder or in a file of a known format.

    Raises
    ------
    RunoffError
        If the path does not exist, or has none of the formats.
    """
    if path.is_dir() or path.name == RUN_FILE:
        return _of_folder(path.parent if path.name == RUN_FILE else path)
    if not path.is_file():
        raise RunoffError(f"{path}: no such run or file", "past runs: runoff list runs")
    if path.suffix == ".csv":
        return tables.read_csv(path)
    if path.suffix == ".parquet":
        return tables.read_parquet(path)
    return _read_json(path)


def _of_folder(folder: Path) -> Measurements:
    run = read_run(folder)
    if not run.records:
        for name, read_table in ((PUBLISHED_SAMPLES, tables.read_parquet), (SAMPLES, tables.read_csv)):
            if (folder / name).is_file():
                return of_published(run, read_table(folder / name).samples)
    return of_run(run)


def _read_json(path: Path) -> Measurements:
    try:
        document = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RunoffError(f"{path} cannot be read: {error}", _KNOWN) from error
    if isinstance(document, dict) and "benchmarks" in document:
        return pyperf.read(document, path)
    if isinstance(document, dict) and "results" in document:
        return hyperfine.read(document, path)
    raise RunoffError(f"{path} is not JSON of hyperfine or pyperf", _KNOWN)


_KNOWN = "a run's folder, .csv, .parquet, or JSON of hyperfine (1.x and 2.x) or pyperf"


def write(data: Measurements, path: Path, to: str | None) -> list[str]:
    """Write `data` to `path` and return what the format omits.

    Raises
    ------
    RunoffError
        If neither `to` nor the suffix names a format, or `data` has nothing for it.
    """
    name = to or SUFFIXES.get(path.suffix)
    if name is None:
        raise RunoffError(f"{path.name} has no known suffix", f"add --to {'|'.join(WRITERS)}")
    return WRITERS[name](data, path)
