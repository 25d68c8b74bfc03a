"""What tests of every kind share."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def is_gone() -> Callable[[int], bool]:
    """Return a function that says whether a process ends within a second; a zombie counts as ended."""

    def gone(pid: int) -> bool:
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            asked = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
            if not asked.stdout.strip() or asked.stdout.startswith("Z"):
                return True
            time.sleep(0.02)
        return False

    return gone
