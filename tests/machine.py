"""Requirements of tests on the machine. Tools that are optional for runoff are optional for its tests."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from runoff.probes.base import Tool

FULL = os.environ.get("RUNOFF_TEST_FULL") == "1"
"""Whether tests run at full size, which is slow: ``nox -s thorough`` sets it before a release."""
thorough = pytest.mark.skipif(not FULL, reason="takes long: nox -s thorough")


def skip_because(reason: str) -> None:
    """Skip the test if there is a reason. It fails if ``RUNOFF_TEST_ALL=1``: CI has everything."""
    if reason:
        (pytest.fail if os.environ.get("RUNOFF_TEST_ALL") == "1" else pytest.skip)(reason)


@cache
def unusable(tool: Tool) -> str:
    """Return the reason and hint if a tool cannot measure on this machine; empty if it can."""
    from runoff.measure.discovery import query_tool
    from runoff.processes import Spawner

    with tempfile.TemporaryDirectory() as folder, Spawner(Path(folder) / "log") as spawner:
        _, reason = query_tool(tool, spawner)
    return str(reason or "")
