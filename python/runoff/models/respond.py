"""Programs that make a folder in another environment, and the failure that they print for runoff."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from runoff.models.store import new_folder
from runoff.records.errors import ExitCode, RunoffError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Failure(Struct):
    """The output of a program that failed, as JSON."""

    message: str
    hint: str


def make_folder(folder: Path, make: Callable[[Path], None]) -> int:
    """Let `make` write the files of the new `folder`; print a `Failure` if it fails. Return the exit code."""
    try:
        with new_folder(folder) as temporary:
            make(temporary)
    except RunoffError as error:
        return _failed(error.message, error.hint, error.code)
    except OSError as error:
        hint = f"check that {folder.parent} can be written to and has space"
        return _failed(str(error), hint, ExitCode.BAD_INPUT)
    return ExitCode.OK


def _failed(message: str, hint: str | None, code: int) -> int:
    sys.stdout.write(msgspec.json.encode(Failure(message, hint or "")).decode() + "\n")
    return code
