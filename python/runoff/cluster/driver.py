"""The driver: ``python -m runoff.cluster.driver RUN PACKS`` in Ray's environment, started by ``runoff bench --on``.

Each line on its standard input is a request for news; the response is a line of JSON, within a second: ``machines``,
the states that changed; ``notes``; ``done``; ``error``, ``hint`` and the exit ``code`` if it cannot continue. It ends
with its input.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runoff.cluster.fleet import Fleet, LostError
from runoff.cluster.ray_cluster import RayCluster
from runoff.records.errors import ExitCode, RunoffError
from runoff.records.machine_states import CLUSTER_FILE

if TYPE_CHECKING:
    from typing import TextIO

_PAUSE_S = 1.0


async def serve(fleet: Fleet, output: TextIO) -> None:
    """Run the fleet, and respond to requests for news until it is done or nobody asks any more."""
    work = asyncio.ensure_future(fleet.run())
    loop = asyncio.get_running_loop()
    try:
        while await loop.run_in_executor(None, sys.stdin.readline):
            await asyncio.wait([work], timeout=_PAUSE_S)
            done, changes = work.done(), fleet.changes()
            news: dict[str, Any] = {"machines": changes, "notes": fleet.notes, "done": done and not changes}
            if done and (error := work.exception()):
                if not isinstance(error, RunoffError | LostError | OSError):
                    raise error
                news |= _failure(error)
            fleet.notes = []
            print(json.dumps(news), file=output, flush=True)
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await work


def _failure(error: BaseException) -> dict[str, Any]:
    if isinstance(error, RunoffError):
        return {"error": error.message, "hint": error.hint, "code": error.code}
    return {"error": str(error), "hint": "", "code": ExitCode.CASE_FAILED}


def main(folder: Path, packs: Path) -> None:
    """Measure the run in `folder`."""
    # Ray and its programs print what they like
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.loads((folder / CLUSTER_FILE).read_bytes())
    try:
        cluster = RayCluster(request["on"])
    except RunoffError as error:
        sys.stdin.readline()
        print(json.dumps({"done": True, **_failure(error)}), file=output, flush=True)
        return
    try:
        asyncio.run(serve(Fleet(cluster, folder, packs), output))
    finally:
        cluster.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
