"""``process``: process time and memory, from start to exit, as hyperfine measures them."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from runoff.probes.base import Probe, Sample, Tool
from runoff.records.protocol import Once
from runoff.records.untrusted import read_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from runoff.records.schema import MeterInfo, Record

_EXPORT = "hyperfine.json"
_TIMES = {"time_wall_clock": "wall", "time_user": "user", "time_system": "system"}


def _wrap(hyperfine: str, runner: tuple[str, ...], scratch: Path) -> tuple[str, ...]:
    # One run per call: hyperfine does not interleave commands, so runoff does.
    options = ("--shell=none", "--runs=1", "--warmup=0", "--style=none", f"--export-json={scratch / _EXPORT}")
    return (hyperfine, *options, shlex.join(runner))


def _read(scratch: Path) -> list[dict[str, Any]]:
    measurements: list[dict[str, Any]] = json.loads(read_file(scratch / _EXPORT))["results"][0]["measurements"]
    return measurements


HYPERFINE = Tool(name="hyperfine", wrap=_wrap, read=_read, hint="run: nox -s hyperfine (installs the pinned release)")


def _samples(record: Record, _meters: Sequence[MeterInfo]) -> Iterator[Sample]:
    for process, measurement in enumerate(record.tool):
        for field, metric in _TIMES.items():
            if field in measurement:
                yield Sample(metric, "ns", measurement[field]["value"] * 1e9, process=process)
        if "memory_peak_resident" in measurement:
            yield Sample("peak_memory", "bytes", measurement["memory_peak_resident"]["value"], process=process)


PROCESS = Probe(
    name="process",
    summary="wall, user and system time and peak memory of a process, start to exit (hyperfine)",
    measure=Once(),
    blocks=10,
    sampled=True,
    tool=HYPERFINE,
    headline=("wall", "ns"),
    timed="process time",
    main_metrics=("wall", "user", "peak_memory"),
    read=_samples,
)
