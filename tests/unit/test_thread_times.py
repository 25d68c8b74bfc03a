"""The threads of a process that compute, from the times of each."""

from __future__ import annotations

import os
import threading

import psutil
import pytest

from runoff.measure.thread_times import Spent, busy_threads, since, thread_times


@pytest.mark.parametrize(
    ("used", "requested", "expected"),
    [
        ([Spent(0.98), Spent(0.95)], 1, 2),
        ([Spent(0.98), Spent(0.95)], 2, 2),
        ([Spent(0.98), Spent(0.02)], 1, 1),
        ([Spent(0.7), Spent(0.28)], 1, 1),
        ([Spent(0.7), Spent(0.28)], 2, 2),
        ([Spent(0.98), Spent(0.25)], 1, 2),
        ([Spent(0.5, 0.45), Spent(0.45, 0.5)], 1, 2),
        ([Spent(0.95), Spent(0.95), Spent(0.9), Spent(0.15)], 2, 3),
        ([Spent(0.1), Spent(0.05)], 1, None),
        ([], 1, None),
    ],
    ids=[
        "in parallel",
        "as requested",
        "a thread that does next to nothing",
        "in turns",
        "in turns, as requested",
        "a second one, some of the time",
        "in parallel, waiting for a core half of the time",
        "above the requested number",
        "too little time to tell",
        "not reported",
    ],
)
def test_threads_that_take_turns_count_as_one(used: list[Spent], requested: int, expected: int | None) -> None:
    assert busy_threads(used, 1.0, requested, inference_s=0.9) == expected


def test_threads_are_unknown_if_little_of_the_time_is_inference() -> None:
    used = [Spent(0.4), Spent(0.3)]
    assert busy_threads(used, 1.0, 1, inference_s=0.3) is None
    assert busy_threads(used, 1.0, 2, inference_s=0.3) == 2


def test_times_are_those_between_two_reads() -> None:
    before, now = {1: Spent(1.0, 0.5)}, {1: Spent(3.0, 0.75), 2: Spent(0.5)}
    assert since(now, before) == [Spent(2.0, 0.25), Spent(0.5)]


def test_each_thread_of_this_process_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    # earlier tests of this process may have left the server of PyTorch
    monkeypatch.setattr(psutil.Process, "children", lambda _: [])
    ready, done = threading.Event(), threading.Event()

    def wait() -> None:
        ready.set()
        done.wait()

    thread = threading.Thread(target=wait)
    thread.start()
    ready.wait()
    try:
        found = thread_times(os.getpid())
    finally:
        done.set()
        thread.join()
    assert {os.getpid(), thread.native_id} <= found.keys()
    assert all(spent.cpu_s >= 0 and spent.waited_s >= 0 for spent in found.values())
    assert thread_times(2**22) == {}
