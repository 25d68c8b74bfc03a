"""Schema of all that a run writes: its description and its raw records."""

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
    """The model format that the target reads; ``ort``, ``mlmodelc``, or an optimised ``onnx``, for a prepared file."""
    made_from: str = ""
    """Set for a prepared file: the stored format that it was made from."""
    variant: tuple[str, ...] = ()
    """The settings as text: profile, threads, batch, then the differences from the profile, then what follows here."""
    segment: tuple[tuple[str, Any], ...] = ()
    """For `segment`: names and values of fields of `runoff.records.protocol.Segment` that differ from the model's."""
    load: tuple[tuple[str, Any], ...] = ()
    """For the probe ``load``: names and values of fields of `runoff.records.protocol.Load`."""
    example: str = ""
    """For `segment`: the only example of the model; empty for all."""
    control_of: str | None = field(default=None, name="twin_of")
    """Set for an A/A control: the baseline that it measures again. Its spread is the noise floor."""
    tolerance: float | None = None
    """Largest difference from the reference that counts as the same output, if the target has one of its own."""
    skipped: Reason | None = None
    """Set if the case cannot run on this machine: its rows stay, with this reason."""

    @property
    def comparison(self) -> tuple[str, ...]:
        """The values that comparable cases share: all but the target."""
        return (self.model, self.workload, *self.variant)

    @property
    def interleaving(self) -> tuple[str, ...]:
        """The values that interleaved cases share: all but the target and the precision, which are compared too."""
        return tuple(word for word in self.comparison if word != f"precision-{self.settings.precision}")


class Footprint(Struct, frozen=True):
    """Bytes on disk of one case."""

    parts: dict[str, int] = {}
    """``environment`` (a Python environment, without the interpreter it links to), ``program``, ``library``,
    ``model``."""
    compressed: dict[str, int] = {}
    """The same parts, compressed with zstd file by file: about what a download or a layer of an image weighs.
    Empty if not requested."""
    files: int | None = None
    packages: int | None = None
    """Python packages in the environment; None without one."""
    reason: str = ""
    """Reason if there are no parts."""


class InterleavingStats(Struct, frozen=True, kw_only=True):
    """How a live process was interleaved with others (probe ``latency``)."""

    group_size: int = field(name="beside")
    """Number of interleaved processes, this one included."""
    inferences: int
    """In each turn."""
    warmup: int
    """Leading inferences of ``warm_ns`` that were warm-up: stored, in no estimate."""
    steady: bool
    """Whether the warm-up ended in steady state, not because its time was over."""
    checked: int
    """Number of inferences with outputs that were compared with the reference."""
    roundtrip_ns: tuple[int, ...] = ()
    """Each measured turn by runoff's own clock, from request to response."""
    empty_ns: tuple[int, ...] = ()
    """The same for turns without an inference, between the measured ones: only the cost of the exchange."""
    outputs_ns: tuple[int, ...] = ()
    """The same for the request of the outputs after a measured turn: they are written to files."""
    busy_threads: int | None = None
    """Threads of the process that computed during its turns, counted from outside; None if that is impossible."""
    huge_bytes: int | None = None
    """Memory in huge pages at the end; None if they were not requested."""
    waiting_share: float | None = None
    """CPU time per second that it used during other processes' turns (its threads spin); None if unknown."""


class Conditions(Struct, frozen=True, kw_only=True):
    """The machine while a process ran. None: not reported by this system."""

    load: float | None = None
    """One-minute load average at the end."""
    steal: float | None = None
    """Share of all CPU time that the hypervisor gave to other machines, 0 to 1."""
    others: float | None = None
    """Cores kept busy by processes other than those measured, on average."""
    mhz: float | None = None
    """Mean clock of the allowed cores, read before and after."""
    throttled: float | None = None
    """Share of the time in which the control group was throttled by its CPU quota."""
    switches: int | None = None
    """Involuntary context switches of the process."""


class EnergyWindow(Struct, frozen=True, kw_only=True):
    """Energy counted during one stretch of work, or of rest (probe ``energy``)."""

    part: str
    """``idle-before``, ``process``, ``inference`` or ``idle-after``."""
    start_ns: int
    end_ns: int
    """When the work began and ended, on the monotonic clock; the readings lie around it."""
    count: int = 0
    """Processes or inferences completed; 0 while the machine rested."""
    joules: dict[str, float] = {}
    """From the first reading to the second, by ``SOURCE.DOMAIN``."""
    seconds: dict[str, float] = {}
    """The time between the two readings, by source."""
    silent: dict[str, str] = {}
    """By ``SOURCE.DOMAIN``, the reason for a missing value: a counter that did not move is not zero."""
    others: float | None = None
    """Cores kept busy by other processes: their energy is included."""


class LoadTest(Struct, frozen=True, kw_only=True):
    """A test of MLPerf's LoadGen (probe ``load``). Times of requests are in µs, in the order of the responses."""

    scenario: str
    """``SingleStream``, ``MultiStream``, ``Offline`` or ``Server``."""
    rate: float | None = None
    """Mean of the arrivals per second that were requested (``Server`` only)."""
    wall_ns: int
    """From the first due time to the last response."""
    latency_us: tuple[int, ...]
    """From the due time to the response: of each request, or of each query of ``MultiStream``. Without failed ones."""
    queue_us: tuple[int, ...]
    """From the arrival at the runner until its batch began, by the runner's clock."""
    compute_us: tuple[int, ...]
    """From there until its outputs could be read."""
    batch: float
    """Mean number of requests in the batch of a request."""
    failed: int
    """Requests that the runner refused, or did not respond to."""
    late_us: int
    """99th percentile of how late the requests were sent: the loader's own delay."""
    loader_share: float
    """CPU time of the loader per second: 1 is one busy core."""
    cpu_ns: int
    """CPU time of the runner."""
    in_time: bool = True
    """Whether the loader sent its requests in time; if not, the test does not count as held."""
    held: bool | None = None
    """Whether the latency bound was held, with 99% confidence, by a loader in time (``Server`` only)."""

    @property
    def requests(self) -> int:
        """Requests with outputs."""
        return len(self.queue_us)

    @property
    def throughput(self) -> float:
        """Responses per second."""
        return self.requests / (self.wall_ns / 1e9)


class LoadRun(Struct, frozen=True, kw_only=True):
    """The load that a runner got (probe ``load``)."""

    cores: tuple[int, ...] = ()
    loader_cores: tuple[int, ...] = ()
    """The cores that the runner and the loader were bound to; empty if the runner needs all cores."""
    first_response_ns: int
    """From the spawn of the runner to its first response."""
    tests: tuple[LoadTest, ...]
    """In the order in which they ran."""
    responses: int = field(default=0, name="answers")
    """Responses whose outputs agree with the reference."""

    def of(self, scenario: str) -> LoadTest | None:
        """Return the test of a scenario that has one."""
        return next((test for test in self.tests if test.scenario == scenario), None)

    @property
    def knee(self) -> LoadTest | None:
        """The test with the highest rate that held the bound."""
        return max((test for test in self.tests if test.held), key=lambda test: test.rate or 0, default=None)

    @property
    def limit(self) -> LoadTest | None:
        """The test with the lowest rate above the knee, or without a knee of all: it did not hold the bound."""
        least = (self.knee and self.knee.rate) or 0
        failed = (test for test in self.tests if test.held is False and (test.rate or 0) > least)
        return min(failed, key=lambda test: test.rate or 0, default=None)


class DeviceMemory(Struct, frozen=True, kw_only=True):
    """Memory of NVIDIA's GPUs that a process used (probe ``memory``)."""

    peak_bytes: int | None = None
    """None with a `reason`."""
    how: str = ""
    """Method: the process's own memory, or the increase of all memory in use."""
    reason: str = ""
    """Reason if it is unknown."""


class MeterInfo(Struct, frozen=True, kw_only=True):
    """A source of energy readings."""

    name: str
    source: str
    """The counter, and what reads it."""
    domains: dict[str, str]
    """What is counted: name to scope."""
    resolution_j: float
    """One step of the counter."""
    step_s: float
    """How often it moves."""
    unavailable: dict[str, str] = field(default_factory=dict, name="lacks")
    """Domains that are unavailable, with the reason."""


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
    """Report of the measuring tool: hyperfine's measurements, or perf's events."""
    result: Result | None = None
    """The runner's own result."""
    parity: list[dict[str, Any]] = []
    """For each output that was compared with its reference: see `runoff.measure.parity`."""
    turned: InterleavingStats | None = None
    """Set for interleaved processes."""
    conditions: Conditions | None = None
    device_memory: DeviceMemory | None = None
    """Set by the probe ``memory`` if the provider is NVIDIA's."""
    load: LoadRun | None = None
    """Set by the probe ``load``."""
    energy: tuple[EnergyWindow, ...] = ()
    """Set by the probe ``energy``: its windows, in order of time."""


class Stop(Struct, frozen=True, kw_only=True):
    """The reason why the sampling of a probe ended."""

    cause: str
    """``blocks`` (all blocks of the suite), ``precision`` (narrow enough), ``time`` (the budget is used up) or
    ``no-case`` (none was left that could be measured)."""
    blocks: int
    widest: float | None = None
    """Half the width of the widest interval at the end, relative (0.02 is 2%); None without an interval."""
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
    """Name to: source, weights, sha256 by format; if requested, `prepared` (by the format that it was made from:
    sha256, key) or `not_prepared` (targets, with the reason)."""
    machine: dict[str, Any]
    tools: dict[str, str | None]
    """Name to version of hyperfine, perf, runoff; null when the tool is missing."""
    seed: int
    baselines: tuple[str, ...] = ("torch", "ort-python")
    """Targets that others are compared with."""
    precision: float | None = None
    """Requested: half the width of an interval, relative."""
    time_s: float | None = None
    """Requested: the time budget of sampling."""
    stops: dict[str, Stop] = {}
    """By probe."""
    libraries: dict[str, str] = {}
    """SHA-256 of each runtime library that a runner named, by path."""
    environments: dict[str, dict[str, str]] = {}
    """By target: variables that affect times (`runoff.measure.machine.VARIABLES`) in its runner's environment."""
    meters: tuple[MeterInfo, ...] = ()
    """Sources of energy readings of the probe ``energy``."""
    unavailable_meters: dict[str, str] = field(default_factory=dict, name="meters_lacking")
    """Unavailable sources, with the reason."""
    footprints: dict[str, Footprint] = {}
    """By case id: size on disk when the run began."""
    started: str
    finished: str | None = None
    elapsed_ns: int = 0
    """Wall time of all attempts so far."""
    measured_ns: int = 0
    """Of that, inside measured processes."""
    paused_ns: int = 0
    """Of that, deliberate pauses."""
    making_ns: int = 0
    """Wall time before that in which models were made or prepared."""

    @property
    def overhead_ns(self) -> int:
        """Wall time that was neither a measured process nor a pause: the overhead of the harness."""
        return self.elapsed_ns - self.measured_ns - self.paused_ns

    @property
    def overhead_share(self) -> float | None:
        """`overhead_ns` as a part of the time without pauses, 0 to 1; None if the run has no time yet."""
        active = self.elapsed_ns - self.paused_ns
        return self.overhead_ns / active if active > 0 else None


class Run(Struct, frozen=True, eq=False):
    """The input of analysis. Hashed by identity: its results can be cached."""

    folder: Path
    info: RunInfo
    records: tuple[Record, ...]

    def by_case(self) -> dict[str, list[Record]]:
        """Return the records by case id, in order of time; cases without any have none."""
        groups: dict[str, list[Record]] = {case.id: [] for case in self.info.cases}
        for record in self.records:
            groups.setdefault(record.case, []).append(record)
        return groups
