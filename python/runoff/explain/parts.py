"""The parts of a difference: segments of the graph, what the cuts cost, and what is left; or phases of a process.

Of each block, the difference of two live processes that took turns is one value, and `runoff.statistics.shift`
estimates the typical one. Every segment pays for a call of its own, and for the tensors that enter and leave it: a
model that passes on the tensors of a cut and computes nothing is measured too, and half of its time is subtracted from
the segments on either side. What is then left between the sum and the whole is shown: fusions across a cut, caches,
layouts that had to be changed.
"""

from __future__ import annotations

from collections import Counter
from functools import reduce
from itertools import groupby
from operator import add
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from runoff.analysis.measurements import measured
from runoff.analysis.metric_samples import Metric
from runoff.analysis.samples import tidy
from runoff.plan.baselines import control_name
from runoff.probes.life import LIFE
from runoff.records.errors import ExitCode, RunoffError
from runoff.statistics import Shift, adjust, shift

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runoff.analysis.measurements import Measurements, Member
    from runoff.models.cuts import Cuts
    from runoff.records.schema import Run

WARM = Metric("latency", "inference.warm")
WHOLE = Metric(LIFE.name, "whole")
LEVEL = 0.01
"""Largest corrected p-value of a part that is claimed to differ."""

Kind = Literal["original", "whole", "segment", "cuts", "rest", "phase"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Part(Struct, frozen=True, kw_only=True):
    """A part of the difference second - first: of a warm inference or a process in nanoseconds, of memory in bytes."""

    kind: Kind
    phase: str = ""
    segments: tuple[int, ...] = ()
    """Numbers of the segments that are in it, from 1."""
    operators: dict[str, int] = {}
    first: float | None = None
    """Typical value of the first side; None for what is not measured itself."""
    second: float | None = None
    difference: Shift
    floor: float = 0.0
    """What the first side seemed to differ from itself."""
    differs: bool = False
    """Whether it is claimed to differ."""


class _Times:
    """The times of each model of a run, by block; those of a phase that a side lacks are 0."""

    def __init__(self, data: Measurements, first: str, second: str) -> None:
        self._data = data
        self._members = {(member.model, member.target): member for member in data.members}
        self._first, self._second = first, second

    def part(self, model: str, kind: Kind, metric: Metric = WARM, **more: Any) -> Part:
        """Return the part that a model, or one of its phases, is.

        Raises
        ------
        RunoffError
            If a side was not measured.
        """
        names = self._first, control_name(self._first), self._second
        blocks = [self._blocks(self._members[model, name], metric) for name in names]
        return compared(kind, blocks, difference, **more)

    def phases(self, model: str) -> list[str]:
        """Return the phases of both sides, in order of time."""
        cases = {self._members[model, name].case for name in (self._second, self._first)}
        found = dict.fromkeys(key.metric for key in self._data.cells if key.case in cases and key.probe == LIFE.name)
        return [name for name in found if name not in (WHOLE.cell, "exit")] + ["exit"]

    def _blocks(self, member: Member, metric: Metric) -> dict[int, float]:
        """Return the median time of each block."""
        cell = self._data.cell(member, metric)
        if cell is None:
            whole = self._data.cell(member, WHOLE) if metric.probe == LIFE.name else None
            if whole is None or metric == WHOLE:
                why = member.failed or "it did not run"
                raise RunoffError(f"{member.model} on {member.target} has no times: {why}", "", ExitCode.CASE_FAILED)
            return dict.fromkeys(whole.blocks, 0.0)
        return cell.by_block()


def compared(kind: Kind, sides: Sequence[dict[int, float]], subtract: Callable[..., Shift], **more: Any) -> Part:
    """Return a part by its values in each block: of the first side, of that once more, and of the second side."""
    one, again, other = sides
    own = subtract(one, again)
    return Part(
        kind=kind,
        first=float(np.median(list(one.values()))),
        second=float(np.median(list(other.values()))),
        difference=subtract(one, other),
        floor=max(abs(own.value), (own.bounds[1] - own.bounds[0]) / 2),
        **more,
    )


def difference(one: dict[int, float], other: dict[int, float]) -> Shift:
    """Return the difference other - one.

    Of each block only the ratio counts, times the typical time of `one`: the machine's speed drifts between blocks.
    """
    typical = float(np.median(list(one.values())))
    blocks = sorted(one.keys() & other.keys())
    scale = {block: typical / one[block] if one[block] else 1.0 for block in blocks}
    return shift([np.array([scale[block] * (other[block] - one[block])]) for block in blocks])


def phases_of(run: Run, first: str, second: str) -> tuple[Part, ...]:
    """Return the parts of the difference of two processes, start to exit: the whole, and its phases.

    Raises
    ------
    RunoffError
        If a side was not measured.
    """
    times = _Times(measured(run, tidy(run)), first, second)
    model = run.info.cases[0].model
    whole = times.part(model, "whole", WHOLE)
    phases = [times.part(model, "phase", Metric(LIFE.name, name), phase=name) for name in times.phases(model)]
    return tuple(judged([whole, *phases]))


def parts_of(run: Run, cuts: Cuts, first: str, second: str) -> tuple[Part, ...]:
    """Return the parts of the difference of the targets `second` and `first`: whole, segments, cuts, what is left.

    Neighbouring segments that cannot be told apart from no difference are one part.

    Raises
    ------
    RunoffError
        If a model was not measured on a side.
    """
    times = _Times(measured(run, tidy(run)), first, second)
    whole, original = times.part("whole", "whole"), times.part("original", "original")
    segments = [
        times.part(f"segment-{place}", "segment", segments=(place,), operators=dict(segment.operators))
        for place, segment in enumerate(cuts.segments, 1)
    ]
    passes = [times.part(f"cut-{place}", "cuts") for place in range(1, len(cuts.cuts) + 1)]
    cost = _together(passes)
    rest = reduce(add, (one.difference * -1 for one in segments), whole.difference + cost.difference)
    net = [_without(part, passes[max(0, place - 1) : place + 1]) for place, part in enumerate(segments)]
    claimed = judged([original, whole, *net])
    floor = whole.floor + sum(part.floor for part in net)
    last = judged([Part(kind="rest", difference=rest, floor=floor)])
    return (*claimed[:2], *_merged(claimed[2:]), cost, *last)


def _without(part: Part, passes: Sequence[Part]) -> Part:
    """Return a segment without half of what each cut next to it costs."""
    return replace(
        part,
        first=(part.first or 0.0) - sum(one.first or 0.0 for one in passes) / 2,
        second=(part.second or 0.0) - sum(one.second or 0.0 for one in passes) / 2,
        difference=reduce(add, (one.difference * -0.5 for one in passes), part.difference),
    )


def judged(parts: Sequence[Part]) -> list[Part]:
    """Return `parts` with the claims that their numbers allow, corrected for their number."""
    ps = adjust([part.difference.p for part in parts])
    return [
        replace(part, differs=bool(p <= LEVEL and abs(part.difference.value) > part.floor))
        for part, p in zip(parts, ps, strict=True)
    ]


def _merged(segments: Sequence[Part]) -> list[Part]:
    """Return `segments`, with neighbours that do not differ as one part."""
    made: list[Part] = []
    for differs, group in groupby(segments, key=lambda part: part.differs):
        members = list(group)
        made += members if differs else [_together(members)]
    return made


def _together(parts: Sequence[Part]) -> Part:
    """Return parts of one kind as one part, which does not differ."""
    return Part(
        kind=parts[0].kind,
        segments=tuple(place for part in parts for place in part.segments),
        operators=dict(sum((Counter(part.operators) for part in parts), Counter()).most_common()),
        first=sum(part.first or 0.0 for part in parts),
        second=sum(part.second or 0.0 for part in parts),
        difference=reduce(add, (part.difference for part in parts)),
        floor=sum(part.floor for part in parts),
    )
