"""``load``: requests that arrive on their own, at rates up to the highest whose latency stays within a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from runoff.probes.base import Probe, Sample, Shortfall
from runoff.records.protocol import Load, Positive

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runoff.records.schema import MeterInfo, Record

PER_REQUEST = "per_request"
"""Time per request, the inverse of a rate: like other times, less is better."""
STEP = 1.05
"""Ratio of neighbouring rates."""
_PHASES = {"SingleStream": "single-stream", "MultiStream": "multi-stream"}


class LoadOptions(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[measure.load]``: the latency bound, and the length of each test."""

    bound_ms: Annotated[float, Meta(gt=0)] = 50.0
    percentile: Annotated[float, Meta(ge=0.5, lt=1)] = 0.99
    """Share of the requests of which the latency is within the bound."""
    requests: Positive = 700
    """Least number at each rate; too few for `percentile` are raised, for the 99th to 662."""
    min_time_s: Annotated[float, Meta(ge=0)] = 2.0
    streams: Annotated[int, Meta(ge=0)] = 0
    """Requests per query of MultiStream; 0: that scenario is skipped."""
    warmup: Annotated[int, Meta(ge=0)] = 3
    """Inferences after the second, before the first request."""


def _configure(options: LoadOptions) -> Load:
    return Load(transport="pipe", warmup=options.warmup)


def _read(record: Record, _meters: Sequence[MeterInfo]) -> Iterator[Sample]:
    loaded = record.load
    if loaded is None:
        return
    yield Sample("first_response", "ns", loaded.first_response_ns)
    if record.result and record.result.memory and record.result.memory.peak_bytes is not None:
        yield Sample("peak_memory", "bytes", record.result.memory.peak_bytes)
    if offline := loaded.of("Offline"):
        yield Sample(PER_REQUEST, "ns", 1e9 / offline.throughput, "offline")
    for scenario, phase in _PHASES.items():
        if test := loaded.of(scenario):
            yield from (Sample("latency", "ns", us * 1e3, phase, 0, place) for place, us in enumerate(test.latency_us))
    knee = loaded.knee
    if knee is None or not knee.rate:
        return
    yield Sample(PER_REQUEST, "ns", 1e9 / knee.rate)
    yield Sample("cpu", "ns", knee.cpu_ns / knee.requests)
    for metric, values in (("latency", knee.latency_us), ("queue", knee.queue_us), ("compute", knee.compute_us)):
        yield from (Sample(metric, "ns", us * 1e3, "knee", 0, place) for place, us in enumerate(values))


def _shortfalls(records: Sequence[Record], _meters: Sequence[MeterInfo]) -> Iterator[Shortfall]:
    loads = [record.load for record in records if record.load]
    if loads and not any(loaded.knee for loaded in loads):
        lowest = min((loaded.limit for loaded in loads if loaded.limit), key=lambda test: test.rate or 0)
        why = "the latency exceeded the bound" if lowest.in_time else "the loader was too slow"
        yield Shortfall(PER_REQUEST, "ns", f"{why} at {lowest.rate:.3g} requests per second too")


def _notes(records: Sequence[Record], _meters: Sequence[MeterInfo]) -> Mapping[str, str]:
    loads = [record.load for record in records if record.load]
    words = ["the loader shared the runner's cores"] if any(not loaded.loader_cores for loaded in loads) else []
    if failed := sum(loaded.knee is None for loaded in loads):
        words.append(f"{failed} of {len(loads)} processes held the bound at no rate")
    if slow := sum(loaded.limit is not None and not loaded.limit.in_time for loaded in loads):
        words.append(f"the loader was too slow in {slow} of {len(loads)} processes: their rate may be higher")
    return {PER_REQUEST: "; ".join(words)} if words else {}


LOAD = Probe(
    name="load",
    summary="requests at a rate: the highest within a latency bound, and latencies, over a pipe or HTTP",
    measure=_configure(LoadOptions()),
    configure=_configure,
    engine="load",
    environment="loadgen",
    blocks=3,
    needs_model=True,
    headline=(PER_REQUEST, "ns"),
    main_metrics=(PER_REQUEST, "latency.knee"),
    aliases={"latency": "latency.knee"},
    # rounding: a step is within it
    resolution={PER_REQUEST: STEP - 1 + 1e-9},
    read=_read,
    shortfalls=_shortfalls,
    notes=_notes,
)
