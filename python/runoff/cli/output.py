"""JSON on stdout, and results in the folders of runs: shared by the commands."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec

from runoff.records.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path


def print_json(value: object) -> None:
    """Print `value` as JSON; it can be anything that msgspec encodes."""
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def write_result(folder: Path, name: str, document: object, plot: bytes = b"") -> None:
    """Write the result of a command as JSON, and its `plot` if it has one as SVG, into the folder of a run."""
    write_atomically(folder / f"{name}.json", msgspec.json.format(msgspec.json.encode(document), indent=1))
    if plot:
        write_atomically(folder / f"{name}.svg", plot)
