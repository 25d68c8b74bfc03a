"""From windows to joules: what a process or an inference drew, with what the idle machine draws taken off.

For a window of work with E joules between two readings T seconds apart, and W watts of the idle machine (the mean of
before and after)::

    net = E - W T        divided by the processes or inferences in it

What cannot be told of `net` is one step of the counter (its resolution, and what it counts between two movements), the
same for both idle windows, and half of what the idle power changed between them. A `net` within that is no figure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from runoff.records.schema import EnergyWindow, MeterInfo, Record, RunInfo

PARTS = ("process", "inference")
BEFORE, AFTER = "idle-before", "idle-after"
CHIPS = ("package", "soc", "psys")
"""Domains that hold all of a processor; a report shows the first of them that there is."""
NO_TURNS = "its runner takes no turns (protocol/README.md), which energy of an inference needs"


class Net(Struct, frozen=True, kw_only=True):
    """What one window of work drew in one domain."""

    part: str
    """``process`` or ``inference``."""
    domain: str
    source: str
    count: int
    busy_s: float
    """How long the work took."""
    net_j: float
    """Of the whole window."""
    unknown_j: float
    """What cannot be told of it."""
    idle_w: float

    @property
    def told(self) -> bool:
        """Whether `net_j` is more than what cannot be told."""
        return self.net_j > self.unknown_j

    @property
    def gross_j(self) -> float:
        """Of the whole window, while the work went on, with what the idle machine draws."""
        return self.net_j + self.idle_w * self.busy_s


class Value(NamedTuple):
    """A number of a record."""

    metric: str
    unit: str
    value: float


def shown_domains(info: RunInfo) -> list[str]:
    """Return the domains that a report puts beside the times: the processor's widest, and GPUs of their own."""
    chip = next((name for name in CHIPS for meter in info.meters if name in meter.domains), None)
    devices = [name for meter in info.meters if meter.name == "nvml" for name in meter.domains]
    return ([chip] if chip else []) + devices


def nets(record: Record, meters: Sequence[MeterInfo]) -> Iterator[Net]:
    """Yield what each window of work of `record` drew, by domain; not where a counter said nothing."""
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
    unknown_w: float


def _idle(windows: Mapping[str, EnergyWindow], meter: MeterInfo, domain: str) -> _Idle | None:
    """Return what the idle machine drew before and after; None where one of both was not counted."""
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
        unknown_j=_step_j(window, meter, domain) + idle.unknown_w * seconds,
        idle_w=idle_w,
    )


def values(record: Record, info: RunInfo, withheld: Iterable[str] = ()) -> Iterator[Value]:
    """Yield the numbers of a record of the probe ``energy``, but for the metrics `withheld`."""
    hidden = set(withheld)
    for value in (*_works(record, info), *_idles(record, info), *_others(record)):
        if value.metric not in hidden:
            yield value


def _works(record: Record, info: RunInfo) -> Iterator[Value]:
    for net in nets(record, info.meters):
        name = f"{net.part}.{net.domain}"
        yield Value(name, "J", net.net_j / net.count)
        yield Value(f"{name}.gross", "J", net.gross_j / net.count)
        yield Value(f"power.{name}", "W", net.net_j / net.busy_s)
        yield Value(f"power.{name}.gross", "W", net.gross_j / net.busy_s)


def _idles(record: Record, info: RunInfo) -> Iterator[Value]:
    windows = {window.part: window for window in record.energy}
    for meter in info.meters:
        for domain in meter.domains:
            idle = _idle(windows, meter, domain)
            if idle:
                yield Value(f"power.idle.{domain}", "W", (idle.before_w + idle.after_w) / 2)
                yield Value(f"power.{BEFORE}.{domain}", "W", idle.before_w)
                yield Value(f"power.{AFTER}.{domain}", "W", idle.after_w)


def _others(record: Record) -> Iterator[Value]:
    for window in record.energy:
        if window.others is not None:
            yield Value(f"others.{window.part}", "cores", window.others)


def shortfalls(records: Sequence[Record], info: RunInfo, *, live: bool = True) -> dict[str, str]:
    """Return, by metric, why a case has no figure of it.

    One window that tells nothing withholds the figures of all blocks: what is left would be the larger ones.

    Parameters
    ----------
    records
        Those of the probe ``energy`` of one case that went well.
    info
        Their run.
    live
        Whether the case computes: then an inference is asked of it.
    """
    lacking: dict[str, str] = {}
    for record in records:
        lacking |= _unspoken(record, info, live=live)
        for net in nets(record, info.meters):
            if not net.told:
                name = f"{net.part}.{net.domain}"
                lacking |= dict.fromkeys((name, f"power.{name}"), _below(net))
        still = [value.metric for value in _idles(record, info) if not value.value > 0]
        lacking |= dict.fromkeys(still, "below the resolution: the counter did not move while the machine was idle")
    return lacking


def unit_of(metric: str) -> str:
    """Return the unit of a metric of the probe ``energy``."""
    return "W" if metric.startswith("power.") else "J"


def resolutions(records: Sequence[Record], info: RunInfo) -> dict[str, float]:
    """Return, by part and domain such as ``process.package``, the joules that cannot be told of a case's net figure.

    It is the largest over the blocks, for one process or one inference.
    """
    unknown: dict[str, float] = {}
    for record in records:
        for net in nets(record, info.meters):
            name = f"{net.part}.{net.domain}"
            unknown[name] = max(unknown.get(name, 0.0), net.unknown_j / net.count)
    return unknown


def notes(records: Sequence[Record], info: RunInfo) -> dict[str, str]:
    """Return, by metric, where a case's figure comes from, what it covers and what cannot be told of it."""
    scopes = {domain: f"{meter.name}, {scope}" for meter in info.meters for domain, scope in meter.domains.items()}
    told = {f"power.{rest}.{domain}": where for domain, where in scopes.items() for rest in ("idle", BEFORE, AFTER)}
    for name, unknown in resolutions(records, info).items():
        domain = name.partition(".")[2]
        told |= dict.fromkeys(_names(name), f"{scopes[domain]}; resolution {joules(unknown)}")
    return told


def joules(value: float) -> str:
    """Return joules with two digits, such as ``0.012 J``."""
    return f"{value:.2g} J"


def _below(net: Net) -> str:
    over, unknown = joules(abs(net.net_j) / net.count), joules(net.unknown_j / net.count)
    sign = "above" if net.net_j >= 0 else "below"
    return f"below the resolution: {over} {sign} idle, of which {unknown} cannot be told ({net.source})"


def _names(name: str) -> tuple[str, ...]:
    return (name, f"{name}.gross", f"power.{name}", f"power.{name}.gross")


def _unspoken(record: Record, info: RunInfo, *, live: bool) -> dict[str, str]:
    """Return, by metric, why there is nothing of it in a record."""
    lacking: dict[str, str] = {}
    windows = {window.part: window for window in record.energy}
    parts = [part for part in PARTS if live or part in windows]
    for meter in info.meters:
        for domain in meter.domains:
            for part in parts:
                key = f"{meter.name}.{domain}"
                why = windows[part].silent.get(key, "") if part in windows else NO_TURNS
                if not why and not _idle(windows, meter, domain):
                    why = "what the idle machine draws was not counted before and after"
                if why:
                    lacking |= dict.fromkeys(_names(f"{part}.{domain}"), f"{meter.name}: {why}")
    return lacking
