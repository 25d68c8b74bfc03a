"""The parts of a difference of peak memory, what holds the memory of each side, and what settings would save.

A phase adds what the resident memory after it exceeds all earlier readings by. The peak above the largest reading was
freed again before the phase ended that needed it. All of that, and what a setting saves, comes from processes that read
only two numbers a phase; what holds the memory, from others that list all mappings.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from runoff.analysis.measurements import measured
from runoff.analysis.samples import tidy
from runoff.explain.parts import LEVEL, WARM, Kind, Part, compared, difference, judged
from runoff.plan.baselines import control_name
from runoff.probes.latency import SETUP
from runoff.probes.mappings import ALLOCATED, END, FILES, LANGUAGE, MAPPINGS, PROGRAM, RUNTIME, by_holder
from runoff.probes.memory import MEMORY
from runoff.records.errors import ExitCode, RunoffError
from runoff.sides import Side
from runoff.statistics import Shift, adjust, shift

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from runoff.analysis.measurements import Measurements
    from runoff.records.protocol import Result
    from runoff.records.schema import Case, Record, Run

WHOLE, FREED = "whole", "temporary memory"
CHANGES: tuple[dict[str, Any], ...] = (
    {"arena": False},
    {"prepacking": False},
    {"optimization": "basic"},
    {"prepared": True},
    {"profile": "cold"},
)
"""Settings that may lower the memory."""
COST_BLOCKS = {"latency": 5}
"""Sets of fresh processes by probe, if only what settings cost is of interest."""
_LOADING = ("convert", "compile", "load")
"""Phases in which the model is loaded."""


class Variant(Side, frozen=True, kw_only=True):
    """A side with a setting that may lower its memory."""

    of: str
    """The side, as the user wrote it."""
    changed: tuple[str, ...]
    """Names of the settings that differ."""


class Held(Struct, frozen=True, kw_only=True):
    """Resident memory after the first inference."""

    name: str
    size: int
    """In bytes; below 0 if more was freed than allocated, 0 also if it is not known."""
    of_it: bool = False
    """Whether it is part of the one before."""


class Details(Struct, frozen=True, kw_only=True):
    """What holds the memory of one process at its peak."""

    side: str
    held: tuple[Held, ...] = ()
    """Those that are not part of another add up to the peak."""
    peak_in: str = ""
    """The phase of the peak."""
    file_size: int | None = None
    """Of the model's files, in bytes."""
    missing: tuple[str, ...] = ()
    """What is not known, with the reason."""

    @property
    def peak(self) -> int:
        """The peak in bytes."""
        return sum(one.size for one in self.held if not one.of_it)


class Saving(Struct, frozen=True, kw_only=True):
    """What a setting changes."""

    of: str
    """The side, as the user wrote it."""
    text: str
    """The side with the setting."""
    peak: Shift
    """Of the peak, in bytes; below 0: it saves memory."""
    differs: bool
    warm: Shift | None
    """Of a warm inference, in nanoseconds; below 0: it saves time."""


class Memory(Struct, frozen=True, kw_only=True):
    """What only explanations of memory have."""

    details: tuple[Details, ...]
    savings: tuple[Saving, ...]
    notes: tuple[str, ...] = ()
    """What could not be measured, with the reason."""


def variants(sides: Sequence[Side]) -> list[Variant]:
    """Return both `sides` with each setting that may lower their memory; the first only if both run the same target."""
    first, second = sides
    one_target = (first.runs_as, first.network) == (second.runs_as, second.network)
    made = []
    for side in sides[:1] if one_target else sides:
        known = [other.resolved for other in sides if other.runs_as == side.runs_as]
        for change in CHANGES:
            (key, value), settings = *change.items(), {**side.settings, **change}
            word = value if isinstance(value, str) else json.dumps(value)
            one = Side(text=f"{side.text},{key}={word}", target=side.target, settings=settings)
            fields = [name for name in one.resolved.__struct_fields__ if name != "profile"]
            changed = tuple(name for name in fields if getattr(one.resolved, name) != getattr(side.resolved, name))
            if changed and one.resolved not in known:
                fields_of_side = {name: getattr(side, name) for name in ("target", "release", "version")}
                made.append(Variant(**fields_of_side, text=one.text, settings=settings, of=side.text, changed=changed))
    return made


def memory_parts(run: Run, first: str, second: str) -> tuple[tuple[Part, ...], tuple[str, ...]]:
    """Return the parts of the difference of peak memory, in bytes, which add up to it; and why some are missing.

    Raises
    ------
    RunoffError
        If a side was not measured.
    """
    data = measured(run, tidy(run))
    sides = [_added(run, data, name) for name in (first, control_name(first), second)]
    whole = _part("whole", WHOLE, sides)
    without = [name for name, blocks in zip((first, second), sides[::2], strict=True) if not _phases(blocks)]
    if without:
        reasons = (f"no memory by phase: the runner of {name} does not report it" for name in without)
        return tuple(judged([whole])), tuple(reasons)
    names = list(dict.fromkeys((*_phases(sides[2]), *_phases(sides[0]))))
    names.sort(key=lambda name: SETUP.index(name) if name in SETUP else len(SETUP))
    names.append(FREED)
    parts = [_part("phase", name, sides) for name in names]
    # trimmed means do not add up exactly
    left = whole.difference.value - sum(part.difference.value for part in parts[:-1])
    parts[-1] = replace(parts[-1], difference=Shift(left, parts[-1].difference.error, parts[-1].difference.freedom))
    return tuple(judged([whole, *parts])), ()


def _added(run: Run, data: Measurements, name: str) -> dict[int, dict[str, float]]:
    """Return by block what each phase of a target adds to its memory, and the whole, in bytes."""
    member = next(one for one in data.members if one.target == name)
    found = {}
    for record in _records(run, member.case, MEMORY.name):
        memory = record.result.memory if record.result else None
        if memory and memory.peak_bytes is not None:
            added, highest = {WHOLE: float(memory.peak_bytes)}, 0
            for phase in record.result.phases if record.result else ():
                resident = max(highest, memory.after.get(phase.name, 0))
                added |= {phase.name: float(resident - highest)} if phase.name in memory.after else {}
                highest = resident
            found[record.block] = {**added, FREED: float(memory.peak_bytes - highest)}
    if member.failed or not found:
        why = member.failed or "its runner reports no peak"
        raise RunoffError(f"the memory of {name} was not measured: {why}", "", ExitCode.CASE_FAILED)
    return found


def _phases(blocks: dict[int, dict[str, float]]) -> list[str]:
    """Return the phases of the processes in `blocks`, in order of time."""
    return [name for name in next(iter(blocks.values())) if name not in (WHOLE, FREED)]


def _part(kind: Kind, name: str, sides: Sequence[dict[int, dict[str, float]]]) -> Part:
    """Return a part by what `_added` returns of the first side, of that once more, and of the second side."""
    blocks = [{block: added.get(name, 0.0) for block, added in side.items()} for side in sides]
    return compared(kind, blocks, _shift, phase="" if kind == "whole" else name)


def _shift(one: dict[int, float], other: dict[int, float]) -> Shift:
    """Return the difference other - one of the blocks that both have."""
    return shift([np.array([other[block] - one[block]]) for block in sorted(one.keys() & other.keys())])


def _records(run: Run, case: str, probe: str) -> Iterator[Record]:
    return (one for one in run.records if (one.case, one.probe, one.status) == (case, probe, "ok"))


def _case(run: Run, name: str) -> Case:
    return next(case for case in run.info.cases if case.target == name)


def untried(sides: Sequence[Side], tried: Iterable[Variant]) -> Iterator[str]:
    """Yield the reasons why sides of `sides`, which variants may follow, have no variant among those `tried`."""
    planned = {side.of for side in sides if isinstance(side, Variant)}
    for side in {side.text: side for side in sides[:2]}.values():
        if side.text not in planned:
            yield f"settings were measured on {sides[0].text} only: {side.text} runs the same target"
        elif side.text not in {one.of for one in tried}:
            yield f"settings of {side.text} were not measured: its runner knows none that lowers memory"


def savings_of(
    run: Run, names: dict[str, str], tried: Sequence[tuple[str, Variant]], floor: float
) -> tuple[tuple[Saving, ...], tuple[str, ...]]:
    """Return what each variant saves, most first, and why others are not known.

    `names` has the name in the run of each side by its text, `tried` the name of each variant. Differences of up to
    `floor` bytes are not claimed.
    """
    data = measured(run, tidy(run))
    members = {member.target: member for member in data.members}
    found, notes = [], []
    for name, variant in tried:
        try:
            sides = [_added(run, data, one) for one in (names[variant.of], name)]
        except RunoffError as error:
            notes.append(error.message)
            continue
        result = next(record.result for record in _records(run, _case(run, name).id, MEMORY.name))
        if result and result.effective and set(variant.changed) <= set(result.effective.ignored):
            notes.append(f"{variant.text} was not applied by its runner")
            continue
        peak = _shift(*({block: added[WHOLE] for block, added in side.items()} for side in sides))
        cells = [data.cell(members[one], WARM) for one in (names[variant.of], name)]
        one, other = (cell.by_block() if cell else {} for cell in cells)
        warm = difference(one, other) if len(one.keys() & other.keys()) > 1 else None
        found.append(Saving(of=variant.of, text=variant.text, peak=peak, differs=False, warm=warm))
    ps = adjust([one.peak.p for one in found])
    claimed = [
        replace(one, differs=bool(p <= LEVEL and abs(one.peak.value) > floor)) for one, p in zip(found, ps, strict=True)
    ]
    return tuple(sorted(claimed, key=lambda one: one.peak.value)), tuple(notes)


def details_of(run: Run, side: Side, name: str, peak: float) -> Details:
    """Return what holds the memory of the process of a side whose peak is the nearest to `peak`, in bytes."""
    case = _case(run, name)
    results = (record.result for record in _records(run, case.id, MAPPINGS.name))
    found = [one for one in results if one and one.memory and one.effective and END in one.memory.mappings]
    if not found:
        reasons = (
            one.reason for one in run.records if (one.case, one.probe) == (case.id, MAPPINGS.name) and one.reason
        )
        reason = next((one.message for one in reasons), "its runner lists no mappings on this system")
        return Details(side=side.text, missing=(f"what holds the memory of {side.text} is not known: {reason}",))
    result = min(found, key=lambda one: abs(_peak(one) - peak))
    held, peak_in = _held(result)
    own = run.info.footprints.get(case.id)
    return Details(
        side=side.text,
        held=tuple(held),
        peak_in=peak_in,
        file_size=own.parts.get("model") if own else None,
        missing=tuple(_without_arena(side, result)),
    )


def _without_arena(side: Side, result: Result) -> Iterator[str]:
    """Yield the reason why statistics of ONNX Runtime's arena are missing."""
    if result.effective and result.effective.runtime == "onnxruntime" and result.memory and not result.memory.arena:
        why = "it has none" if side.resolved.arena is False else "ONNX Runtime does not report them to this runner"
        yield f"no statistics of the arena of {side.text}: {why}"


def _peak(result: Result) -> int:
    return result.memory.peak_after.get(END, 0) if result.memory else 0


def _held(result: Result) -> tuple[list[Held], str]:
    """Return what holds the memory of a process with mappings, and the phase of its peak."""
    memory, effective = result.memory, result.effective
    if memory is None or effective is None:
        return [], ""
    phases = [phase.name for phase in result.phases if phase.name in memory.mappings]
    phases = phases[: phases.index(END) + 1]
    holders = {phase: by_holder(memory.mappings[phase], effective.runtime) for phase in phases}
    loading = [place for place, phase in enumerate(phases) if phase in _LOADING] or [len(phases) - 1]
    before, loaded = (holders[phases[place]][ALLOCATED] if place >= 0 else 0 for place in (loading[0] - 1, loading[-1]))
    end, arena = holders[END], memory.arena
    kept, last = arena.get("load"), arena.get(END)
    used = last.most_in_use_bytes - kept.in_use_bytes if kept and last else 0
    rows = [
        Held(name="code of the runtime", size=end[RUNTIME]),
        Held(name="Python and its packages", size=end[LANGUAGE]),
        Held(name="program and system libraries", size=end[PROGRAM]),
        Held(name="mapped files, such as a prepared model", size=end[FILES]),
        Held(name="allocated before the model is loaded", size=before),
        Held(name="allocated in load: weights, graph", size=loaded - before),
        Held(name="repacked weights (arena)", size=kept.in_use_bytes if kept else 0, of_it=True),
        Held(name="allocated after load: inputs, activations, outputs", size=end[ALLOCATED] - loaded),
        Held(name="activations and workspace (arena)", size=used, of_it=True),
    ]
    peak, resident = memory.peak_after.get(END, 0), sum(end.values())
    peak_in = next((phase for phase in phases if memory.peak_after.get(phase) == peak), "")
    # the kernel's counters of the peak lag behind by some pages
    rows.append(Held(name="freed again", size=max(0, peak - resident)))
    return rows, peak_in
