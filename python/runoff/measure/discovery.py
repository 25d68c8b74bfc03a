"""What can run on this machine: every target and every tool is queried once, before the plan is made."""

from __future__ import annotations

import os
import re
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from runoff.plan.settings import cores_allowed
from runoff.plan.target import TargetInfo
from runoff.processes import describe_exit
from runoff.records import untrusted
from runoff.records.protocol import Capabilities
from runoff.records.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runoff.plan.target import Target
    from runoff.probes.base import Probe, Tool
    from runoff.processes import Finished, OneShot, Spawner

_TIMEOUT_S = 120.0
_OLDEST_HYPERFINE = 2


def discover(targets: Mapping[str, Target], spawner: Spawner) -> dict[str, TargetInfo]:
    """Return each target's capabilities, or the reason why the query failed; each core has a query at a time."""
    answers: dict[str, TargetInfo] = {}
    begun: deque[tuple[str, OneShot | Reason]] = deque()

    def finish() -> None:
        name, query = begun.popleft()
        answers[name] = _answer(targets[name], query)

    for name, target in targets.items():
        if len(begun) == cores_allowed():
            finish()
        begun.append((name, _begin(target, spawner)))
    while begun:
        finish()
    return answers


def query_capabilities(target: Target, spawner: Spawner) -> TargetInfo:
    """Query the capabilities of one target, by ``--probe``."""
    return _answer(target, _begin(target, spawner))


def _begin(target: Target, spawner: Spawner) -> OneShot | Reason:
    """Start a query, or return the reason why it cannot be started."""
    try:
        return target.missing or spawner.begin((*target.command, "--probe"), target.environment())
    except OSError as error:
        return Reason("not-installed", f"{target.command[0]} cannot be started: {error.strerror}")


def _answer(target: Target, query: OneShot | Reason) -> TargetInfo:
    """Return what a query that was begun finds out."""
    found = query if isinstance(query, Reason) else _capabilities(target.name, query.wait(_TIMEOUT_S))
    return TargetInfo(target, None, found) if isinstance(found, Reason) else TargetInfo(target, found)


def _capabilities(name: str, finished: Finished) -> Capabilities | Reason:
    """Return what the response says."""
    try:
        can: Capabilities = untrusted.decode(finished.stdout, Capabilities)
    except (msgspec.DecodeError, RecursionError) as error:
        if finished.exit_code:
            return Reason("crashed", f"{name} --probe {describe_exit(finished)}")
        return Reason("garbage", f"{name} --probe does not print capabilities: {error}")
    return can.unavailable or can


def query_tools(probes: Iterable[Probe], spawner: Spawner) -> tuple[dict[str, str | None], dict[str, Reason]]:
    """Return the versions of the probes' tools and the reasons why some cannot be used, by name."""
    queried = {probe.tool.name: query_tool(probe.tool, spawner) for probe in probes if probe.tool}
    versions = {name: version for name, (version, _) in queried.items()}
    return versions, {name: reason for name, (_, reason) in queried.items() if reason}


def query_tool(tool: Tool, spawner: Spawner) -> tuple[str | None, Reason | None]:
    """Return a tool's version, and the reason if it cannot be used."""
    path = tool.find()
    if path is None:
        return None, Reason("tool-missing", f"{tool.name} not found", tool.hint)
    try:
        finished = spawner.run((path, "--version"), dict(os.environ), _TIMEOUT_S)
        match = re.search(r"\d+(\.\d+)*", finished.stdout)
        if finished.exit_code or not match:
            return None, Reason("tool-failed", f"{path} --version {describe_exit(finished)}", tool.hint)
        version = match[0]
        if tool.name == "hyperfine" and int(version.split(".")[0]) < _OLDEST_HYPERFINE:
            return version, Reason("tool-too-old", f"{path} is version {version}; 2.0 or newer is required", tool.hint)
        return version, _refusal(tool, path, spawner)
    except OSError as error:
        return None, Reason("tool-failed", f"{path} cannot be started: {error.strerror}", tool.hint)


def _refusal(tool: Tool, path: str, spawner: Spawner) -> Reason | None:
    """Return the reason if an installed tool is not permitted to measure."""
    if not tool.trial:
        return None
    finished = spawner.run((path, *tool.trial), dict(os.environ), _TIMEOUT_S)
    if finished.exit_code == 0:
        return None
    return Reason(
        "tool-refused",
        f"{tool.name} is not permitted to measure on this machine: {tool.name} {describe_exit(finished)}",
        tool.allow,
    )
