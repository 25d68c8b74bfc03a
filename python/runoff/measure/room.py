"""Whether the live processes of a comparison fit into memory together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
from msgspec.structs import replace

from runoff.measure.execute import make_block
from runoff.measure.machine import memory_limit
from runoff.probes.latency import LATENCY
from runoff.probes.load import LOAD

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from runoff.models.store import StoredModel
    from runoff.plan.suite import Suite
    from runoff.plan.target import TargetInfo
    from runoff.records.schema import Case

_BYTES_PER_GB = 1e9


def with_room(
    suite: Suite,
    cases: Sequence[Case],
    models: Mapping[str, StoredModel],
    targets: Mapping[str, TargetInfo],
    say: Callable[[str], None],
) -> Suite:
    """Return `suite`; if interleaved processes would not fit into memory, one that runs them one after the other.

    Each process is taken to need the size of its model's files; `say` prints the reason for a change.
    """
    groups = [job.cases for probe in (LATENCY, LOAD) for job in make_block(suite, cases, targets, probe, 0)]
    needed = [(sum(model_bytes(models[case.model]) for case in group), len(group), group[0].model) for group in groups]
    most, count, model = max(needed, default=(0, 0, ""))
    return with_room_for(suite, count, model, most, say)


def with_room_for(suite: Suite, count: int, model: str, needed: int, say: Callable[[str], None]) -> Suite:
    """Return `suite` as `with_room` does, for `count` processes of `model` that need `needed` bytes together."""
    available = min(psutil.virtual_memory().available, memory_limit())
    if count < 2 or needed <= available:  # noqa: PLR2004 (one process is not interleaved)
        return suite
    say(
        f"{count} live processes of {model} need about {needed / _BYTES_PER_GB:.1f} GB, and "
        f"{available / _BYTES_PER_GB:.1f} GB are available: warm inferences and load are measured process by process, "
        'as with [measure.latency] mode = "alone"; fewer --targets need less'
    )
    return alone(suite)


def model_bytes(model: StoredModel) -> int:
    """Return the size of the model in its largest format."""
    manifest = model.manifest
    return max((file.bytes for file in manifest.files.values()), default=0) + sum(file.bytes for file in manifest.data)


def alone(suite: Suite) -> Suite:
    """Return `suite`, with processes that are not interleaved."""
    latency = replace(suite.measure.latency, mode="alone")
    return replace(suite, measure=replace(suite.measure, latency=latency))
