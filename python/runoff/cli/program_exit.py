"""The exit of every program of runoff: an exit code, and one line on stderr for errors that users can fix."""

from __future__ import annotations

import errno
import gc
import signal
import sys
from typing import TYPE_CHECKING

import click

from runoff.records.errors import ExitCode, RunoffError

if TYPE_CHECKING:
    from collections.abc import Sequence


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def run_program(command: click.Command, name: str, arguments: Sequence[str] | None = None) -> None:
    """Run `command`, called `name` in its help, and exit with its code; `arguments` default to the process's."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        command.main(args=arguments, prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(ExitCode.BAD_INPUT)
    except (KeyboardInterrupt, click.Abort):
        click.echo("runoff: interrupted", err=True)
        sys.exit(ExitCode.INTERRUPTED)
    except RunoffError as error:
        _report(error.message, error.hint)
        sys.exit(error.code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(ExitCode.CASE_FAILED)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        what = f"{error.filename or 'a file'} cannot be written: {error.strerror}"
        _report(what, "free space there; results so far are saved")
        sys.exit(ExitCode.CASE_FAILED)
    finally:
        # at the end of the interpreter, the collection of msgspec 0.22's types may print a SystemError; without the
        # collection, DuckDB prints what it calls leaks
        if "duckdb" not in sys.modules:
            gc.freeze()


def _report(message: str, hint: str) -> None:
    """Print an error and its hint, each on one line."""
    from runoff.records.untrusted import clean  # late: ``--help`` needs no msgspec

    click.echo(f"runoff: {clean(message)}", err=True)
    if hint:
        click.echo(f"        {clean(hint)}", err=True)


def _terminate(_signal: int, _frame: object) -> None:
    """Exit as after Ctrl-C: running processes are killed, and results are saved."""
    raise KeyboardInterrupt
