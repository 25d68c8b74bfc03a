"""Audit of the measurement: timed in one way, undisturbed by waiting processes, with a noise floor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff.analysis.audit.group import Found, same
from runoff.analysis.clock_check import least_share, not_compared
from runoff.analysis.evidence import NOISY_SD
from runoff.analysis.machine_noise import OTHERS
from runoff.analysis.validity import timed_how
from runoff.analysis.wording import percent
from runoff.plan.baselines import baselines_of
from runoff.probes import PROBES, is_interleaved
from runoff.statistics import spread_bounds

if TYPE_CHECKING:
    from runoff.analysis.audit.group import AuditGroup
    from runoff.records.schema import Case


def timed(group: AuditGroup) -> Found:
    """Return whether the warm inferences of all were timed in one way."""
    how = {
        case.target: " and ".join(sorted({timed_how(live) for live in group.turned(case)}))
        for case in group.cases
        if group.turned(case)
    }
    if not how:
        return Found("unknown", "no case has a latency record")
    return same(how, "warm inferences")


def clocks(group: AuditGroup) -> Found | None:
    """Return whether reported times were compared with runoff's round trips; None without warm inferences.

    A case whose clock disagreed has failed, so the point is only whether there was a comparison.
    """
    members = [case for case in (*group.cases, *group.controls) if group.turned(case)]
    if not members:
        return None
    records = {case.id: [one for one in group.records[case.id] if is_interleaved(one.probe)] for case in members}
    reasons = {case.target: not_compared(records[case.id], case) for case in members}
    baselines = [case.target for case in baselines_of(members, group.run.info.baselines)]
    if len(members) == 1 or all(reasons[name] for name in baselines):
        reasons = {name: why or "no baseline to compare it with" for name, why in reasons.items()}
    blind = {why: [name for name, other in reasons.items() if other == why] for why in reasons.values() if why}
    compared = [case for case in members if not reasons[case.target]]
    least = max((least_share(records[case.id], case) for case in compared), default=0.0)
    names = ", ".join(case.target for case in compared)
    detail = [f"compared with round trips, differences from {least:.1%} on: {names}"] if compared else []
    detail += [f"not compared: {', '.join(names)} ({why})" for why, names in blind.items()]
    return Found("unknown" if blind else "ok", "; ".join(detail))


def waiting(group: AuditGroup) -> Found:
    """Return whether waiting processes left the CPU to the one that was measured."""
    shares = {
        case.target: max(found)
        for case in (*group.cases, *group.controls)
        if (found := [live.waiting_share for live in group.turned(case) if live and live.waiting_share is not None])
    }
    taken = [f"{target} {percent(share)} of a core" for target, share in shares.items()]
    if any(share > NOISY_SD for share in shares.values()):
        return Found("differs", ", ".join(taken))
    if shares:
        return Found("ok", ", ".join(taken))
    if any(live is not None for case in group.cases for live in group.turned(case)):
        return Found("unknown", "CPU time while waiting: not reported by this system")
    return Found("ok", "none waited: one process at a time")


def control(group: AuditGroup) -> Found:
    """Return whether there is an A/A control, and whether it ran as its baseline did."""
    for again in group.controls:
        first = next((case for case in group.cases if case.target == again.control_of), None)
        if first is None:
            continue
        if group.effective[first.id] and group.effective[again.id] != group.effective[first.id]:
            return Found("differs", f"{again.target} did not run as {first.target} did")
        return Found("ok", f"{again.target} repeats {first.target}{_floors(group, again)}")
    return Found("unknown", "no baseline ran twice: verdicts have no noise floor")


def _floors(group: AuditGroup, again: Case) -> str:
    """Return how well the noise floors of timed probes are known, which depends on the blocks of the control."""
    known = []
    for probe in (probe for probe in PROBES.values() if probe.timed):
        blocks = {one.block for one in group.records[again.id] if (one.probe, one.status) == (probe.name, "ok")}
        if len(blocks) > 1:
            low, high = spread_bounds(len(blocks))
            known.append(f"{probe.name} {low:.2f} to {high:.2f} ({len(blocks)} blocks)")
    multiples = "with 95 % confidence its true spread lies between these multiples of the noise floor"
    return f"; {multiples}: {', '.join(known)}" if known else ""


def energy(group: AuditGroup) -> Found | None:
    """Return whether the same counters measured the energy of all, without other work; None without counters."""
    windows = {
        case.target: [window for record in group.records[case.id] if record.status == "ok" for window in record.energy]
        for case in (*group.cases, *group.controls)
    }
    counted = {
        target: sorted({key for window in measured for key in window.joules}) for target, measured in windows.items()
    }
    if not any(counted.values()):
        return None
    keys = {target: ", ".join(names) for target, names in counted.items() if names}
    checked = same(keys, "counters")
    others = {
        target: max(cores)
        for target, measured in windows.items()
        if (cores := [window.others for window in measured if window.others is not None])
    }
    busy = [f"{target} {cores:.1f} cores" for target, cores in others.items() if cores > OTHERS]
    if busy and checked.outcome == "ok":
        return Found("unknown", f"{checked.detail}; the figures include other work: {', '.join(busy)}")
    most = f"at most {max(others.values()):.2f} cores" if others else "not reported by this system"
    return checked._replace(detail=f"{checked.detail}; other work: {most}")
