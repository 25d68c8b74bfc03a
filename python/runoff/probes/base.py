"""A probe is one way of measuring a case: the request, the engine, the values read from a record, and its metrics."""

from __future__ import annotations

import shutil
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from msgspec import Struct

from runoff import paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from runoff.records.protocol import Accuracy, Latency, Load, Mappings, Once, Operators, Phase, Turns
    from runoff.records.schema import MeterInfo, Record

Aggregate = Literal["min", "mean", "max", "share"]
Engine = Literal["one-shot", "interleaved", "energy-windows", "load"]
"""``one-shot``: a process from start to exit. ``interleaved``: live processes of a comparison take turns; one-shot for
runners that cannot. ``energy-windows``: processes and inferences are repeated while energy is counted. ``load``: a
program sends requests to a live process."""
WARM_UP = "warm-up"
"""Phase of the inferences before the steady state: stored, in no estimate."""
DISTRIBUTED = (".warm", ".knee")
"""Ends of the names of metrics that have many samples in each process: their percentiles are reported too."""


class Sample(NamedTuple):
    """A number in a record. `process` counts within the record, `sample` within process, phase and metric."""

    metric: str
    unit: str
    value: float
    phase: str = ""
    process: int = 0
    sample: int = 0


class Shortfall(NamedTuple):
    """A metric without a value, and the reason."""

    metric: str
    unit: str
    reason: str


class Tool(Struct, frozen=True, kw_only=True):
    """A program that starts the runner and watches it."""

    name: str
    wrap: Callable[[str, tuple[str, ...], Path], tuple[str, ...]]
    """(tool's path, runner's command, folder of the report) -> the complete command."""
    read: Callable[[Path], list[dict[str, Any]]]
    """Folder of the report -> the report. Raises `OSError`, `ValueError` or `RecursionError`."""
    env: tuple[tuple[str, str], ...] = ()
    """Names and values that are added to the environment of the tool, and so of the runner."""
    hint: str
    """How to install it."""
    trial: tuple[str, ...] = ()
    """Arguments of a short measurement, which shows whether an installed tool is permitted to measure."""
    allow: str = ""
    """How to permit it."""

    def find(self) -> str | None:
        """Return its path: the one in an environment of that name first, then the one on the PATH."""
        own = paths.environments() / self.name / "bin" / self.name
        return shutil.which(own) or shutil.which(self.name)


def _nothing(_records: object, _meters: object) -> Any:  # noqa: ANN401 (an empty value of any hook)
    return {}


class Probe(Struct, frozen=True, kw_only=True):
    """The definition of one way of measuring a case.

    The hooks get the records with status ``ok`` and the run's sources of energy readings.
    """

    name: str
    summary: str
    measure: Once | Latency | Accuracy | Turns | Operators | Mappings | Load
    """The request to the runner."""
    configure: Callable[[Any], Once | Latency | Accuracy | Load] | None = None
    """From the suite's table ``[measure.NAME]`` to `measure`."""
    engine: Engine = "one-shot"
    blocks: int = 1
    """Default number of processes of each case."""
    sampled: bool = False
    """Whether blocks are added until the intervals are narrow or the time is over, if the suite requests it."""
    tool: Tool | None = None
    environment: str = ""
    """Environment of a program that it needs."""
    watches_device: bool = False
    """Whether the memory of NVIDIA's GPUs is sampled while the process runs."""
    checks_outputs: bool = False
    """Whether it compares outputs with the reference: measured of every case, and read even if they differ."""
    needs_model: bool = False
    """Whether it is skipped for a runner that computes nothing."""

    optional: bool = False
    """Whether a case still counts as measured on a machine without its metrics."""

    headline: tuple[str, str] = ("", "")
    """The metric that represents the probe, and its unit."""
    timed: str = ""
    """Description of the headline if it is a time, which then determines the stability of a case."""
    repeats: str = ""
    """Probe that measures the same time in more blocks: if a case has it, that one determines its stability."""
    main_metrics: tuple[str, ...] = ()
    """Metrics that a comparison of runs shows by default."""
    aliases: Mapping[str, str] = {}
    """Short names of metrics on the command line; the empty one is for the probe's name without a metric."""
    aggregates: Mapping[str, Aggregate] = {}
    """Metrics that are summarised by one number over all samples, without an interval; a ``share`` of the items of one
    process, 0 or 1 each, with Wilson's."""
    resolution: Mapping[str, float] = {}
    """Metrics that are measured in steps: the relative size of one, which is the smallest noise floor."""

    read: Callable[[Record, Sequence[MeterInfo]], Iterable[Sample]] = _nothing
    """(record, meters) -> the numbers in it."""
    shortfalls: Callable[[Sequence[Record], Sequence[MeterInfo]], Iterable[Shortfall]] = _nothing
    """(records of a case, meters) -> metrics that have no value; samples of them, in any block, are omitted."""
    notes: Callable[[Sequence[Record], Sequence[MeterInfo]], Mapping[str, str]] = _nothing
    """(records of a case, meters) -> by metric, a note next to its value."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """Measures of the protocol, any of which a runner must support."""
        kind = str(self.measure.__struct_config__.tag)
        return (kind, "turns") if self.engine == "interleaved" else (kind,)

    @property
    def uses_meters(self) -> bool:
        """Whether it needs a source of energy readings."""
        return self.engine == "energy-windows"

    def headline_values(self, record: Record) -> list[list[float]]:
        """Return the headline's samples of each process of a record."""
        values: defaultdict[int, list[float]] = defaultdict(list)
        for sample in self.read(record, ()):
            if metric_name(sample.phase, sample.metric) == self.headline[0]:
                values[sample.process].append(sample.value)
        return list(values.values())


def metric_name(phase: str, metric: str) -> str:
    """Return the name of a metric in ``summary.csv``, which includes the phase.

    A duration goes by its phase alone: ``load``; others are ``inference.warm``, ``resident.load``, ``wall``.
    """
    if metric == "duration":
        return phase
    return f"{metric}.{phase}" if phase else metric


def durations(phases: Sequence[Phase]) -> dict[str, int]:
    """Return nanoseconds by phase, in order of time."""
    spent: dict[str, int] = {}
    for phase in phases:
        spent[phase.name] = spent.get(phase.name, 0) + phase.end_ns - phase.start_ns
    return spent
