"""Stability of a case's times: whether they are steady enough for verdicts on them, with the evidence."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from runoff.analysis.certainty import FEWEST_UNITS, least_certain
from runoff.analysis.evidence import Evidence, ProcessTimes, StabilityVerdict, spread, trends, turns, warming
from runoff.analysis.machine_noise import machine_noise
from runoff.analysis.validity import excluded
from runoff.probes import PROBES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from runoff.analysis.certainty import Certainty
    from runoff.probes.base import Probe
    from runoff.records.schema import Record, Run

WORST_FIRST: tuple[StabilityVerdict, ...] = ("not warmed up", "throttled", "drifting", "noisy", "unknown")
"""Times of another state first; then of a slower machine; then times that no one level describes."""


class Stability(Struct, frozen=True):
    """How steady a case's times were."""

    verdict: StabilityVerdict
    """The worst that holds; ``unknown`` if there is too little to judge."""
    evidence: list[str]
    """All signs: first those behind the verdict, then the good and the unavailable ones."""
    holds: list[StabilityVerdict] = []
    """All verdicts that hold, the worst first."""


def stability(run: Run, summary: pd.DataFrame) -> dict[str, Stability]:
    """Return the stability of each case that could run, by its id.

    If the outputs of a case disagree, it has no times, so its stability is unknown. A case that was measured under load
    only has none. `summary` is from `runoff.analysis.summary.summarise`.
    """
    records: defaultdict[str, list[Record]] = defaultdict(list)
    timed = {probe.name for probe in _timed_probes()}
    for record in sorted(run.records, key=lambda record: record.order):
        if record.probe in timed and record.status == "ok":
            records[record.case].append(record)
    loaded = {record.case for record in run.records if record.load}
    wrong = excluded(run)
    known = least_certain(summary, {probe.name: probe.headline[0] for probe in _timed_probes()})
    cores = run.info.machine.get("cores")
    return {
        case.id: judged([] if case.id in wrong else signs(records[case.id], cores, known.get(case.id, {})))
        for case in run.info.cases
        if case.skipped is None and (records[case.id] or case.id not in loaded)
    }


def _timed_probes() -> list[Probe]:
    return [probe for probe in PROBES.values() if probe.timed]


def judged(found: Sequence[Evidence]) -> Stability:
    """Return the verdict on these signs."""
    holds = [verdict for verdict in WORST_FIRST if any(sign.holds == verdict for sign in found)]
    behind = [sign.text for verdict in holds for sign in found if sign.holds == verdict]
    evidence = behind + [sign.text for sign in found if sign.holds is None]
    if holds:
        return Stability(holds[0], evidence, holds)
    judges = any(sign.judges for sign in found)
    return Stability("stable" if judges else "unknown", evidence or ["no times"])


def signs(records: Sequence[Record], cores: int | None, known: Mapping[str, Certainty]) -> list[Evidence]:
    """Return all signs of one case.

    Noise counts only if it leaves a verdict on the case's times open, or if they have no interval.

    Parameters
    ----------
    records
        Its records that went well, of the probes that take times, in order of time.
    cores
        Cores of the entire machine; None if unknown.
    known
        By probe, the least certain ratio or time.
    """
    if not records:
        return []
    around = machine_noise(records, cores)
    found: list[Evidence] = []
    matters = False
    measured = {record.probe for record in records}
    for probe in _timed_probes():
        of_probe = [record for record in records if record.probe == probe.name]
        series = _series(probe, of_probe)
        if not series.processes:
            continue
        time_signs = [
            *spread(series),
            *trends(series),
            *(_warm_up(probe, of_probe) if probe.engine == "interleaved" else []),
        ]
        repeats, certainty = probe.repeats in measured, known.get(probe.name)
        counts = not repeats and (certainty is None or (certainty.open and certainty.units >= FEWEST_UNITS))
        matters |= counts
        found += time_signs if counts else map(_quiet, time_signs)
        if not repeats:
            noisy = counts and any(sign.holds == "noisy" for sign in (*time_signs, *around))
            found.append(_precision(probe.timed, certainty, noisy=noisy))
    return found + (around if matters else [_quiet(sign) for sign in around])


def _quiet(sign: Evidence) -> Evidence:
    """Return a sign of noise without its verdict; other signs unchanged."""
    return replace(sign, holds=None) if sign.holds == "noisy" else sign


def _precision(what: str, certainty: Certainty | None, *, noisy: bool) -> Evidence:
    """Return the precision of the times; too little of it counts as noise if there are signs of noise, else unknown."""
    text = f"{what}: {certainty.text if certainty else 'no interval'}"
    if certainty is not None and not certainty.open:
        return Evidence(text, judges=True)
    return Evidence(text, "noisy" if noisy else "unknown")


def _warm_up(probe: Probe, records: Sequence[Record]) -> list[Evidence]:
    """Return whether the warm-up was over: as observed, and from the times if it did not end in a steady state."""
    open_ended = [record for record in records if record.turned is None or not record.turned.steady]
    series = _series(probe, open_ended)
    after = [warming(series)] if series.processes else []
    return [*turns(records, still_warming=any(sign.holds or not sign.judges for sign in after)), *after]


def _series(probe: Probe, records: Sequence[Record]) -> ProcessTimes:
    taken = [(np.array(times), record.block) for record in records for times in probe.headline_values(record) if times]
    return ProcessTimes(probe.timed, tuple(times for times, _ in taken), tuple(block for _, block in taken))
