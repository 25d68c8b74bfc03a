"""Which cases may have a speed at all, and why a probe of a case has no result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runoff.records.reason import Reason
    from runoff.records.schema import Case, InterleavingStats, Record, Run

WITH_HUGE_PAGES = ", with huge pages"
DISAGREES = "outputs-differ"


class State(Struct, frozen=True):
    """What became of a probe of a case: ``ok``, ``unsupported``, ``not-measured`` or ``error``, and why."""

    status: str
    reason: str = ""


def disagreements(run: Run) -> dict[str, Reason]:
    """Return, by case id, why a case's outputs disagree with its reference. Such a case gets no speed."""
    wrong: dict[str, Reason] = {}
    for record in run.records:
        if record.reason is not None and record.reason.kind == DISAGREES:
            wrong.setdefault(record.case, record.reason)
    return wrong


def computes(run: Run, target: str) -> bool:
    """Return whether `target` really runs a model; the null runners do not, and are not compared."""
    capabilities = run.info.capabilities.get(target)
    return capabilities is None or capabilities.computes


def say(reason: Reason | None) -> str:
    """Return a reason as one line of text."""
    if reason is None:
        return "no reason was given"
    return f"{reason.kind}: {reason}"


def timed_how(turned: InterleavingStats | None) -> str:
    """Return in words how a process of the probe ``latency`` was timed; `turned` is None where it took no turns."""
    if turned is None:
        return "by its own measure"
    way = "side by side" if turned.beside > 1 else "alone"
    return way + WITH_HUGE_PAGES if turned.huge_bytes else way


def state(case: Case, records: Sequence[Record], wrong: dict[str, Reason], probe: str) -> State:
    """Return what became of `probe` of `case`, from all `records` of the case.

    A probe of which only some processes failed is an error too: the survivors may be the quick ones. A
    case that failed in one probe is not started again, so the probes after it share its reason.
    """
    if case.skipped is not None:
        return State("unsupported", say(case.skipped))
    if case.id in wrong:
        return State("error", say(wrong[case.id]))
    own = [record for record in records if record.probe == probe]
    fine = ("ok",) if own else ("ok", "not-measured")
    bad = [record for record in own or records if record.status not in fine]
    if not own and not bad:
        return State("not-measured", f"the run has no {probe} record of this case: it was interrupted")
    if not bad:
        return State("ok")
    reason = say(bad[0].reason)
    if len(bad) < len(own):
        reason = f"{len(bad)} of {len(own)} processes failed; {reason}"
    return State(bad[0].status, reason)
