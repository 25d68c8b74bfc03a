"""Were the times of a case steady enough to be believed? A verdict for each case, with the evidence."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from runoff.analysis.evidence import Evidence, ProcessTimes, StabilityVerdict, spread, trends, turns, warming
from runoff.analysis.machine_noise import surroundings
from runoff.analysis.validity import disagreements
from runoff.probes import PROBES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runoff.probes.base import Probe
    from runoff.records.schema import Record, Run

WORST_FIRST: tuple[StabilityVerdict, ...] = ("not warmed up", "throttled", "drifting", "noisy", "stable")
"""Times of another state first; then times of a slower machine; then times that no one level describes."""


class Stability(Struct, frozen=True):
    """How steady a case's times were."""

    verdict: StabilityVerdict
    """The worst that holds; ``unknown`` where there is too little to judge."""
    evidence: list[str]
    """Every sign looked at: first those that made the verdict, then those that were fine or not told."""
    holds: list[StabilityVerdict] = []
    """All verdicts that hold, the worst first."""


def stability(run: Run) -> dict[str, Stability]:
    """Return the stability of each case that could run, by its id.

    A case whose outputs disagree has no times, so its stability is unknown.
    """
    records: defaultdict[str, list[Record]] = defaultdict(list)
    timed = {probe.name for probe in _timed_probes()}
    for record in sorted(run.records, key=lambda record: record.order):
        if record.probe in timed and record.status == "ok":
            records[record.case].append(record)
    wrong = disagreements(run)
    cores = run.info.machine.get("cores")
    return {
        case.id: judged([] if case.id in wrong else signs(records[case.id], cores))
        for case in run.info.cases
        if case.skipped is None
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
    return Stability("stable" if judges else "unknown", evidence or ["it has no times"])


def signs(records: Sequence[Record], cores: int | None) -> list[Evidence]:
    """Return all signs of one case.

    Parameters
    ----------
    records
        Its records that went well, of the probes that take times, in order of time.
    cores
        Cores of the whole machine; None where unknown.
    """
    if not records:
        return []
    found: list[Evidence] = []
    for probe in _timed_probes():
        own = [record for record in records if record.probe == probe.name]
        series = _series(probe, own)
        if not series.processes:
            continue
        found += [*spread(series), *trends(series)]
        if probe.engine == "interleaved":
            found += _warm_up(probe, own)
    return found + surroundings(records, cores)


def _warm_up(probe: Probe, records: Sequence[Record]) -> list[Evidence]:
    """Return whether the warm-up was over: as it was watched, and after the fact where it did not end well."""
    open_ended = [record for record in records if record.turned is None or not record.turned.steady]
    series = _series(probe, open_ended)
    after = [warming(series)] if series.processes else []
    return [*turns(records, still_warming=any(sign.holds or not sign.judges for sign in after)), *after]


def _series(probe: Probe, records: Sequence[Record]) -> ProcessTimes:
    taken = [(np.array(times), record.block) for record in records for times in probe.headline_values(record) if times]
    return ProcessTimes(probe.timed, tuple(times for times, _ in taken), tuple(block for _, block in taken))
