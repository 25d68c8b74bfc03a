"""Fixtures shared by all tests."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


def pytest_configure() -> None:
    """Restore SIGINT: a shell's background job ignores it, and its children would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def is_gone() -> Callable[[int], bool]:
    """Return a function that checks whether a process ends within five seconds; a zombie counts as ended."""

    def gone(pid: int) -> bool:
        deadline = time.monotonic() + 5.0
        while time.monotonic() < deadline:
            if not is_running(pid):
                return True
            time.sleep(0.02)
        return False

    return gone


def is_running(pid: int) -> bool:
    """Return whether the process exists; a zombie counts as ended."""
    # not installed in every environment that runs tests
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
