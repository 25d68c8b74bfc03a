"""The command ``runoff selftest``: two ordinary runs, and the conclusions from them."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from rich.markup import escape

from runoff import paths
from runoff.bench import bench
from runoff.measure.machine import describe_machine
from runoff.paths import shown
from runoff.plan.quantities import parse_duration
from runoff.processes import workspace
from runoff.records.errors import ExitCode, RunoffError
from runoff.records.files import read_run, write_atomically
from runoff.records.machine import headline
from runoff.selftest.faults import judge_faults, plan_faults
from runoff.selftest.resolution import plan_resolution, read_resolution
from runoff.selftest.suites import write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from runoff.records.schema import Run
    from runoff.selftest.faults import Outcome
    from runoff.selftest.resolution import Resolution
    from runoff.selftest.suites import Plan
    from runoff.selftest.verdicts import TargetVerdict

_FAULTS_TAKE = "about two minutes"


def selftest(budget: str | None, *, quick: bool, as_json: bool) -> ExitCode:
    """Inject faults and slowdowns, print which were detected, and return the exit code.

    Raises
    ------
    RunoffError
        If `budget` is not a duration, or the environment of `ort-python` is not installed.
    """
    from rich.console import Console

    if quick and budget:
        raise RunoffError("--quick and --time cannot be combined", "remove one of them")
    time = "1m" if quick else budget or "4m"
    parse_duration(time)
    plans = plan_faults(), plan_resolution(time)
    console = Console(stderr=as_json)
    folder = paths.results() / f"selftest-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    console.print(f"injected faults ({_FAULTS_TAKE}), then injected slowdowns ({time})")
    outcomes = judge_faults(_measure(plans[0], folder, console))
    resolution = read_resolution(_measure(plans[1], folder, console))
    fine = all(outcome.caught for outcome in outcomes) and resolution.quiet and not resolution.missed
    document = _document(time, outcomes, resolution, fine=fine)
    write_atomically(folder / "selftest.json", document)
    if as_json:
        sys.stdout.buffer.write(document + b"\n")
    else:
        _show(outcomes, resolution, time, console)
        console.print(f"runs: {shown(folder)}", highlight=False, markup=False, soft_wrap=True)
    return ExitCode.OK if fine else ExitCode.CASE_FAILED


def _measure(plan: Plan, folder: Path, console: Console) -> Run:
    with workspace() as (_, scratch):
        # the exit code is ignored: cases of this run are meant to fail
        run, _ = bench(write(plan, scratch), folder, console)
    return read_run(run)


def _document(time: str, outcomes: Sequence[Outcome], resolution: Resolution, *, fine: bool) -> bytes:
    fields: dict[str, Any] = {
        "machine": headline(describe_machine()),
        "time": time,
        "passed": fine,
        "faults": outcomes,
        "quiet": resolution.quiet,
        "slowdowns": resolution.slowdowns,
        "resolves": resolution.resolves,
        "missed": resolution.missed,
        "sentence": sentence(resolution, time),
    }
    return msgspec.json.format(msgspec.json.encode(fields), indent=2)


def _show(outcomes: Sequence[Outcome], resolution: Resolution, time: str, console: Console) -> None:
    for outcome in outcomes:
        words = ("quiet", "FALSE ALARM") if outcome.fault == "none" else ("caught", "NOT CAUGHT")
        _line(console, words, f"{outcome.fault}: {outcome.what}", outcome.reported, good=outcome.caught)
    for one in resolution.slowdowns:
        words = ("found", "not found") if one.injected else ("quiet", "FALSE ALARM")
        name = f"{one.injected:.0%} slower" if one.injected else "A/A: the same program twice"
        good = one.verdict.slower if one.injected else one.verdict.quiet
        _line(console, words, name, _measured(one.verdict), good=good)
    console.print(sentence(resolution, time), highlight=False, soft_wrap=True)


def _line(console: Console, words: tuple[str, str], name: str, reported: str, *, good: bool) -> None:
    """Print an outcome: the first of `words` if it is `good`, else the second."""
    mark = f"[green]{words[0]:12}[/]" if good else f"[bold red]{words[1]:12}[/]"
    console.print(f"{mark}{escape(name)}\n{'':12}[dim]-> {escape(reported)}[/]", highlight=False, soft_wrap=True)


def _measured(verdict: TargetVerdict) -> str:
    value, low, high = (100 * number for number in (verdict.measured, verdict.low, verdict.high))
    return f"measured {value:+.2f}% ({low:+.2f} to {high:+.2f}): {verdict.verdict}"


def sentence(resolution: Resolution, time: str) -> str:
    """Return the smallest difference that is distinguishable on this machine, as a sentence."""
    if resolution.resolves is None:
        return f"No difference is distinguishable: no intervals in {time}. Increase --time."
    missed = ", ".join(f"{share:.0%}" for share in resolution.missed)
    but = f", but did not find {missed}" if missed else ""
    return f"This machine resolves differences of {resolution.resolves:.1%} or more in warm latency in {time}{but}."
