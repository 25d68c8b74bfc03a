"""A program that writes a block of readings every tenth of a second until it is ended.

It is started by a shell that copies its output into a file and waits for the end of its own standard input. The shell
then kills both the program and the copying. A program that runs as root cannot be killed, but its next block has no
reader: it ends by SIGPIPE. The same holds if runoff itself is killed, with all that it started as its own user.
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
"""A program that writes no block for so long has failed."""
_POLL_S = 0.005
_END_S = 10.0
_LONGEST_END = 1024
_COPY = """
rm -f "$0.pipe"; mkfifo "$0.pipe" || exit
cat "$0.pipe" > "$0" & copy=$!
"$@" > "$0.pipe" < /dev/null & program=$!
read -r _
kill -KILL $program $copy 2> /dev/null
wait
"""


class Stream:
    """The blocks of one program.

    Parameters
    ----------
    spawner
        Starts it.
    argv
        The program and its arguments; it prints its blocks.
    path
        The file for them, in an existing folder.
    end
        Matches the end of a block.
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
        """Wait for the end of the block that is being written; return all complete blocks since the last call.

        Nothing is decoded before that end, so runoff's own work is in no block that it returns.

        Raises
        ------
        MeterError
            If no block comes.
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
        last = f": {logged[-1][:200]}" if logged else ""
        ended = f", and {describe_exit(finished)}" if finished.exit_code and not logged else ""
        return Reason("stream", f"{self._name} wrote no reading in {PATIENCE_S:.0f} s{last}{ended}")
