"""Audit of best practice: ways to be faster that no setting names, such as a mapped model or another allocator."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from runoff.analysis.audit.group import Found

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runoff.analysis.audit.group import AuditGroup
    from runoff.records.schema import Case

MEMORY = {"released-code"}
"""How a program treats its memory is part of the target, as its allocator is: listed, and no fault."""
PAGE = "docs/best-practice.md"
"""Lists every way that was looked at, what it gained, and why a target lacks it."""


def practices(group: AuditGroup) -> Found:
    """Return the ways to be faster that one target has and another lacks.

    It differs if a target lacks a way of its own runtime and of its model's format. A row of the suite in the same
    environment that has it, such as one with a preloaded allocator, makes up for that. Ways of other runtimes are only
    listed.
    """
    used = {case.target: _ways(group, case) for case in group.cases}
    names = sorted(set().union(*used.values()))
    if not names:
        return Found("ok", "none in effect")
    missing = {name: [target for target in used if name not in used[target]] for name in names}
    details = [f"{name}: {'not ' + ', '.join(missing[name]) if missing[name] else 'all'}" for name in names]
    withheld = any(_is_withheld(group, used, target, name) for name in set(names) - MEMORY for target in missing[name])
    return Found("differs" if withheld else "ok", f"{'; '.join(details)} (reasons: {PAGE})")


def _ways(group: AuditGroup, case: Case) -> set[str]:
    """Return the ways that the case's runner reported, and the libraries that were preloaded, as ``jemalloc``."""
    reported = {name for effective in group.effective[case.id] for name in effective.practices}
    files = group.run.info.environments.get(case.target, {}).get("LD_PRELOAD", "").replace(":", " ").split()
    return reported | {PurePath(file).name.partition(".")[0].removeprefix("lib") for file in files}


def _is_withheld(group: AuditGroup, used: Mapping[str, set[str]], target: str, name: str) -> bool:
    """Return whether one of the same runtime and format has the way `name`, and none in the environment of `target`.

    A variant of a target, which the suite added for the comparison, withholds nothing from others.
    """
    hosts = {other: _host(group, other) for other in used if name in used[other]}
    runtimes = {case.target: {effective.runtime for effective in group.effective[case.id]} for case in group.cases}
    formats = {case.target: case.format for case in group.cases}
    alike = {other for other in used if runtimes[other] & runtimes[target] and formats[other] == formats[target]}
    having = any(host == other and other in alike for other, host in hosts.items())
    return having and _host(group, target) not in hosts.values()


def _host(group: AuditGroup, target: str) -> str:
    """Return the built-in target that a target of the suite is a variant of, else the target itself."""
    return group.run.info.suite.get("targets", {}).get(target, {}).get("environment") or target
