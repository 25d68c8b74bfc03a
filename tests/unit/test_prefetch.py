"""A batch prepared in a thread: waiting, failures, and the lifetime of the thread."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from runoff_runners.prefetch import Prefetch
from runoff_runners.protocol import RunnerError

PATHS = ["a.jpg", "b.jpg"]


def test_it_is_made_in_another_thread_and_its_time_is_that_of_the_work() -> None:
    began = threading.Event()
    idents: list[int] = []

    def images(paths: list[str]) -> Any:
        idents.append(threading.get_ident())
        began.set()
        return [path.upper() for path in paths]

    prefetch = Prefetch(images, PATHS)
    assert began.wait(10)
    batch, took_ns = prefetch.take()
    assert batch == ["A.JPG", "B.JPG"]
    assert idents != [threading.get_ident()]
    assert 0 < took_ns < 10 * 10**9


@pytest.mark.parametrize("error", [RunnerError("image-missing", "image a.jpg: no such file"), ValueError("what?")])
def test_errors_are_raised_where_the_batch_is_taken(error: Exception) -> None:
    def images(paths: list[str]) -> Any:
        raise error from OSError(paths)

    prefetch = Prefetch(images, PATHS)
    with pytest.raises(type(error)) as caught:
        prefetch.take()
    assert caught.value is error


def test_its_thread_stays_until_the_batch_is_taken() -> None:
    """The threads of a session are counted as the difference before and after it."""
    made = threading.Event()
    idents: list[int] = []

    def images(paths: list[str]) -> Any:
        idents.append(threading.get_native_id())
        made.set()
        return paths

    prefetch = Prefetch(images, PATHS)
    assert made.wait(10)
    thread = Path(f"/proc/self/task/{idents[0]}")
    assert all(thread.exists() for _ in range(1000))
    prefetch.take()
    deadline = time.monotonic() + 10
    while thread.exists():
        assert time.monotonic() < deadline
