"""CSV and Parquet: the tidy table itself. Parquet also keeps the machine and the facts about cases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pandas as pd
from msgspec import Struct

from runoff.analysis.measurements import Measurements, Member, of_table
from runoff.analysis.samples import COLUMNS
from runoff.compare.formats.rows import TYPES
from runoff.records.errors import RunoffError
from runoff.records.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

_KEY = b"runoff"
"""Key of runoff's part of Parquet's metadata."""


class _Metadata(Struct, frozen=True, kw_only=True):
    """Parquet's metadata, next to the samples."""

    version: int = 1
    name: str
    machine: dict[str, Any] | None
    members: tuple[Member, ...]
    baselines: tuple[str, ...]
    unfair: dict[str, tuple[str, ...]]
    turns: frozenset[tuple[str, int]]


def read_csv(path: Path) -> Measurements:
    """Return the measurements of a table with the columns of ``samples.csv``."""
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise RunoffError(f"{path} cannot be read as CSV: {error}") from error
    return of_table(path.stem, _checked(frame, path))


def write_csv(data: Measurements, path: Path) -> list[str]:
    """Write the samples; a CSV file has no place for the machine and the cases' failures."""
    write_atomically(path, data.samples.to_csv(index=False).encode())
    losses = [] if data.machine is None else ["the machine"]
    return losses + (["failure reasons"] if any(member.failures for member in data.members) else [])


def read_parquet(path: Path) -> Measurements:
    """Return the measurements of a Parquet file with the columns of ``samples.csv``."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        stored = parquet.read_table(path)
        frame = stored.to_pandas()
        encoded = (stored.schema.metadata or {}).get(_KEY)
        known = msgspec.json.decode(encoded, type=_Metadata) if encoded else None
    except (OSError, ValueError, pa.ArrowException) as error:
        raise RunoffError(f"{path} cannot be read as Parquet: {error}") from error
    samples = _checked(frame, path)
    if known is None:
        return of_table(path.stem, samples)
    return Measurements(known.name, samples, known.machine, known.members, known.baselines, known.unfair, known.turns)


def write_parquet(data: Measurements, path: Path) -> list[str]:
    """Write everything; nothing is lost."""
    import pyarrow as pa
    from pyarrow import parquet

    metadata = _Metadata(
        name=data.name,
        machine=data.machine,
        members=data.members,
        baselines=data.baselines,
        unfair=dict(data.unfair),
        turns=data.turns,
    )
    arrow = pa.Table.from_pandas(data.samples, preserve_index=False)
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), _KEY: msgspec.json.encode(metadata)})
    sink = pa.BufferOutputStream()
    parquet.write_table(arrow, sink, compression="zstd")
    write_atomically(path, sink.getvalue().to_pybytes())
    return []


def _checked(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise RunoffError(f"{path} has no column {', '.join(missing)}", f"required: {', '.join(COLUMNS)}")
    if frame.empty:
        raise RunoffError(f"{path} contains no measurement")
    texts = {column: "str" for column in COLUMNS if column not in TYPES}
    kept: pd.DataFrame = frame[COLUMNS]
    for column, kind in TYPES.items():
        try:
            kept = kept.astype({column: kind})
        except (ValueError, TypeError) as error:
            raise RunoffError(f"{path}: column {column}: {error}", "numbers only") from error
    return kept.astype(texts)
