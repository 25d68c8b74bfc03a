"""A run's folder: what was planned, and every raw result, appended as it is measured."""

from __future__ import annotations

import errno
import os
from pathlib import Path  # noqa: TC003 (msgspec evaluates the annotations)
from typing import Any

import msgspec
from msgspec import Struct

from runoff.errors import ExitCode, RunoffError
from runoff.footprint import Footprint  # noqa: TC001
from runoff.plan import Case  # noqa: TC001
from runoff.protocol import Capabilities, Result  # noqa: TC001
from runoff.reason import Reason  # noqa: TC001

RUN_FILE = "run.json"
RAW = "raw"


class Turned(Struct, frozen=True, kw_only=True):
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
    """For each output that was compared with its reference: see `runoff.parity`."""
    turned: Turned | None = None
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
    """By target: the variables that matter (`runoff.machine.VARIABLES`) in its runner's environment."""
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


class RunWriter:
    """Writes a run's folder. What it has written survives the end of the process that wrote it."""

    def __init__(self, folder: Path, info: RunInfo) -> None:
        self.folder = folder
        self.info = info
        (folder / RAW).mkdir(parents=True, exist_ok=True)
        self.save_info()

    def save_info(self) -> None:
        """Write ``run.json`` anew."""
        text = msgspec.json.format(msgspec.json.encode(self.info), indent=1)
        write_atomically(self.folder / RUN_FILE, text)

    def append(self, record: Record) -> None:
        """Append `record` to its raw file, whole or not at all.

        Raises
        ------
        RunoffError
            When the disk is full; what was written before stays readable.
        """
        path = self.folder / RAW / f"{record.case}.{record.probe}.jsonl"
        line = msgspec.json.encode(record) + b"\n"
        with path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                whole = file.write(line) == len(line)
                problem = "" if whole else os.strerror(errno.ENOSPC)
            except OSError as error:
                problem = str(error.strerror)
            if problem:
                file.truncate(before)
                raise RunoffError(
                    f"{path} cannot be written: {problem}",
                    f"make room, then: runoff bench --resume {self.folder}",
                    ExitCode.CASE_FAILED,
                )


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` under a temporary name beside `path`, then rename it.

    Raises
    ------
    RunoffError
        When the disk is full or the folder cannot be written to; what was at `path` stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunoffError(
            f"{path} cannot be written: {error.strerror}", "make room there, and try again", ExitCode.CASE_FAILED
        ) from error


def read_run(folder: Path) -> Run:
    """Read a run's folder. A last line that was cut off by an interruption is left out.

    Raises
    ------
    RunoffError
        When the folder is not a run, or a file in it cannot be read as one.
    """
    path = folder / RUN_FILE
    try:
        info = msgspec.json.decode(path.read_bytes(), type=RunInfo)
    except (FileNotFoundError, NotADirectoryError):
        raise RunoffError(f"{folder} is not a run: it has no {RUN_FILE}", "past runs: runoff list runs") from None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RunoffError(f"{path} cannot be read: {error}") from error
    records = [record for file in sorted((folder / RAW).glob("*.jsonl")) for record in _read_records(file)]
    return Run(folder, info, tuple(sorted(records, key=lambda record: record.order)))


def repair(folder: Path) -> None:
    """Cut off the half line that an interruption may have left at the end of a raw file."""
    for path in (folder / RAW).glob("*.jsonl"):
        data = path.read_bytes()
        if data and not data.endswith(b"\n"):
            path.write_bytes(data[: data.rfind(b"\n") + 1])


def _read_records(path: Path) -> list[Record]:
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    try:
        return msgspec.json.Decoder(Record).decode_lines(whole)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RunoffError(
            f"{path} is not a raw result: {error}", "remove the file; --resume measures it again"
        ) from error
