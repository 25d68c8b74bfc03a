"""``process``: what a whole process costs, start to exit, as hyperfine sees it."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from runoff.probes.base import Probe, Tool
from runoff.records.protocol import Once

if TYPE_CHECKING:
    from pathlib import Path

_EXPORT = "hyperfine.json"


def _wrap(hyperfine: str, runner: tuple[str, ...], scratch: Path) -> tuple[str, ...]:
    # One run a call: hyperfine does not interleave commands, so runoff does.
    options = ("--shell=none", "--runs=1", "--warmup=0", "--style=none", f"--export-json={scratch / _EXPORT}")
    return (hyperfine, *options, shlex.join(runner))


def _read(scratch: Path) -> list[dict[str, Any]]:
    measurements: list[dict[str, Any]] = json.loads((scratch / _EXPORT).read_bytes())["results"][0]["measurements"]
    return measurements


HYPERFINE = Tool(name="hyperfine", wrap=_wrap, read=_read, hint="run: nox -s hyperfine (installs the pinned release)")

PROCESS = Probe(
    name="process",
    summary="wall, user and system time and peak memory of a whole process (hyperfine)",
    measure=Once(),
    tool=HYPERFINE,
)
