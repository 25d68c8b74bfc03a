"""One bisection: an ordinary run, whose cases are the releases that the search measures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from runoff.adaptive.lab import Lab
from runoff.adaptive.objective import OBJECTIVES, Objective
from runoff.adaptive.suite import SHORT_SETS, suite_text
from runoff.analysis.verdict import Verdict, decide, floor_of
from runoff.bench import Pipeline
from runoff.bisect import search
from runoff.measure.discovery import query_capabilities
from runoff.measure.progress import Bar
from runoff.measure.room import model_bytes, with_room_for
from runoff.plan.cases import control_case, renamed
from runoff.plan.suite import Measure, parse_suite
from runoff.records.errors import ExitCode, RunoffError
from runoff.statistics import Ratio, paired

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import Console

    from runoff.bench import Plan, Planned
    from runoff.bisect.search import Found, Logs
    from runoff.measure.job import ExecutionContext
    from runoff.plan.own_suite import OwnOptions
    from runoff.plan.suite import CustomTarget, Suite
    from runoff.plan.target import Target, TargetInfo
    from runoff.records.files import RunWriter
    from runoff.records.schema import Case

    Make = Callable[[Target, str], Target]
    """From the target as it is and a release to the target on that release."""

METRICS = {
    **{name: OBJECTIVES[name] for name in ("latency", "cold", "memory")},
    "accuracy": Objective(
        name="accuracy",
        what="largest difference from PyTorch's outputs, relative",
        unit="count",
        metrics={"accuracy": ("max_rel_diff",)},
    ),
}
ERROR = 0.05
"""Largest share of searches that are wrong."""


class Bisected(Struct, frozen=True, kw_only=True):
    """The result of a bisection."""

    target: str
    model: str
    metric: str
    releases: tuple[str, ...]
    """All of the span, oldest first."""
    found: Found
    change: Verdict
    """Of ``found.after`` compared with ``found.before``, in fresh processes."""
    trend: dict[str, Ratio]
    """By release that was measured, oldest first: the first of them / the release. Above 1, it takes less."""
    folder: Path
    """Of the run."""


class ReleaseLab(Lab):
    """A `runoff.bisect.search.Lab`: a release is a case of the run, whose target has the release in its name.

    `pattern` is the case of the target as it is; `make` returns the target on a release.
    """

    def __init__(
        self, context: ExecutionContext, writer: RunWriter, bar: Bar, plan: Plan, objective: Objective, make: Make
    ) -> None:
        super().__init__(context, writer, bar, plan.probes, [objective])
        (self._pattern,) = plan.ready.cases
        self._target = context.targets[self._pattern.target].target
        self._spawner, self._objective, self._make = context.spawner, objective, make
        self._missing: dict[str, str] = {}

    def measure(self, releases: Sequence[str], *, control: str = "") -> None:
        """Measure one block, with fresh processes; `control` is a release that is measured a second time."""
        for release in releases:
            self._admit(release)
        cases = [self.case(release) for release in releases if not self.failure(release)]
        if control:
            again = control_case(self.case(control))
            if not self.has(again):
                self.add([(again, self._targets[self.case(control).target])])
            cases.append(again)
        self.run(cases, self._objective.probe, self.block)
        self.block += 1

    def logs(self, over: str, under: str, since: int) -> Logs:
        """Return the logarithms of over / under of each block from `since` on, shape ``(pairs,)``."""
        return self.logs_of(self._objective, self.case(over), self.case(under), since)

    def control_logs(self, release: str, since: int) -> Logs:
        """Return the logarithms of the second measurement of a release / the first."""
        return self.logs_of(self._objective, control_case(self.case(release)), self.case(release), since)

    def failure(self, release: str) -> str:
        """Return the reason if a release failed, or could not be installed; empty if it did not."""
        return self._missing.get(release, "") or self.failure_of(self.case(release))

    def measured(self, releases: Sequence[str]) -> list[str]:
        """Return those of `releases` that were measured, in their order."""
        return [name for name in releases if self.has(self.case(name)) and not self.failure(name)]

    def case(self, release: str) -> Case:
        """Return the case of a release, which need not be measured yet."""
        return renamed(self._pattern, f"{self._pattern.target}-{release}")

    def _admit(self, release: str) -> None:
        """Install a release and add its case to the run, unless it is there or cannot be."""
        case = self.case(release)
        if self.has(case) or release in self._missing:
            return
        try:
            target = msgspec.structs.replace(self._make(self._target, release), name=case.target)
        except RunoffError as error:
            self._missing[release] = error.message
            return
        found = query_capabilities(target, self._spawner)
        if found.capabilities is None:
            self._missing[release] = str(found.reason)
        else:
            self.add([(case, found)])


class _Bisection(Pipeline):
    """The pipeline, with the search in place of a suite's passes."""

    resumable = False

    def __init__(
        self,
        suite: Suite,
        text: str,
        console: Console,
        objective: Objective,
        releases: Sequence[str],
        make: Make,
        *,
        everything: bool,
    ) -> None:
        super().__init__(suite, text, Path.cwd(), console)
        self._objective, self._releases, self._make, self._everything = objective, releases, make, everything
        self.bisected: Bisected | None = None

    def complete(self, cases: tuple[Case, ...], targets: dict[str, TargetInfo]) -> Planned:
        """Return the case of the target as it is: the pattern of those of the releases."""
        if cases[0].skipped:
            reason = cases[0].skipped
            raise RunoffError(f"{cases[0].target}: {reason.message}", reason.hint, ExitCode.NOTHING_RUNS_HERE)
        return cases, targets

    def execute(self, context: ExecutionContext, plan: Plan, writer: RunWriter) -> None:
        """Search, measure all that was found once more, and keep the result in `bisected`."""
        (pattern,) = plan.ready.cases
        count = len(self._releases) if self._everything else 3
        needed = count * model_bytes(plan.ready.models[pattern.model])
        suite = with_room_for(context.suite, count, pattern.model, needed, self.say)
        context = msgspec.structs.replace(context, suite=suite)
        exact = self._objective.name == "accuracy"
        with Bar([], context.sampling, self.console) as bar:
            lab = ReleaseLab(context, writer, bar, plan, self._objective, self._make)
            found = search.Search(self._releases, lab, ERROR, self.say, exact=exact).run()
            names = list(self._releases) if self._everything else lab.measured(self._releases)
            since, change = lab.block, Verdict()
            if lab.measured(names):
                self.say(f"measuring {len(names)} releases in fresh processes")
                for _ in range(1 if exact else search.CONFIRMATION):
                    lab.measure(names, control=next(iter({found.before} & {*lab.measured(names)}), ""))
                names = lab.measured(names)
            if {found.before, found.after} <= {*names}:
                change = self._verdict(lab, found, since)
        self.bisected = Bisected(
            target=pattern.target,
            model=pattern.model,
            metric=self._objective.name,
            releases=tuple(self._releases),
            found=found,
            change=change,
            trend={name: paired(lab.logs(names[0], name, since)) for name in names},
            folder=writer.folder,
        )

    def _verdict(self, lab: ReleaseLab, found: Found, since: int) -> Verdict:
        ratio = paired(lab.logs(found.before, found.after, since))
        control = lab.control_logs(found.before, since)
        return decide(ratio, ratio.p, floor_of(paired(control) if control else None), self._objective.unit)


def bisect(
    model: str,
    options: OwnOptions,
    metric: str,
    releases: Sequence[str],
    make: Make,
    results: Path,
    console: Console,
    *,
    own: Mapping[str, CustomTarget] | None = None,
    everything: bool = False,
) -> Bisected:
    """Find between which of `releases`, oldest first, a metric of ``options.targets`` changed, and return it.

    `make` returns the target on a release; the target is one of the user's `own`, or any other. `model` is the name of
    one in the zoo or the store, or the user's. The run's folder is created in `results`. With `everything`, all
    releases are measured at the end.

    Raises
    ------
    RunoffError
        For bad input, or if the target cannot be measured on this machine.
    """
    objective = METRICS[metric]
    text = suite_text(model, options)
    suite = parse_suite(text, f"the options for {model}")
    matrix = msgspec.structs.replace(
        suite.suite,
        name=f"bisect-{suite.suite.name}",
        description=f"runoff bisect --metric {metric}, {releases[0]} to {releases[-1]}",
        probes=tuple(dict.fromkeys(("accuracy", objective.probe))),
        baselines=(f"{options.targets}-{releases[0]}",),
    )
    suite = msgspec.structs.replace(suite, suite=matrix, targets={**(own or {})}, measure=Measure(latency=SHORT_SETS))
    bisection = _Bisection(suite, text, console, objective, releases, make, everything=everything)
    bisection.run(results)
    if bisection.bisected is None:
        raise RunoffError("the search did not end", "run it again", ExitCode.CASE_FAILED)
    return bisection.bisected
