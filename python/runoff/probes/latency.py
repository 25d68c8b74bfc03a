"""``latency``: isolated inference inside a live process: first, second, then warm ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from runoff.probes.base import WARM_UP, Probe, Sample, durations
from runoff.records.protocol import Latency, Positive, Turns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runoff.records.schema import MeterInfo, Record

SETUP = ("start", "imports", "browser", "page", "runtime", "environment", "convert", "compile", "load")
"""Phases that a process goes through once."""
DEVICE_PARTS = ("copy_in", "compute", "copy_out")
"""Parts of an inference on a device with its own memory."""
SEGMENT_PARTS = ("encode", "decode", "postprocess")
"""Parts of a segmentation."""


class LatencyOptions(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[measure.latency]``: a process continues until both minima are met."""

    mode: Literal["side-by-side", "alone"] = "side-by-side"
    """Whether the processes of a comparison are interleaved, or run one after the other."""
    min_samples: Positive = 60
    min_time_s: Annotated[float, Meta(ge=0)] = 0.5
    warmup: Annotated[int, Meta(ge=0)] = 3
    """Inferences before the first that is stored."""
    warmup_time_s: Annotated[float, Meta(ge=0)] = 5.0
    """Longest wait for the steady state."""
    huge_pages: bool = False
    """Whether processes get huge pages, so that those of one program have the same memory layout (Linux)."""


def _configure(options: LatencyOptions) -> Latency:
    return Latency(min_samples=options.min_samples, min_ns=round(options.min_time_s * 1e9), warmup=options.warmup)


def _read(record: Record, _meters: Sequence[MeterInfo]) -> Iterator[Sample]:
    if record.result is None:
        return
    for phase, ns in durations(record.result.phases).items():
        if phase in SETUP:
            yield Sample("duration", "ns", ns, phase)
    warmup = record.turned.warmup if record.turned else 0
    for part, timings in record.result.samples.items():
        yield Sample(part, "ns", timings.first_ns, "first")
        if timings.second_ns is not None:
            yield Sample(part, "ns", timings.second_ns, "second")
        for sample, ns in enumerate(timings.warm_ns[:warmup]):
            yield Sample(part, "ns", ns, WARM_UP, 0, sample)
        for sample, ns in enumerate(timings.warm_ns[warmup:]):
            yield Sample(part, "ns", ns, "warm", 0, sample)


LATENCY = Probe(
    name="latency",
    summary="inference in a live process: first, second and warm",
    measure=_configure(LatencyOptions()),
    configure=_configure,
    engine="interleaved",
    blocks=6,
    sampled=True,
    needs_model=True,
    headline=("inference.warm", "ns"),
    timed="warm inference",
    main_metrics=("inference.warm", "preprocess.warm"),
    aliases={"": "inference.warm"} | {part: f"{part}.warm" for part in ("preprocess", *DEVICE_PARTS, *SEGMENT_PARTS)},
    read=_read,
)


def turns(warmup: int) -> Probe:
    """Return the probe for a live process that takes turns; `warmup` inferences come before the first."""
    return replace(LATENCY, measure=Turns(warmup=warmup))
