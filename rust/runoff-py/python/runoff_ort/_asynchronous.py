"""The coroutine of `Session.run_async`."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from . import RunOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from . import Session


async def run(
    session: Session, feeds: Mapping[str, Any], outputs: Sequence[str] | None, options: RunOptions | None
) -> dict[str, Any]:
    """Run the model in a thread of the loop's executor. Cancelling the task ends the run, and waits for its end."""
    options = RunOptions() if options is None else options
    call = partial(session.run, feeds, outputs, options=options)
    running = asyncio.get_running_loop().run_in_executor(None, call)
    try:
        await asyncio.wait([running])
    except asyncio.CancelledError:
        options.cancel()
        # until then, the run reads the caller's arrays
        await asyncio.wait([running])
        # looked at, so that asyncio does not log it
        running.exception()
        raise
    return running.result()
