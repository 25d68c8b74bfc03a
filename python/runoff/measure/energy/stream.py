"""Sources that are programs: each writes a block of readings every tenth of a second until it is stopped.

It is started by a shell that copies its output into a file and waits for the end of its own standard input. The shell
then kills both the program and the copying. A program that runs as root cannot be killed, but its next block has no
reader: it ends by SIGPIPE. The same holds if runoff itself is killed, with all that it started as its own user.
"""

from __future__ import annotations

import os
import time
from math import nan
from typing import TYPE_CHECKING

from msgspec import Struct

from runoff.measure.energy.meter import WHOLE, Meter, MeterError, Reading, with_whole
from runoff.processes import describe_exit
from runoff.records.reason import Reason

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from runoff.processes import Spawner
    from runoff.records.schema import MeterInfo

INTERVAL_S = 0.1
PATIENCE_S = 5.0
"""A program that writes no block for this long has failed."""
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
    """The blocks that the program `argv` prints into the file `path`; `end` matches the end of a block."""

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


class Interval(Struct, frozen=True):
    """The readings of one block."""

    elapsed_ns: int
    """Duration of the interval, or its end since the program began, as the program reports it."""
    joules: dict[str, float]
    """By domain, within the interval; NaN if it was not counted, absent if the program does not print it."""


class StreamMeter(Meter):
    """A program that prints the energy of each tenth of a second.

    `end` matches the end of a block, and `parse` returns the intervals of complete blocks. `cumulative` is whether the
    program reports the end of each interval, not its duration.
    """

    waits = True

    def __init__(
        self,
        info: MeterInfo,
        argv: Sequence[str],
        end: re.Pattern[bytes],
        parse: Callable[[bytes], list[Interval]],
        may_rest: frozenset[str],
        *,
        cumulative: bool,
    ) -> None:
        self.info, self.may_rest = info, may_rest
        self._argv, self._end, self._parse, self._cumulative = argv, end, parse, cumulative
        self._stream: Stream | None = None
        self._joules: dict[str, float] = {}
        self._time_ns = 0

    def open(self, spawner: Spawner, scratch: Path) -> None:
        """Start the program."""
        self._time_ns, self._joules = 0, {domain: 0.0 for domain in self.info.domains if domain != WHOLE}
        self._stream = Stream(spawner, self._argv, scratch / f"{self.info.name}.out", self._end)

    def read(self) -> Reading:
        """Wait for the end of an interval; return the joules by domain up to it.

        Raises
        ------
        MeterError
            If the program has exited or its output is invalid.
        """
        if self._stream is None:
            raise ValueError("open comes before read")
        for interval in self._parse(self._stream.next()):
            self._time_ns = interval.elapsed_ns + (0 if self._cumulative else self._time_ns)
            for domain in self._joules:
                self._joules[domain] += interval.joules.get(domain, nan)
        return Reading(self._time_ns, with_whole(self._joules, self.info))

    def close(self) -> None:
        """End the program."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
