"""The exception that runoff raises for failures that its users can fix."""

from __future__ import annotations

import difflib
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class ExitCode(IntEnum):
    """Exit codes of ``runoff``."""

    OK = 0
    CASE_FAILED = 1
    BAD_INPUT = 2
    NOTHING_RUNS_HERE = 3
    INTERRUPTED = 130


class RunoffError(Exception):
    """A failure with a hint.

    Parameters
    ----------
    message
        The failure, and the file, field or flag at fault.
    hint
        The next step; empty only if the message already contains it.
    code
        The exit code of the command that fails with it.
    """

    def __init__(self, message: str, hint: str = "", code: ExitCode = ExitCode.BAD_INPUT) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint that names the closest of `known`, or all of them if none is close."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
