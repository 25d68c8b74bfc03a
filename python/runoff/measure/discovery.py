"""What can run on this machine: every target and every tool is queried once, before the plan is made."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import msgspec

from runoff.plan.target import TargetInfo
from runoff.processes import describe_exit
from runoff.records import untrusted
from runoff.records.protocol import Capabilities
from runoff.records.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runoff.plan.target import Target
    from runoff.probes.base import Probe, Tool
    from runoff.processes import Spawner

_TIMEOUT_S = 120.0
_OLDEST_HYPERFINE = 2


def discover(targets: Mapping[str, Target], spawner: Spawner) -> dict[str, TargetInfo]:
    """Return each target's capabilities, or the reason why the query failed."""
    return {name: query_capabilities(target, spawner) for name, target in targets.items()}


def query_capabilities(target: Target, spawner: Spawner) -> TargetInfo:
    """Query the capabilities of one target, by ``--probe``."""
    found = target.missing or _capabilities(target, spawner)
    return TargetInfo(target, None, found) if isinstance(found, Reason) else TargetInfo(target, found)


def _capabilities(target: Target, spawner: Spawner) -> Capabilities | Reason:
    try:
        finished = spawner.run((*target.command, "--probe"), target.environment(), _TIMEOUT_S)
        can: Capabilities = untrusted.decode(finished.stdout, Capabilities)
    except OSError as error:
        return Reason("not-installed", f"{target.command[0]} cannot be started: {error.strerror}")
    except (msgspec.DecodeError, RecursionError) as error:
        if finished.exit_code:
            return Reason("crashed", f"{target.name} --probe {describe_exit(finished)}")
        return Reason("garbage", f"{target.name} --probe does not print capabilities: {error}")
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
