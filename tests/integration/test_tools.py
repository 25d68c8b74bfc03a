"""Real tools that watch runners: hanging processes below them are killed with them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from machine import skip_because, unusable
from runoff.probes.counters import PERF
from runoff.probes.process import HYPERFINE
from runoff.processes import Spawner

if TYPE_CHECKING:
    from collections.abc import Callable

    from runoff.probes.base import Tool

SCRIPT = '#!/bin/sh\nsleep 1000 &\necho $$ $! >"$0.pids"\nwait\n'


@pytest.mark.parametrize("tool", [HYPERFINE, PERF], ids=lambda tool: tool.name)
def test_a_timeout_reaches_through_the_tool(tool: Tool, tmp_path: Path, is_gone: Callable[[int], bool]) -> None:
    skip_because(unusable(tool))
    runner = tmp_path / "a runner"
    runner.write_text(SCRIPT)
    runner.chmod(0o755)
    with Spawner(tmp_path / "log") as spawner:
        done = spawner.run(tool.wrap(str(tool.find()), (str(runner),), tmp_path), dict(os.environ), 2.0)
    assert done.timed_out
    pids = [int(pid) for pid in Path(f"{runner}.pids").read_text().split()]
    assert len(pids) == 2
    assert all(is_gone(pid) for pid in pids)
