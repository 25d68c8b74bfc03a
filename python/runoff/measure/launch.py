"""One request to one runner: the request is written, the process runs, the answer is read and judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from runoff.measure.result import read_result

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.plan.target import Target
    from runoff.probes.base import Tool
    from runoff.processes import Finished, Spawner
    from runoff.records.protocol import Request, Result
    from runoff.records.reason import Reason


class Answer(Struct, frozen=True):
    """What came of a request: how the process ended, and its result or the reason why it does not count."""

    finished: Finished
    result: Result | None
    reason: Reason | None

    @property
    def status(self) -> str:
        """``ok``, ``unsupported`` or ``error``."""
        if self.reason is None:
            return "ok"
        return "unsupported" if self.result and self.result.status == "unsupported" else "error"


def launch(
    request: Request, target: Target, spawner: Spawner, scratch: Path, timeout_s: float, tool: Tool | None = None
) -> Answer:
    """Start `target` on `request` and wait for its end.

    Parameters
    ----------
    request
        What is asked; its spawn time is filled in here.
    target
        The runner.
    spawner
        Starts the process.
    scratch
        Existing folder for request, result and the tool's report.
    timeout_s
        After so many seconds the process is killed.
    tool
        Starts the runner in its turn, and watches it.

    Raises
    ------
    OSError
        When the runner cannot be started.
    """
    asked, answered = scratch / "request.json", scratch / "result.json"

    def stamp(spawn_ns: int) -> None:
        own = None if tool else spawn_ns  # a tool starts the runner at a time of its own
        asked.write_bytes(msgspec.json.encode(msgspec.structs.replace(request, spawn_ns=own)))

    argv = (*target.command, "--request", str(asked), "--result", str(answered))
    if tool:
        argv = tool.wrap(str(tool.find()), argv, scratch)
    finished = spawner.run(argv, target.environment(), timeout_s, stamp)
    return Answer(finished, *read_result(finished, answered, request.case, watched=tool is not None))
