"""``counters``: the CPU work of a whole process, as ``perf stat`` counts it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from runoff.probes.base import Probe, Tool
from runoff.records.protocol import Once

if TYPE_CHECKING:
    from pathlib import Path

_EVENTS = (
    "task-clock", "context-switches", "cpu-migrations", "page-faults",
    "cycles", "instructions", "branches", "branch-misses",
)  # fmt: skip
_OUTPUT = "perf.json"


def _wrap(perf: str, runner: tuple[str, ...], scratch: Path) -> tuple[str, ...]:
    return (perf, "stat", "-j", "-e", ",".join(_EVENTS), "-o", str(scratch / _OUTPUT), "--", *runner)


def _read(scratch: Path) -> list[dict[str, Any]]:
    lines = (scratch / _OUTPUT).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


PERF = Tool(
    name="perf",
    wrap=_wrap,
    read=_read,
    hint="install it: apt-get install linux-perf",
    trial=("stat", "-e", "task-clock", "--", "true"),
    allow="sudo sysctl kernel.perf_event_paranoid=1; for a container: docker run --cap-add PERFMON",
)

COUNTERS = Probe(
    name="counters",
    summary="CPU work of a whole process: cycles, instructions, page faults, ... (perf stat)",
    measure=Once(),
    tool=PERF,
)
