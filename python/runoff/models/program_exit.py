"""How the programs of the export environment speak, and how they end."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from runoff.records.errors import ExitCode, RunoffError

if TYPE_CHECKING:
    from collections.abc import Callable


def exit_code_of(work: Callable[[], None]) -> int:
    """Do `work` and return the program's exit code; what went wrong is said in two lines, without a traceback."""
    try:
        work()
    except RunoffError as error:
        say(f"error: {error.message}" + (f"\nhint: {error.hint}" if error.hint else ""))
        return error.code
    except OSError as error:
        say(f"error: {error}\nhint: check that the store can be written to and has space")
        return ExitCode.BAD_INPUT
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return ExitCode.OK


def say(line: str) -> None:
    """Tell a person what goes on."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
