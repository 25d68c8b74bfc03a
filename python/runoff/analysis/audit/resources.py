"""Audit of the resources: threads, provider, settings and environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from runoff.analysis.audit.group import Found, most_threads, requested, same

if TYPE_CHECKING:
    from runoff.analysis.audit.group import AuditGroup
    from runoff.records.schema import Case

_WORDS = {"prepared": "prepared model", "overlap": "overlapped preprocessing"}
"""Words for settings that are not named like the missing feature."""
_LIBRARY = "ORT_DYLIB_PATH"
"""Names a library, as an argument would; `same library file` compares the files."""


def threads(group: AuditGroup) -> Found:
    """Return whether each used the requested threads: as the runner reports, and as runoff counted them.

    More threads at work than requested differ, whatever the runner reports. Fewer are unknown: a
    small model may leave a thread without work.
    """
    outcome, detail, blamed = requested(group, "threads")
    counted = {
        case.target: (case.settings.threads, most_threads(group, case), max(counts))
        for case in group.cases
        if (counts := [live.busy_threads for live in group.turned(case) if live and live.busy_threads is not None])
    }
    more = {name: f"{name} requested {n}, kept {busy} busy" for name, (n, most, busy) in counted.items() if busy > most}
    if more:
        both = tuple(dict.fromkeys((*blamed, *more)))
        return Found("differs", "; ".join([detail] * (outcome == "differs") + [*more.values()]), both)
    fewer = [f"{target} kept {busy} of {n} busy" for target, (n, _, busy) in counted.items() if busy < n]
    if outcome == "ok" and fewer:
        return Found("unknown", "; ".join([detail, *fewer]))
    blind = ", ".join(case.target for case in group.cases if case.target not in counted)
    seen = f"counted from outside, not {blind}" if counted and blind else "counted from outside"
    return Found(outcome, f"{detail}; {seen if counted else 'not counted from outside'}", blamed)


def provider(group: AuditGroup) -> Found:
    """Return whether each ran on the requested provider, and which operations were planned for which device."""
    checked = requested(group, "provider")
    planned = [f"{case.target} planned {plan}" for case in group.cases if (plan := _plan(group, case))]
    return checked._replace(detail="; ".join([checked.detail, *planned]))


def precision(group: AuditGroup) -> Found | None:
    """Return whether each computed in the requested precision; None if no runtime reports it.

    Some reduce it by themselves on a CPU that is faster in fewer bits.
    """
    reported = {
        case.target: {effective.precision for effective in group.effective[case.id]} - {None} for case in group.cases
    }
    if not any(reported.values()):
        return None
    checked = requested(group, "precision")
    blind = ", ".join(target for target, found in reported.items() if not found)
    if checked.outcome == "unknown":
        # most runtimes have one precision, and their outputs are compared
        wanted = group.cases[0].settings.precision
        return Found("ok", f"{wanted} in effect in all that report it; not reported by {blind}")
    return checked


def _plan(group: AuditGroup, case: Case) -> str:
    plan = next((effective.planned for effective in group.effective[case.id] if effective.planned), {})
    return ", ".join(f"{count} operations for {device}" for device, count in plan.items())


def profile(group: AuditGroup) -> Found:
    """Return whether all were given one settings profile."""
    return same({case.target: case.settings.profile for case in group.cases}, "profile")


def settings(group: AuditGroup) -> Found:
    """Return whether all requested the same session settings; the provider is a point of its own."""
    first = group.cases[0]
    others = sorted(
        {
            case.target
            for case in group.cases
            if replace(case.settings, provider=first.settings.provider) != first.settings
        }
    )
    if others:
        return Found("differs", f"different from {first.target}: {', '.join(others)}")
    return Found("ok", f"threads {first.settings.threads}, batch {first.settings.batch}")


def applied(group: AuditGroup) -> Found:
    """Return the settings that a target does not support."""
    why = group.run.info.models.get(group.cases[0].model, {}).get("not_prepared")
    ignored = {
        case.target: sorted({name for effective in group.effective[case.id] for name in effective.ignored})
        for case in group.cases
    }
    missing = [
        f"{target} has no {', '.join(_WORDS.get(name, name) for name in names)}"
        for target, names in ignored.items()
        if names
    ]
    if why and any("prepared" in names for names in ignored.values()):
        missing.append(f"not prepared: {why}")
    # not unfair: every target gets all of the profile that it can apply
    return Found("ok", "; ".join(missing) or "all")


def environment(group: AuditGroup) -> Found:
    """Return whether the variables that change speed were the same for all."""
    recorded = group.run.info.environments
    blind = [case.target for case in group.cases if case.target not in recorded]
    if blind:
        return Found("unknown", f"not recorded: {', '.join(blind)}")
    declared = {case.target: _declared(group, case.target) for case in group.cases}
    values = {
        target: {name: value for name, value in recorded[target].items() if name not in {*of_suite, _LIBRARY}}
        for target, of_suite in declared.items()
    }
    names = sorted({name for variables in values.values() for name in variables})
    differing = [
        f"{name}: " + ", ".join(f"{target} {variables.get(name, 'unset')}" for target, variables in values.items())
        for name in names
        if len({variables.get(name) for variables in values.values()}) > 1
    ]
    if differing:
        return Found("differs", "; ".join(differing))
    first = next(iter(values.values()))
    shared = ", ".join(f"{name}={first[name]}" for name in names) or "none of the variables is set"
    own = [f"{target} {name}={value}" for target, set_ in declared.items() for name, value in set_.items()]
    return Found("ok", f"{shared}; set by the suite: {', '.join(own)}" if own else shared)


def _declared(group: AuditGroup, target: str) -> dict[str, str]:
    """Return the variables that the suite sets for a target of its own: what is compared, not a difference."""
    variables: dict[str, str] = group.run.info.suite.get("targets", {}).get(target, {}).get("env", {})
    return variables
