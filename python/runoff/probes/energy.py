"""``energy``: joules of a process from start to exit and of an inference, above idle power.

For a window of work with E joules between two readings T seconds apart, and W watts of the idle machine (the mean of
before and after)::

    net = E - W T        divided by the processes or inferences in it

The resolution of `net` is one step of the counter (its resolution, and what it counts between two movements), the
same for both idle windows, and half of what the idle power changed between them. A `net` within that is no value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

from msgspec import Meta, Struct

from runoff.probes.base import Probe, Sample, Shortfall
from runoff.records.protocol import Once

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runoff.records.schema import EnergyWindow, MeterInfo, Record

PARTS = ("process", "inference")
BEFORE, AFTER = "idle-before", "idle-after"
CHIPS = ("package", "soc", "psys")
"""Domains that cover the entire processor; a report shows the first that was read."""
NO_TURNS = "energy per inference needs a runner that takes turns (protocol/README.md, measure turns)"


class EnergyOptions(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[measure.energy]``: length of the windows; they are longer if the counter moves too seldom for that."""

    window_s: Annotated[float, Meta(gt=0)] = 2.0
    """Of processes from start to exit, and of inferences in a live one."""
    idle_s: Annotated[float, Meta(gt=0)] = 2.0
    """Of the idle machine, before and after."""


class Net(Struct, frozen=True, kw_only=True):
    """Energy of one window of work in one domain."""

    part: str
    """``process`` or ``inference``."""
    domain: str
    source: str
    count: int
    busy_s: float
    """Duration of the work."""
    net_j: float
    """Of the entire window."""
    resolution_j: float
    """Its resolution."""
    idle_w: float

    @property
    def usable(self) -> bool:
        """Whether `net_j` is above its resolution."""
        return self.net_j > self.resolution_j

    @property
    def gross_j(self) -> float:
        """Of the entire window while the work ran, idle power included."""
        return self.net_j + self.idle_w * self.busy_s


def shown_domains(meters: Sequence[MeterInfo]) -> list[str]:
    """Return the domains that a report shows next to the times: the processor's widest, and discrete GPUs."""
    chip = next((name for name in CHIPS for meter in meters if name in meter.domains), None)
    devices = [name for meter in meters if meter.name == "nvml" for name in meter.domains]
    return ([chip] if chip else []) + devices


def nets(record: Record, meters: Sequence[MeterInfo]) -> Iterator[Net]:
    """Yield the energy of each window of work of `record`, by domain; nothing for a counter without a value."""
    windows = {window.part: window for window in record.energy}
    for meter in meters:
        for domain in meter.domains:
            idle = _idle(windows, meter, domain)
            for part in PARTS:
                window = windows.get(part)
                if idle and window and f"{meter.name}.{domain}" in window.joules:
                    yield _net(window, meter, domain, idle)


class _Idle(NamedTuple):
    before_w: float
    after_w: float
    resolution_w: float


def _idle(windows: Mapping[str, EnergyWindow], meter: MeterInfo, domain: str) -> _Idle | None:
    """Return the idle power before and after; None if either was not counted."""
    key, rests = f"{meter.name}.{domain}", [windows[part] for part in (BEFORE, AFTER) if part in windows]
    if len(rests) != 2 or any(key not in rest.joules for rest in rests):  # noqa: PLR2004 (before and after)
        return None
    before, after = (rest.joules[key] / rest.seconds[meter.name] for rest in rests)
    steps = [_step_j(rest, meter, domain) / rest.seconds[meter.name] for rest in rests]
    return _Idle(before, after, sum(steps) / 2 + abs(after - before) / 2)


def _step_j(window: EnergyWindow, meter: MeterInfo, domain: str) -> float:
    """Return the joules of one step of the counter: its resolution, and what it counts between two movements."""
    watts = window.joules[f"{meter.name}.{domain}"] / window.seconds[meter.name]
    return meter.resolution_j + watts * meter.step_s


def _net(window: EnergyWindow, meter: MeterInfo, domain: str, idle: _Idle) -> Net:
    idle_w, seconds = (idle.before_w + idle.after_w) / 2, window.seconds[meter.name]
    return Net(
        part=window.part,
        domain=domain,
        source=meter.name,
        count=window.count,
        busy_s=(window.end_ns - window.start_ns) / 1e9,
        net_j=window.joules[f"{meter.name}.{domain}"] - idle_w * seconds,
        resolution_j=_step_j(window, meter, domain) + idle.resolution_w * seconds,
        idle_w=idle_w,
    )


def read(record: Record, meters: Sequence[MeterInfo]) -> Iterator[Sample]:
    """Yield the numbers of a record."""
    yield from _works(record, meters)
    yield from _idles(record, meters)
    for window in record.energy:
        if window.others is not None:
            yield Sample(f"others.{window.part}", "cores", window.others)


def _works(record: Record, meters: Sequence[MeterInfo]) -> Iterator[Sample]:
    for net in nets(record, meters):
        name = f"{net.part}.{net.domain}"
        yield Sample(name, "J", net.net_j / net.count)
        yield Sample(f"{name}.gross", "J", net.gross_j / net.count)
        yield Sample(f"power.{name}", "W", net.net_j / net.busy_s)
        yield Sample(f"power.{name}.gross", "W", net.gross_j / net.busy_s)


def _idles(record: Record, meters: Sequence[MeterInfo]) -> Iterator[Sample]:
    windows = {window.part: window for window in record.energy}
    for meter in meters:
        for domain in meter.domains:
            idle = _idle(windows, meter, domain)
            if idle:
                yield Sample(f"power.idle.{domain}", "W", (idle.before_w + idle.after_w) / 2)
                yield Sample(f"power.{BEFORE}.{domain}", "W", idle.before_w)
                yield Sample(f"power.{AFTER}.{domain}", "W", idle.after_w)


def shortfalls(records: Sequence[Record], meters: Sequence[MeterInfo]) -> Iterator[Shortfall]:
    """Yield the metrics without a value.

    One window without a usable value omits the values of all blocks: those that remain would be the larger ones.
    """
    reasons: dict[str, str] = {}
    for record in records:
        reasons |= _uncounted(record, meters)
        for net in nets(record, meters):
            if not net.usable:
                name = f"{net.part}.{net.domain}"
                reasons |= dict.fromkeys((name, f"power.{name}"), _below(net))
        still = [sample.metric for sample in _idles(record, meters) if not sample.value > 0]
        reasons |= dict.fromkeys(still, "below the resolution: the counter did not move while the machine was idle")
    for metric, reason in reasons.items():
        yield Shortfall(metric, "W" if metric.startswith("power.") else "J", reason)


def resolutions(records: Sequence[Record], meters: Sequence[MeterInfo]) -> dict[str, float]:
    """Return, by part and domain such as ``process.package``, the resolution of a case's net value in joules.

    It is the largest over the blocks, for one process or one inference.
    """
    largest: dict[str, float] = {}
    for record in records:
        for net in nets(record, meters):
            name = f"{net.part}.{net.domain}"
            largest[name] = max(largest.get(name, 0.0), net.resolution_j / net.count)
    return largest


def notes(records: Sequence[Record], meters: Sequence[MeterInfo]) -> dict[str, str]:
    """Return the source, scope and resolution of each metric."""
    scopes = {domain: f"{meter.name}, {scope}" for meter in meters for domain, scope in meter.domains.items()}
    texts = {f"power.{rest}.{domain}": scope for domain, scope in scopes.items() for rest in ("idle", BEFORE, AFTER)}
    for name, resolution_j in resolutions(records, meters).items():
        domain = name.partition(".")[2]
        texts |= dict.fromkeys(_names(name), f"{scopes[domain]}; resolution {joules(resolution_j)}")
    return texts


def joules(value: float) -> str:
    """Return joules with two digits, such as ``0.012 J``."""
    return f"{value:.2g} J"


def _below(net: Net) -> str:
    net_j, resolution_j = joules(abs(net.net_j) / net.count), joules(net.resolution_j / net.count)
    sign = "above" if net.net_j >= 0 else "below"
    return f"below the resolution: {net_j} {sign} idle, the resolution is {resolution_j} ({net.source})"


def _names(name: str) -> tuple[str, ...]:
    return (name, f"{name}.gross", f"power.{name}", f"power.{name}.gross")


def _uncounted(record: Record, meters: Sequence[MeterInfo]) -> dict[str, str]:
    """Return, by metric, the reason why a record has no value."""
    reasons: dict[str, str] = {}
    windows = {window.part: window for window in record.energy}
    # only runners that compute have compared outputs; for the others, no inference is measured
    parts = [part for part in PARTS if record.parity or part in windows]
    for meter in meters:
        for domain in meter.domains:
            for part in parts:
                key = f"{meter.name}.{domain}"
                why = windows[part].silent.get(key, "") if part in windows else NO_TURNS
                if not why and not _idle(windows, meter, domain):
                    why = "idle power was not counted both before and after"
                if why:
                    reasons |= dict.fromkeys(_names(f"{part}.{domain}"), f"{meter.name}: {why}")
    return reasons


ENERGY = Probe(
    name="energy",
    summary="energy and power of a process and of an inference, idle power subtracted (RAPL, NVML, Apple's counters)",
    measure=Once(),
    engine="energy-windows",
    blocks=3,
    optional=True,
    headline=("inference", "J"),
    main_metrics=tuple(f"{part}.{domain}" for domain in ("package", "soc") for part in PARTS),
    read=read,
    shortfalls=shortfalls,
    notes=notes,
)
