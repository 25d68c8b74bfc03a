"""Validity of results: cases that are excluded from the results, and reasons for missing results."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from runoff.analysis.clock_check import clock_disagreements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runoff.records.reason import Reason
    from runoff.records.schema import Case, InterleavingStats, Record, Run

TimingMode = Literal["interleaved", "isolated", "by the runner itself"]
DISAGREES = "outputs-differ"


class State(Struct, frozen=True):
    """Outcome of a probe of a case: ``ok``, ``unsupported``, ``not-measured`` or ``error``, with the reason."""

    status: str
    reason: str = ""


def disagreements(run: Run) -> dict[str, Reason]:
    """Return, by case id, the reason if outputs disagree with the reference."""
    wrong: dict[str, Reason] = {}
    for record in run.records:
        if record.reason is not None and record.reason.kind == DISAGREES:
            wrong.setdefault(record.case, record.reason)
    return wrong


@lru_cache(maxsize=1)
def excluded(run: Run) -> dict[str, Reason]:
    """Return, by case id, the reason if a case is excluded from all results but accuracy: wrong outputs or clock."""
    return clock_disagreements(run) | disagreements(run)


def computes(run: Run, target: str) -> bool:
    """Return whether `target` runs a model; the null runners do not, and are not compared."""
    capabilities = run.info.capabilities.get(target)
    return capabilities is None or capabilities.computes


def say(reason: Reason | None) -> str:
    """Return a reason as one line of text."""
    if reason is None:
        return "no reason was given"
    return f"{reason.kind}: {reason}"


def timing_mode(turned: InterleavingStats | None) -> TimingMode:
    """Return the timing mode of a process of the probe ``latency``; `turned` is None if it timed itself."""
    if turned is None:
        return "by the runner itself"
    return "interleaved" if turned.group_size > 1 else "isolated"


def timed_how(turned: InterleavingStats | None) -> str:
    """Return `timing_mode` as text, with the huge pages that a process was given."""
    huge = turned is not None and turned.huge_bytes
    return timing_mode(turned) + (", with huge pages" if huge else "")


def state(case: Case, records: Sequence[Record], wrong: dict[str, Reason], probe: str) -> State:
    """Return the outcome of `probe` of `case`, from all `records` of the case.

    A probe of which only some processes failed is an error too: the others may be the fast ones. A
    case that failed in one probe is not started again, so the probes after it share its reason.
    """
    if case.skipped is not None:
        return State("unsupported", say(case.skipped))
    if case.id in wrong:
        return State("error", say(wrong[case.id]))
    of_probe = [record for record in records if record.probe == probe]
    fine = ("ok",) if of_probe else ("ok", "not-measured")
    bad = [record for record in of_probe or records if record.status not in fine]
    if not of_probe and not bad:
        return State("not-measured", f"the run has no {probe} record of this case: it was interrupted")
    if not bad:
        return State("ok")
    reason = say(bad[0].reason)
    if len(bad) < len(of_probe):
        reason = f"{len(bad)} of {len(of_probe)} processes failed; {reason}"
    return State(bad[0].status, reason)
