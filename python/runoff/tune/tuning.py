"""One tuning: an ordinary run whose cases are added as the search needs them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from runoff.adaptive.suite import suite_text
from runoff.analysis.validity import excluded
from runoff.bench import Pipeline
from runoff.measure.progress import Bar
from runoff.measure.room import model_bytes, with_room_for
from runoff.plan.cases import control_case, renamed
from runoff.plan.quantities import parse_duration
from runoff.plan.settings import cores_allowed, read_profile
from runoff.plan.suite import Measure, parse_suite
from runoff.probes.latency import LatencyOptions
from runoff.records.errors import ExitCode, RunoffError
from runoff.records.files import read_run
from runoff.tune.lab import RunLab
from runoff.tune.search import DEFAULT, Search
from runoff.tune.space import change, changes, profile_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from runoff.adaptive.objective import Objective
    from runoff.bench import Plan, Planned
    from runoff.measure.job import ExecutionContext
    from runoff.plan.own_suite import OwnOptions
    from runoff.plan.suite import Suite
    from runoff.plan.target import TargetInfo
    from runoff.probes.base import Probe
    from runoff.records.files import RunWriter
    from runoff.records.schema import Case, RunInfo
    from runoff.statistics import Estimate
    from runoff.tune.limits import Limit
    from runoff.tune.search import Found

SHORT_SETS = LatencyOptions(min_samples=20, min_time_s=0, warmup_time_s=1.0)
"""Processes differ for their whole lifetime: many short sets of them are more precise than a few long ones."""
_PREPARED = change(prepared=True)


class Tuned(Struct, frozen=True, kw_only=True):
    """The result of a tuning."""

    found: Found
    folder: Path
    """Of the run."""
    info: RunInfo
    default: Estimate | None
    best: Estimate | None
    """Values of the objective, over all blocks of the run."""
    seconds: float
    """Time of the search."""


class _Tuning(Pipeline):
    """The pipeline, with the search in place of a suite's passes."""

    resumable = False

    def __init__(
        self, suite: Suite, text: str, console: Console, objective: Objective, limits: Sequence[Limit], budget_s: float
    ) -> None:
        super().__init__(suite, text, Path.cwd(), console)
        self._objective, self._limits, self._budget_s = objective, limits, budget_s
        self.tuned: Tuned | None = None

    def complete(self, cases: tuple[Case, ...], targets: dict[str, TargetInfo]) -> Planned:
        """Return the default, its A/A control and the prepared model, if the target can have it."""
        (default,) = cases
        if default.skipped:
            raise RunoffError(
                f"{default.target}: {default.skipped.message}", default.skipped.hint, ExitCode.NOTHING_RUNS_HERE
            )
        made, info = [default, control_case(default)], targets[default.target]
        known = info.capabilities.settings if info.capabilities else ()
        if self._objective.process and "prepared" in known:
            settings = msgspec.structs.replace(default.settings, prepared=True)
            made.append(renamed(default, f"{default.target}+prepared", settings=settings))
        return tuple(made), {**targets, **{case.target: info for case in made}}

    def execute(self, context: ExecutionContext, plan: Plan, writer: RunWriter) -> None:
        """Search, and keep what was found in `tuned`."""
        default, again, *others = plan.ready.cases
        self._check_measurable(context, {probe.name: probe for probe in plan.probes})
        prepared = next((case for case in others if case.made_from), None)
        manifest = plan.ready.models[default.model].manifest
        can = context.targets[default.target].capabilities
        space = changes(
            can.settings if can else (),
            cores=cores_allowed(),
            images=default.workload == "classify",
            process=self._objective.process,
            batches=self._objective.per_item and manifest.batches,
        )
        space = [one for one in space if one != _PREPARED or prepared]
        if not space or not (can and can.computes):
            raise RunoffError(f"{default.target} has no settings to tune", "choose another: --target ort-rust")
        if any(probe.name == self._objective.probe and probe.engine == "interleaved" for probe in plan.probes):
            count = len(space) + 1
            needed = count * model_bytes(plan.ready.models[default.model])
            suite = with_room_for(context.suite, count, default.model, needed, self.say)
            context = msgspec.structs.replace(context, suite=suite)
        with Bar([], context.sampling, self.console) as bar:
            cases = (default, again, prepared)
            lab = RunLab(context, writer, bar, cases, self._objective, self._limits, plan.probes, self._budget_s)
            if reason := lab.failure(DEFAULT):
                raise RunoffError(f"the default of {default.target} failed: {reason}", "", ExitCode.CASE_FAILED)
            profile = profile_in(space, read_profile("cold" if self._objective.process else "latency"))
            found = Search(space, profile, lab, self._objective.unit, self.say).run()
        found = self._checked(found, lab, writer)
        estimates = lab.estimate(DEFAULT), lab.estimate(found.suggested)
        self.tuned = Tuned(
            found=found,
            folder=writer.folder,
            info=writer.info,
            default=estimates[0],
            best=estimates[1],
            seconds=lab.spent() * self._budget_s,
        )

    def _check_measurable(self, context: ExecutionContext, probes: Mapping[str, Probe]) -> None:
        """Raise if the machine cannot measure the objective, or a limit."""
        for objective in (self._objective, *(limit.objective for limit in self._limits)):
            probe = probes[objective.probe]
            reason = context.tool_reasons.get(probe.tool.name) if probe.tool else None
            if probe.uses_meters:
                reason = context.meters.reason
            if reason:
                raise RunoffError(f"{objective.name}: {reason.message}", reason.hint, ExitCode.NOTHING_RUNS_HERE)

    @staticmethod
    def _checked(found: Found, lab: RunLab, writer: RunWriter) -> Found:
        """Return `found` with the default as best if runoff excludes the best from results: its clock is wrong."""
        reason = excluded(read_run(writer.folder)).get(lab.case(found.best).id)
        if reason is None or found.best == DEFAULT:
            return found
        return msgspec.structs.replace(found, best=DEFAULT, refusal=str(reason))


def tune(
    model: str,
    options: OwnOptions,
    objective: Objective,
    limits: Sequence[Limit],
    results: Path,
    console: Console,
) -> Tuned:
    """Find the settings of ``options.targets`` that are best for `objective`, and return them.

    `model` is the name of a model in the zoo or the store, or the user's model as ``runoff bench`` takes it; the run's
    folder is created in `results`. ``options.time`` is the budget of the search.

    Raises
    ------
    RunoffError
        For bad input, or if the target, the objective or a limit cannot be measured on this machine.
    """
    budget_s = parse_duration(options.time) or 0.0
    text = suite_text(model, options)
    suite = parse_suite(text, f"the options for {model}")
    others = [one.objective for one in limits if objective.probe not in one.objective.metrics]
    needed = [objective.probe, *(one.probe for one in others)]
    matrix = msgspec.structs.replace(
        suite.suite,
        name=f"tune-{suite.suite.name}",
        description=f"runoff tune --objective {objective.name}",
        probes=tuple(dict.fromkeys(("accuracy", *needed))),
        baselines=(options.targets,),
    )
    suite = msgspec.structs.replace(suite, suite=matrix, measure=Measure(latency=SHORT_SETS, time=options.time))
    tuning = _Tuning(suite, text, console, objective, limits, budget_s)
    tuning.run(results)
    if tuning.tuned is None:
        raise RunoffError("the search did not end", "run it again", ExitCode.CASE_FAILED)
    return tuning.tuned
