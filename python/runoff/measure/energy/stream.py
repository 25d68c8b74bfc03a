"""A program that writes a block of readings every tenth of a second, into a file, until it is told to end.

It is started through a shell that copies what it prints into the file and waits for the end of its own standard input.
Then the shell ends the copying, and the program with it: its next block has no reader. That works for a program
that runs as root too, which runoff may not end, and when runoff itself was killed.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from runoff.measure.energy.meter import MeterError
from runoff.processes import describe_exit
from runoff.records.reason import Reason

if TYPE_CHECKING:
    import re
    from collections.abc import Sequence
    from pathlib import Path

    from runoff.processes import Spawner

INTERVAL_S = 0.1
PATIENCE_S = 5.0
"""A program that writes no block for so long is given up."""
_POLL_S = 0.005
_END_S = 10.0
_LONGEST_END = 1024
_COPY = '"$@" | cat > "$0" & read -r _; kill $! 2>/dev/null'


class Stream:
    """The blocks of one program.

    Parameters
    ----------
    spawner
        Starts it.
    argv
        The program and its arguments; it prints its blocks.
    path
        The file that they go to; its folder exists.
    end
        What the end of a block looks like.
    """

    def __init__(self, spawner: Spawner, argv: Sequence[str], path: Path, end: re.Pattern[bytes]) -> None:
        self._end = end
        self._buffer = b""
        self._name = argv[0]
        path.write_bytes(b"")
        self._file = path.open("rb")
        environment = {**os.environ, "LC_ALL": "C"}
        self._live = spawner.start(("/bin/sh", "-c", _COPY, str(path), *argv), environment)

    def next(self) -> bytes:
        """Wait for the end of the block that is being written; return all blocks since the last call, whole ones.

        Nothing is decoded before that end, so that runoff's own work falls into no block that it returns.

        Raises
        ------
        MeterError
            When no block comes.
        """
        self._buffer += self._file.read()
        begun, until = len(self._buffer), time.monotonic() + PATIENCE_S
        while (whole := self._last_end(begun)) <= begun:
            if time.monotonic() > until:
                raise MeterError(self._silence())
            time.sleep(_POLL_S)
            self._buffer += self._file.read()
        blocks, self._buffer = self._buffer[:whole], self._buffer[whole:]
        return blocks

    def _last_end(self, begun: int) -> int:
        nearby = self._end.finditer(self._buffer, max(0, begun - _LONGEST_END))
        return max((found.end() for found in nearby), default=0)

    def close(self) -> None:
        """End the program."""
        self._live.close(_END_S)
        self._file.close()

    def _silence(self) -> Reason:
        finished = self._live.close(_END_S)
        logged = finished.stderr.strip().splitlines()
        said = f": {logged[-1][:200]}" if logged else ""
        ended = f", and {describe_exit(finished)}" if finished.exit_code and not logged else ""
        return Reason("stream", f"{self._name} wrote no reading in {PATIENCE_S:.0f} s{said}{ended}")
