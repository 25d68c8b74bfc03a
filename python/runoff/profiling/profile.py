"""One profile: the outputs are checked, then each side runs with and without sampling, and its graphs are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from runoff.adaptive.suite import suite_text
from runoff.environments import ensure_environments
from runoff.measure.discovery import query_tool
from runoff.plan.suite import parse_suite
from runoff.processes import workspace
from runoff.profiling.draw import draw, draw_difference, find_drawer
from runoff.profiling.recording import NATIVE, PY_SPY, REGIONS, CaseProfile, Recorder
from runoff.records.errors import ExitCode, RunoffError
from runoff.records.files import read_run
from runoff.sides import SidesPipeline, of_sides

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from runoff.bench import Plan, Planned
    from runoff.measure.job import ExecutionContext
    from runoff.plan.own_suite import OwnOptions
    from runoff.plan.suite import Suite
    from runoff.plan.target import Target, TargetInfo
    from runoff.records.files import RunWriter
    from runoff.records.schema import Case
    from runoff.sides import Side


class Profiled(Struct, frozen=True, kw_only=True):
    """The result of a profile."""

    model: str
    sides: tuple[CaseProfile, ...]
    unavailable: str
    """Reason why there are no frames of Python; empty if there are, or none are needed."""
    folder: Path
    """Of the run."""


class _Profile(SidesPipeline):
    """The pipeline, whose cases are sampled after their outputs were compared with the reference."""

    def __init__(
        self, suite: Suite, text: str, console: Console, sides: Sequence[Side], seconds: float, unavailable: str
    ) -> None:
        super().__init__(suite, text, console, sides)
        self.profiles: list[CaseProfile] = []
        self.blind = ""
        """Reason why a side in Python has no frames of Python."""
        self._seconds, self._unavailable = seconds, unavailable

    def complete(self, cases: tuple[Case, ...], targets: dict[str, TargetInfo]) -> Planned:
        """Return the cases without A/A control: what is compared is where time goes."""
        cases, targets = super().complete(cases, targets)
        return tuple(case for case in cases if not case.control_of), targets

    def execute(self, context: ExecutionContext, plan: Plan, writer: RunWriter) -> None:
        """Check the outputs of all cases, then sample them and draw their graphs."""
        super().execute(context, plan, writer)
        for record in read_run(writer.folder).records:
            if record.status != "ok" and record.reason:
                raise RunoffError(f"{record.case}: {record.reason.message}", record.reason.hint, ExitCode.CASE_FAILED)
        for case in plan.ready.cases:
            python = is_python(context.targets[case.target].target)
            self.blind = self._unavailable if python else self.blind
            self.say(f"{case.target}: sampling warm iterations, then whole processes ({4 * self._seconds:.0f} s)")
            recorder = Recorder(context, case, self._seconds, spies=python and not self._unavailable)
            self.profiles.append(recorder.profile())
        for region, words in REGIONS.items():
            for side in self.profiles:
                draw(side, region, words, writer.folder, context.spawner)
            if len(self.profiles) > 1:
                draw_difference(self.profiles, region, words, writer.folder, context.spawner)


def is_python(target: Target) -> bool:
    """Return whether a runner is a program in Python, by the name of its interpreter."""
    return bool(target.command) and Path(target.command[0]).name.startswith("python")


def profile(
    model: str, options: OwnOptions, sides: Sequence[Side], seconds: float, results: Path, console: Console
) -> Profiled:
    """Return where one or two `sides` spend their time on a model, sampled for so many `seconds` in each region.

    `model` is the name of one in the zoo or the store, or the user's as ``runoff bench`` takes it, with its `options`;
    the run's folder is created in `results`.

    Raises
    ------
    RunoffError
        For bad input; with exit code 3 if this machine does not allow sampling; or if a case fails.
    """

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    find_drawer()
    ensure_environments([PY_SPY.name], say)
    with workspace() as (spawner, _):
        _, refused = query_tool(NATIVE, spawner)
        _, blind = query_tool(PY_SPY, spawner)
    if refused:
        raise RunoffError(refused.message, refused.hint, ExitCode.NOTHING_RUNS_HERE)
    text = suite_text(model, options)
    suite = of_sides(parse_suite(text, f"the suite for {model}"), sides, ("accuracy",), f"profile {model}", say)
    pipeline = _Profile(suite, text, console, sides, seconds, str(blind or ""))
    folder, code = pipeline.run(results)
    if not pipeline.profiles:
        raise RunoffError(f"nothing of {model} was sampled", f"see: runoff report {folder}", code)
    return Profiled(model=model, sides=tuple(pipeline.profiles), unavailable=pipeline.blind, folder=folder)
