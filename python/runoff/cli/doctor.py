"""``runoff doctor``: what this machine can measure, and the fix for each problem."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from runoff import paths
from runoff.analysis.audit.software import SCALAR
from runoff.cli.output import print_json
from runoff.measure.discovery import discover, query_tool
from runoff.measure.energy.meters import find_meters
from runoff.measure.machine import describe_machine
from runoff.plugins import plugins
from runoff.probes import PROBES
from runoff.probes.counters import PERF
from runoff.processes import workspace
from runoff.records.machine import headline
from runoff.targets import make_all_targets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runoff.plan.target import TargetInfo
    from runoff.probes.base import Tool
    from runoff.processes import Spawner

_WITHOUT_SIMD = "apt-get install nasm, then: cargo clean --release -p turbojpeg-sys && nox -s build"
_BUSY = 0.5
_ROOM_BYTES = 2 * 10**9


class Finding(Struct, frozen=True):
    """One line of the output."""

    what: str
    state: Literal["ok", "warning", "missing"]
    detail: str
    advice: str = ""


def examine(*, as_json: bool) -> None:
    """Examine this machine and print the findings."""
    with workspace() as (spawner, scratch):
        findings = list(_findings(spawner, scratch))
    if as_json:
        print_json(findings)
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    colours = {"ok": "green", "warning": "yellow", "missing": "red"}
    for finding in findings:
        text = escape(finding.detail) + (f"\n[dim]-> {escape(finding.advice)}[/]" if finding.advice else "")
        table.add_row(f"[{colours[finding.state]}]{finding.state}[/]", finding.what, text)
    Console().print(table, highlight=False)


def _findings(spawner: Spawner, scratch: Path) -> Iterator[Finding]:
    machine = describe_machine()
    yield Finding("machine", "ok", headline(machine))
    yield from _quiet(machine)
    for probe in PROBES.values():
        if probe.tool:
            yield _tool(probe.tool, probe.name, spawner)
    yield from _counters(spawner, scratch)
    for name, target_info in discover(make_all_targets(), spawner).items():
        yield from _target(f"target {name}", target_info)
    for package, why in plugins().broken.items():
        yield Finding("plug-in", "missing", why, f"update it, or run: pip uninstall {package}")
    yield _energy(spawner)
    yield _room()


def _target(what: str, target_info: TargetInfo) -> Iterator[Finding]:
    capabilities, reason = target_info.capabilities, target_info.reason
    if capabilities:
        detail = f"{capabilities.runtime} {capabilities.version}, providers: {', '.join(capabilities.providers)}"
        unavailable = capabilities.unavailable_providers
        detail += "".join(f"; {provider} unavailable: {why}" for provider, why in unavailable.items())
        yield Finding(what, "ok", detail)
        if (capabilities.image_decoder or "").endswith(SCALAR):
            decoder = f"{capabilities.image_decoder}: preprocessing takes about twice as long as with SIMD"
            yield Finding(what, "warning", decoder, _WITHOUT_SIMD)
    elif reason:
        yield Finding(what, "missing", reason.message, reason.hint)


def _quiet(machine: dict[str, Any]) -> Iterator[Finding]:
    load, governor = machine["load_1min"], machine["governor"]
    busy = "wait until the machine is idle, or expect wide intervals" if load > _BUSY * machine["cores_allowed"] else ""
    yield _finding("load", f"{load} in the last minute", busy)
    if governor is None:
        unknown = "not reported by this system"
        yield _finding("governor", unknown, "usual on virtual machines; nothing to do")
    else:
        slow = "" if governor == "performance" else "sudo cpupower frequency-set -g performance"
        yield _finding("governor", governor, slow)


def _finding(what: str, detail: str, advice: str) -> Finding:
    """Return a finding: a warning if there is advice."""
    return Finding(what, "warning" if advice else "ok", detail, advice)


def _tool(tool: Tool, probe: str, spawner: Spawner) -> Finding:
    version, reason = query_tool(tool, spawner)
    if reason:
        return Finding(f"probe {probe}", "missing", reason.message, reason.hint)
    return Finding(f"probe {probe}", "ok", f"{tool.name} {version}")


def _counters(spawner: Spawner, scratch: Path) -> Iterator[Finding]:
    """Yield the counters that perf can read: some hardware does not have all of them."""
    perf, true = PERF.find(), shutil.which("true")
    if not perf or not true:
        return
    finished = spawner.run(PERF.wrap(perf, (true,), scratch), {**os.environ, **dict(PERF.env)}, 30.0)
    if finished.exit_code:
        return  # reported by the line on the probe
    events = PERF.read(scratch)
    dead = [event["event"] for event in events if not str(event["counter-value"])[:1].isdigit()]
    if dead:
        lost = f"not counted on this machine: {', '.join(dead)}"
        yield _finding("perf counts", lost, "usual on virtual machines; their rows show the reason")
    else:
        yield _finding("perf counts", f"all of {', '.join(event['event'] for event in events)}", "")


def _energy(spawner: Spawner) -> Finding:
    """Return the energy counters that can be read, or the reason why none can, with a hint."""
    meters = find_meters(spawner)
    if meters.reason:
        return Finding("probe energy", "missing", meters.reason.message, meters.reason.hint)
    lines = [f"{meter.info.name}: {', '.join(meter.info.domains)}" for meter in meters.found]
    lines += [f"unavailable: {line}" for line in meters.unreadable()]
    return Finding("probe energy", "ok", "; ".join(lines))


def _room() -> Finding:
    folder = next(folder for folder in (paths.results(), *paths.results().parents) if folder.exists())
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:.0f} GB free for results and models"
    return _finding("disk", text, "" if free > _ROOM_BYTES else "a run needs up to 2 GB")
