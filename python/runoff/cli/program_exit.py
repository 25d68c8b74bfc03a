"""The exit of every program of runoff: an exit code, and one line on stderr for errors that users can fix."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import click

from runoff.records.errors import ExitCode, RunoffError

if TYPE_CHECKING:
    from collections.abc import Sequence


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
        click.echo(f"runoff: {error.message}", err=True)
        if error.hint:
            click.echo(f"        {error.hint}", err=True)
        sys.exit(error.code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(ExitCode.CASE_FAILED)


def _terminate(_signal: int, _frame: object) -> None:
    """Exit as after Ctrl-C: running processes are killed, and results are saved."""
    raise KeyboardInterrupt
