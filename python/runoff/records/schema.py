"""Everything that a run writes: its description and its raw records."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (msgspec evaluates the annotations)
from typing import Any

from msgspec import Struct, field

from runoff.records.protocol import Capabilities, Result, Settings, Workload  # noqa: TC001
from runoff.records.reason import Reason  # noqa: TC001


class Case(Struct, frozen=True, kw_only=True):
    """One thing to measure."""

    id: str
    model: str
    workload: Workload
    target: str
    settings: Settings
    probes: tuple[str, ...]
    format: str = ""
    """The model format that the target reads; ``ort`` or ``mlmodelc`` where it is given a prepared file."""
    made_from: str = ""
    """Set for a prepared file: the stored format that it was made from."""
    variant: tuple[str, ...] = ()
    """The settings in words: profile, threads, batch, then all that departs from the profile."""
    control_of: str | None = field(default=None, name="twin_of")
    """Set for the baseline's second self: the target that it is, under another name. The noise floor comes from it."""
    skipped: Reason | None = None
    """Set when the case cannot run on this machine: its rows stay, with this reason."""

    @property
    def comparison(self) -> tuple[str, ...]:
        """What a case shares with those that it may be compared with: all but the target."""
        return (self.model, self.workload, *self.variant)


class Footprint(Struct, frozen=True):
    """Bytes on disk of one case."""

    parts: dict[str, int] = {}
    """``environment`` (a Python environment, without the interpreter it links to), ``program``, ``library``,
    ``model``."""
    reason: str = ""
    """Why there are no parts; empty where there are."""


class InterleavingStats(Struct, frozen=True, kw_only=True):
    """How a live process took its turns (probe ``latency``)."""

    beside: int
    """Processes that lived side by side and took turns with it; 1 when it was alone."""
    inferences: int
    """In each turn."""
    warmup: int
    """Leading inferences of ``warm_ns`` that were warm-up: kept, and no part of any estimate."""
    steady: bool
    """Whether the warm-up ended because the times had become steady, not because its time was over."""
    checked: int
    """Inferences whose outputs were compared with the reference."""
    roundtrip_ns: tuple[int, ...] = ()
    """Each measured turn by runoff's own clock, from the question to the answer."""
    busy_threads: int | None = None
    """Threads of the process that computed while the turns went on, counted from outside; None where it cannot be."""
    huge_bytes: int | None = None
    """Of its memory, what lay in huge pages at the end; None where they were not asked for."""
    waiting_share: float | None = None
    """CPU time it used per second while others had their turn (its threads spin); None where it cannot be told."""


class Conditions(Struct, frozen=True, kw_only=True):
    """The machine while a process ran. None stands for what this system does not tell."""

    load: float | None = None
    """One-minute load average at the end."""
    steal: float | None = None
    """Share of all CPU time that the hypervisor gave to somebody else, 0 to 1."""
    others: float | None = None
    """Cores kept busy by processes other than those measured, on average."""
    mhz: float | None = None
    """Mean clock of the allowed cores, read before and after."""
    throttled: float | None = None
    """Share of the time in which the control group was held back by its CPU limit."""
    switches: int | None = None
    """Involuntary context switches of what was started (a live process's are not told)."""


class EnergyWindow(Struct, frozen=True, kw_only=True):
    """What the counters of energy said of one stretch of work, or of rest (probe ``energy``)."""

    part: str
    """``idle-before``, ``process``, ``inference`` or ``idle-after``."""
    start_ns: int
    end_ns: int
    """When the work began and ended, on the monotonic clock; the readings lie around it."""
    count: int = 0
    """Whole processes, or inferences, that were done; 0 where the machine rested."""
    joules: dict[str, float] = {}
    """From the first reading to the second, by ``SOURCE.DOMAIN``."""
    seconds: dict[str, float] = {}
    """The time between the two readings, by source."""
    silent: dict[str, str] = {}
    """By ``SOURCE.DOMAIN``, why there is no figure: a counter that did not move is not zero."""
    others: float | None = None
    """Cores kept busy by processes other than those measured: their energy is in the figures."""


class DeviceMemory(Struct, frozen=True, kw_only=True):
    """What a process used of the memory of NVIDIA's GPUs (probe ``memory``)."""

    peak_bytes: int | None = None
    """The most that was seen; None with a `reason`."""
    how: str = ""
    """What was counted: the process's own memory, or the rise of all."""
    reason: str = ""
    """Why it is not known."""


class MeterInfo(Struct, frozen=True, kw_only=True):
    """A source of energy readings."""

    name: str
    source: str
    """What counts, and what reads it."""
    domains: dict[str, str]
    """What is counted: name to scope."""
    resolution_j: float
    """One step of the counter."""
    step_s: float
    """How often it moves."""
    lacks: dict[str, str] = {}
    """Domains that it might have and has not, with the reason."""


class Record(Struct, frozen=True, kw_only=True):
    """One line of a raw file: one process (or one call of a tool that starts one) of a case and probe."""

    case: str
    probe: str
    block: int
    """Round of the interleaving; every case has one process in each block of a probe."""
    order: int
    """Place in the order in which the run's processes were started."""
    status: str
    """``ok``, ``unsupported``, ``error`` or ``not-measured``."""
    reason: Reason | None = None
    spawn_ns: int = 0
    exit_ns: int = 0
    """Spawner's clock just before the process was spawned, and just after it was reaped."""
    exit_code: int | None = None
    tool: list[dict[str, Any]] = []
    """What the measuring tool reported: hyperfine's measurements, or perf's events."""
    result: Result | None = None
    """The runner's own answer."""
    parity: list[dict[str, Any]] = []
    """For each output that was compared with its reference: see `runoff.measure.parity`."""
    turned: InterleavingStats | None = None
    """Set when it was measured as a live process that took turns."""
    conditions: Conditions | None = None
    device_memory: DeviceMemory | None = None
    """Set by the probe ``memory`` where the provider is NVIDIA's."""
    energy: tuple[EnergyWindow, ...] = ()
    """Set by the probe ``energy``: its windows, in order of time."""


class Stop(Struct, frozen=True, kw_only=True):
    """Why the sampling of a probe ended."""

    cause: str
    """``blocks`` (all that the suite asks for), ``precision`` (narrow enough) or ``time`` (the budget was used up)."""
    blocks: int
    widest: float | None = None
    """Half the width of the widest interval at the end, relative (0.02 is 2 %); None without an interval."""
    widest_case: str = ""


class RunInfo(Struct, kw_only=True):
    """``run.json``."""

    version: int = 1
    run_id: str
    suite: dict[str, Any]
    """The suite as it was resolved."""
    suite_text: str
    suite_folder: str = "."
    """Where relative commands of ``[targets.NAME]`` start, relative to the working folder."""
    cases: tuple[Case, ...]
    capabilities: dict[str, Capabilities]
    models: dict[str, dict[str, Any]]
    """Name to: source, weights, sha256 by format; where asked for, `prepared` (by the format that it was made from:
    sha256, key) or `not_prepared` (why)."""
    machine: dict[str, Any]
    tools: dict[str, str | None]
    """Name to version of hyperfine, perf, runoff; null when the tool is missing."""
    seed: int
    baselines: tuple[str, ...] = ("torch", "ort-python")
    """Targets that others are compared with."""
    precision: float | None = None
    """Asked for: half the width of an interval, relative."""
    time_s: float | None = None
    """Asked for: the budget of sampling."""
    stops: dict[str, Stop] = {}
    """By probe."""
    libraries: dict[str, str] = {}
    """SHA-256 of each shared library that a runner named as its runtime's, by path."""
    environments: dict[str, dict[str, str]] = {}
    """By target: the variables that matter (`runoff.measure.machine.VARIABLES`) in its runner's environment."""
    meters: tuple[MeterInfo, ...] = ()
    """Sources of energy readings that the probe ``energy`` had."""
    meters_lacking: dict[str, str] = {}
    """Those that it had not, with the reason."""
    footprints: dict[str, Footprint] = {}
    """By case id: what it needs on disk, as it was when the run began."""
    started: str
    finished: str | None = None
    elapsed_ns: int = 0
    """Wall time of all sittings so far."""
    measured_ns: int = 0
    """Of that, inside measured processes."""
    paused_ns: int = 0
    """Of that, deliberate pauses."""


class Run(Struct, frozen=True):
    """What analysis reads."""

    folder: Path
    info: RunInfo
    records: tuple[Record, ...]
