"""``process``: process time and memory, from start to exit, as hyperfine measures them."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from runoff.environments import setup_command
from runoff.probes.base import Probe, Sample, Tool
from runoff.records import untrusted
from runoff.records.protocol import Once

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from runoff.records.schema import MeterInfo, Record

_EXPORT = "hyperfine.json"
_TIMES = {"time_wall_clock": "wall", "time_user": "user", "time_system": "system"}


class _Quantity(Struct, frozen=True):
    value: Annotated[float, Meta(ge=0)]


class _Measurement(Struct, frozen=True):
    """What is read of a measurement; hyperfine omits what it could not measure."""

    time_wall_clock: _Quantity
    time_user: _Quantity | UnsetType = UNSET
    time_system: _Quantity | UnsetType = UNSET
    memory_peak_resident: _Quantity | UnsetType = UNSET


class _Result(Struct, frozen=True):
    measurements: list[dict[str, Any]]


class _Export(Struct, frozen=True):
    results: Annotated[list[_Result], Meta(min_length=1)]


def _wrap(hyperfine: str, runner: tuple[str, ...], scratch: Path) -> tuple[str, ...]:
    # One run per call: hyperfine does not interleave commands, so runoff does.
    options = ("--shell=none", "--runs=1", "--warmup=0", "--style=none", f"--export-json={scratch / _EXPORT}")
    return (hyperfine, *options, shlex.join(runner))


def _read(scratch: Path) -> list[dict[str, Any]]:
    export: _Export = untrusted.decode(untrusted.read_file(scratch / _EXPORT), _Export)
    measurements = export.results[0].measurements
    msgspec.convert(measurements, list[_Measurement])
    return measurements


HYPERFINE = Tool(
    name="hyperfine", wrap=_wrap, read=_read, hint=f"run: {setup_command('hyperfine')} (installs the pinned release)"
)


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
