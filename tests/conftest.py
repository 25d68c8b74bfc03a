"""What tests of every kind share."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


def pytest_configure() -> None:
    """Let Ctrl-C interrupt: a shell's background job ignores it, and so would all that the tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def is_gone() -> Callable[[int], bool]:
    """Return a function that says whether a process ends within a second; a zombie counts as ended."""

    def gone(pid: int) -> bool:
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            if not is_running(pid):
                return True
            time.sleep(0.02)
        return False

    return gone


def is_running(pid: int) -> bool:
    """Return whether there is such a process; a zombie counts as ended."""
    # not in every environment that has tests
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
