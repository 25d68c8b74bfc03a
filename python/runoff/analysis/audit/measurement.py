"""Audit of the measurement: timed in one way, undisturbed by waiting processes, with a noise floor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff.analysis.audit.group import Found, same
from runoff.analysis.evidence import NOISY_SD
from runoff.analysis.machine_noise import OTHERS
from runoff.analysis.validity import timed_how
from runoff.analysis.wording import percent

if TYPE_CHECKING:
    from runoff.analysis.audit.group import AuditGroup


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
        return Found("ok", f"{again.target} repeats {first.target}")
    return Found("unknown", "no baseline ran twice: verdicts have no noise floor")


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
