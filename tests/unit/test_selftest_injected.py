"""The injected runner: each fault has its described effect only."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import pytest

from runoff.selftest import injected

ITEMS = [{"logits": np.roll(np.arange(10, dtype=np.float32), item)[None]} for item in range(4)]


class Clock:
    """A clock that advances by 1,000 ns on every read."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        """Return the time."""
        self.now_ns += 1000
        return self.now_ns


class Net:
    """A session whose output is its input; it takes 10 ms of a clock."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.runs = 0

    def run(self, feed: dict[str, Any]) -> dict[str, Any]:
        """Return `feed`."""
        self.runs += 1
        self.clock.now_ns += 10_000_000
        return feed

    def effective(self) -> dict[str, Any]:
        """Return the effective settings."""
        return {"runtime": "none", "threads": 2}


def answers(kind: type[injected.Unmodified], count: int) -> list[bool]:
    """Return whether each of `count` outputs, in the order of items, is correct."""
    session = kind(Net(), 0.0)
    right = []
    for index in range(count):
        item = ITEMS[index % len(ITEMS)]
        right.append(np.array_equal(session.run(item)["logits"], item["logits"]))
    return right


def test_the_unmodified_one_is_always_right() -> None:
    assert all(answers(injected.Unmodified, 300))


def test_about_one_output_in_a_hundred_is_wrong() -> None:
    wrong = [index for index, right in enumerate(answers(injected.Wrong, 505)) if not right]
    assert len(wrong) == 5
    assert set(np.diff(wrong)) == {101}


def test_a_wrong_output_does_not_modify_the_right_one() -> None:
    session = injected.Wrong(Net(), 0.0)
    for _ in range(101):
        session.run(ITEMS[0])
    assert np.array_equal(ITEMS[0]["logits"], np.arange(10, dtype=np.float32)[None])


def test_the_first_output_is_repeated() -> None:
    right = answers(injected.Cached, 12)
    assert [index for index, fine in enumerate(right) if fine] == [0, 4, 8]


def test_the_output_of_the_previous_input() -> None:
    assert answers(injected.Late, 8) == [True] + [False] * 7


def test_a_cached_output_still_takes_the_computation() -> None:
    net = Net()
    session = injected.Cached(net, 0.0)
    for item in ITEMS:
        session.run(item)
    assert net.runs == len(ITEMS)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5])
def test_the_share_is_burnt_inside_the_inference(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(injected, "monotonic_ns", clock)
    injected.Unmodified(Net(clock), share).run(ITEMS[0])
    assert clock.now_ns == pytest.approx(10_000_000 * (1 + share), abs=5000)


def test_threads_are_reported_as_one() -> None:
    assert injected.Threads(Net(), 0.0).effective() == {"runtime": "none", "threads": 1}


def test_the_slow_clock_starts_at_the_true_time() -> None:
    before = time.monotonic_ns() - injected.BEGAN_NS
    reading = injected.CLOCKS["clock"]() - injected.BEGAN_NS
    after = time.monotonic_ns() - injected.BEGAN_NS
    assert before // 2 <= reading <= after // 2


@pytest.mark.parametrize(
    ("arguments", "taken", "left"),
    [
        (["slow", "0.05", "--probe"], ("slow", 0.05), ["--probe"]),
        (["wrong", "--request", "a"], ("wrong", 0.0), ["--request", "a"]),
        (["--probe"], ("none", 0.0), ["--probe"]),
    ],
)
def test_the_fault_is_taken_from_the_arguments(
    arguments: list[str], taken: tuple[str, float], left: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["injected.py", *arguments])
    assert injected._take_fault() == taken
    assert sys.argv[1:] == left


def test_an_unknown_fault_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["injected.py", "lte", "--probe"])
    with pytest.raises(SystemExit, match="unknown fault 'lte'"):
        injected._take_fault()
