"""Runs that are awaited: results, errors, cancelling, and an event loop that stays free."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import runoff_ort
from comparing import differences
from generated import any_bits, both
from programs import slow_call

if TYPE_CHECKING:
    from pathlib import Path

FLOAT = np.dtype(np.float32)
FEEDS = {"x": any_bits(1, FLOAT, (2, 3)), "z": any_bits(2, FLOAT, (2, 3))}
LONG_S, SOON_S = 60, 20


@pytest.fixture
def adding() -> runoff_ort.Session:
    session: runoff_ort.Session = both("Add", FLOAT, 2).ours
    return session


def test_the_result_is_that_of_run(adding: runoff_ort.Session) -> None:
    async def call() -> list[Any]:
        task = asyncio.create_task(adding.run_async(FEEDS))
        several = await asyncio.gather(*(adding.run_async(FEEDS, ["y"]) for _ in range(20)))
        return [await task, await adding.run_async(FEEDS, options=runoff_ort.RunOptions()), *several]

    expected = adding.run(FEEDS)
    assert [differences(made, expected) for made in asyncio.run(call())] == [[]] * 22


def test_errors_come_when_it_is_awaited(adding: runoff_ort.Session) -> None:
    async def call(*arguments: Any) -> None:
        waiting = adding.run_async(*arguments)
        with pytest.raises((TypeError, runoff_ort.InvalidValueError)):
            await waiting

    for arguments in (({},), (7,), (FEEDS, []), (FEEDS, ["nothing"]), ({"x": "a", "z": "b"},)):
        asyncio.run(call(*arguments))


def test_the_loop_is_free_meanwhile(tmp_path: Path) -> None:
    session, feeds = slow_call(tmp_path, 1)

    async def call() -> int:
        ticks, running = 0, asyncio.create_task(session.run_async(feeds))
        while not running.done():
            await asyncio.sleep(0.01)
            ticks += 1
        await running
        return ticks

    assert asyncio.run(call()) > 3


@pytest.mark.parametrize("own", [True, False], ids=["own options", "no options"])
def test_a_cancelled_task_ends_the_run(own: bool, tmp_path: Path) -> None:  # noqa: FBT001
    session, feeds = slow_call(tmp_path, LONG_S)
    options = runoff_ort.RunOptions() if own else None

    async def call() -> float:
        running = asyncio.create_task(session.run_async(feeds, options=options))
        await asyncio.sleep(0.2)
        running.cancel()
        began = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await running
        # the thread of the executor is free: the run is over
        await asyncio.get_running_loop().shutdown_default_executor()
        return time.monotonic() - began

    assert asyncio.run(call()) < SOON_S
    if options is not None:
        assert options.cancelled
    assert np.count_nonzero(session.run({**feeds, "times": np.array(2)})["y"]) == 0


def test_a_timeout_of_asyncio_ends_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    session, feeds = slow_call(tmp_path, LONG_S)

    async def call() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(session.run_async(feeds), 0.2)

    began = time.monotonic()
    asyncio.run(call())
    assert time.monotonic() - began < SOON_S
    assert caplog.text == ""
