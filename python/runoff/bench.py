"""``runoff bench``: the pipeline suite -> plan -> execute -> records. Analysis and report read the records later."""

from __future__ import annotations

import secrets
import time
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from runoff import __version__
from runoff.analysis.validity import excluded
from runoff.environments import ensure_environments
from runoff.measure.discovery import discover, query_tools
from runoff.measure.energy.meters import Meters, find_meters
from runoff.measure.execute import counted_jobs, execute
from runoff.measure.footprint import footprints, library_hashes
from runoff.measure.job import ExecutionContext
from runoff.measure.machine import describe_machine, variables_that_matter
from runoff.measure.progress import Bar
from runoff.measure.room import alone, with_room
from runoff.measure.stopping import Sampling
from runoff.models.own.find import own_models
from runoff.models.prepare import ensure_models
from runoff.models.prepared import Prepared, find_again, prepare_models
from runoff.models.variants import ensure_variants, wanted_variants
from runoff.paths import shown
from runoff.plan.announcement import announcement
from runoff.plan.cases import (
    make_plan,
    with_control_targets,
    with_controls,
    with_model_limits,
    with_variant_reasons,
    with_verifications,
)
from runoff.plan.suite import Suite, parse_suite, read_suite
from runoff.probes import PROBES, configured_probes
from runoff.processes import Spawner, workspace
from runoff.records.errors import ExitCode, RunoffError
from runoff.records.files import RunWriter, measuring, new_folder, read_run, repair, to_resume
from runoff.records.machine import headline, same_machine
from runoff.records.schema import RunInfo
from runoff.records.untrusted import clean
from runoff.targets import find_targets, needed_environments

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console

    from runoff.models.store import StoredModel
    from runoff.plan.target import Target, TargetInfo
    from runoff.probes.base import Probe
    from runoff.records.schema import Case, Run

    Planned = tuple[tuple[Case, ...], dict[str, TargetInfo]]
    """Cases, and the targets that they name."""


class Plan(Struct, frozen=True, kw_only=True):
    """Everything that the run measures and needs for it."""

    ready: Prepared
    """Cases and models, with prepared files."""
    targets: Mapping[str, TargetInfo]
    probes: tuple[Probe, ...]


class Pipeline:
    """The pipeline of a suite, new or resumed, from plan to records."""

    resumable = True
    name = ""
    """Of the run's folder; empty for the suite's name and the time."""
    describes_models = True
    """Whether it prints what runoff understood of the user's models."""

    def __init__(self, suite: Suite, text: str, folder: Path, console: Console, earlier: Run | None = None) -> None:
        self.suite = suite
        self.text = text
        """Of the suite's file."""
        self.folder = folder
        """Where the suite's relative paths start."""
        self.console = console
        self.earlier = earlier
        """The run to resume."""
        self.making_ns = 0
        """Time in which models were made or prepared: a model is made once, so it is no overhead of a run."""

    def run(self, results: Path) -> tuple[Path, ExitCode]:
        """Plan, execute and record. Return the run's folder and the exit code."""
        began_ns = time.monotonic_ns()
        probes = configured_probes(self.suite.measure)
        with workspace() as (spawner, scratch):
            plan = self._plan(probes, spawner)
            versions, tool_reasons = query_tools(probes, spawner)
            writer = self._open(results, plan, {"runoff": __version__, **versions})
            began_ns += self.making_ns
            writer.info.making_ns += self.making_ns
            with nullcontext() if self.earlier else measuring(writer.folder), self._accounted(writer, began_ns):
                before = self.earlier.records if self.earlier else ()
                context = ExecutionContext(
                    suite=self.suite,
                    targets=plan.targets,
                    models=plan.ready.models,
                    tool_reasons=tool_reasons,
                    spawner=spawner,
                    scratch=scratch,
                    secret=secrets.token_hex(),
                    sampling=Sampling(self.suite, writer.info, writer.folder, _widest_interval, before),
                    before=before,
                    run_folder=writer.folder,
                    meters=_find_meters(plan.ready.cases, spawner, writer.info),
                )
                self.execute(context, plan, writer)
                self._check_files(plan)
        run = read_run(writer.folder)
        writer.info.libraries = library_hashes(run)
        writer.save_info()
        return writer.folder, _exit_code(run)

    def _plan(self, probes: tuple[Probe, ...], spawner: Spawner) -> Plan:
        """Return the cases with A/A controls, the models with their prepared files, and the targets' capabilities."""
        suite = self.suite
        with self._making():
            ensure_environments(needed_environments(suite, self.folder), self.say)
            targets = find_targets(suite.names("targets"), suite.targets, self.folder)
            packages = _package_models(suite, targets)
            own = self.own_models(spawner)
            names = [name for name in suite.names("models") if name not in own]
            models = {**own, **ensure_models(names, spawner, self.console.print, packages - own.keys())}
        self.console.print(f"querying the capabilities of {len(targets)} targets (about {2 + len(targets) // 2} s)")
        discovered = discover(targets, spawner)
        with self._making():
            models, reasons = ensure_variants(models, wanted_variants(suite, discovered), spawner, self.say)
        if self.earlier:
            info = self.earlier.info
            _check_unchanged({name: models[name] for name in own}, info)
            everything = with_control_targets(info.cases, discovered)
            with self._making():
                ready = find_again(info, models, everything, spawner, self.say)
            return Plan(ready=ready, targets=everything, probes=probes)
        formats = {name: model.formats for name, model in models.items()}
        manifests = {name: model.manifest for name, model in models.items()}
        explained = with_variant_reasons(make_plan(suite, formats, discovered), reasons)
        possible = with_model_limits(explained, discovered, manifests)
        planned = with_verifications(possible, discovered, manifests)
        cases, everything = self.complete(planned, discovered)
        with self._making():
            ready = prepare_models(cases, models, everything, spawner, self.say)
        self.suite = with_room(suite, ready.cases, ready.models, everything, self.say)
        return Plan(ready=ready, targets=everything, probes=probes)

    def own_models(self, spawner: Spawner) -> dict[str, StoredModel]:
        """Return the user's models by name."""
        say = self.say if self.describes_models else lambda _: None
        return own_models(self.suite.models, self.folder, spawner, say)

    def complete(self, cases: tuple[Case, ...], targets: dict[str, TargetInfo]) -> Planned:
        """Return the planned `cases` with A/A controls, and `targets` with theirs."""
        cases = with_controls(cases, targets, self.suite.suite.baselines)
        return cases, with_control_targets(cases, targets)

    def execute(self, context: ExecutionContext, plan: Plan, writer: RunWriter) -> None:
        """Measure the plan's cases."""
        cases = plan.ready.cases
        started = [probe for probe in plan.probes if not probe.uses_meters or context.meters.found]
        jobs = [job for probe in started for job in counted_jobs(context, cases, probe)]
        for line in announcement(writer.info, sum(len(job.cases) for job in jobs), writer.folder):
            self.say(line)
        with Bar(jobs, context.sampling, self.console) as bar:
            execute(context, cases, plan.probes, writer, bar)
        writer.info.finished = _now()

    def _check_files(self, plan: Plan) -> None:
        """Check that no file of a user's model was changed while it was measured."""
        for name in self.suite.models:
            try:
                plan.ready.models[name].verify()
            except RunoffError as error:
                raise RunoffError(
                    f"{error.message}, during the run", "start a new run: its results are of two models"
                ) from error

    @contextmanager
    def _making(self) -> Iterator[None]:
        """Add the time of the block to `making_ns`."""
        began_ns = time.monotonic_ns()
        yield
        self.making_ns += time.monotonic_ns() - began_ns

    @contextmanager
    def _accounted(self, writer: RunWriter, began_ns: int) -> Iterator[None]:
        """Add the time since `began_ns` to the run, however the block ends; if interrupted, print how to resume it."""
        try:
            yield
        except KeyboardInterrupt:
            folder = shown(writer.folder)
            again = f"Resume with: runoff bench --resume {folder}" if self.resumable else f"See: runoff report {folder}"
            self.say(f"interrupted; results are saved. {again}")
            raise
        finally:
            writer.info.elapsed_ns += time.monotonic_ns() - began_ns
            writer.save_info()

    def _open(self, results: Path, plan: Plan, versions: dict[str, str | None]) -> RunWriter:
        """Return the writer of the resumed run, or of a new one in `results`."""
        if self.earlier:
            return RunWriter(self.earlier.folder, self.earlier.info)
        try:
            folder = new_folder(results, self.name or timed(self.suite))
            return RunWriter(folder, self._describe(folder.name, plan, versions))
        except OSError as error:
            raise RunoffError(f"cannot write results to {results}: {error}", "pass another --results DIR") from error

    def _describe(self, run_id: str, plan: Plan, versions: dict[str, str | None]) -> RunInfo:
        ready, measure = plan.ready, self.suite.measure
        precision, time_s = measure.stopping_rule()
        with self._making():  # what is compressed is compressed once
            sizes = footprints(ready.cases, plan.targets, ready.models, self.say, compressed=measure.compressed)
        return RunInfo(
            run_id=run_id,
            suite=msgspec.to_builtins(self.suite),
            suite_text=self.text,
            suite_folder=str(self.folder),
            cases=ready.cases,
            capabilities={name: info.capabilities for name, info in plan.targets.items() if info.capabilities},
            models={name: model.provenance(ready.reasons.get(name)) for name, model in ready.models.items()},
            machine=describe_machine(),
            tools=versions,
            seed=measure.seed,
            baselines=self.suite.suite.baselines,
            precision=precision,
            time_s=time_s,
            footprints=sizes,
            environments={
                name: variables_that_matter(info.target.environment()) for name, info in plan.targets.items()
            },
            started=_now(),
        )

    def say(self, line: str) -> None:
        """Print a line."""
        self.console.print(clean(line), highlight=False, markup=False, soft_wrap=True)


def timed(suite: Suite) -> str:
    """Return the name of a run that begins now."""
    return f"{suite.suite.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"


def bench(
    suite: Path,
    results: Path,
    console: Console,
    *,
    precision: str | None = None,
    time: str | None = None,
    name: str | None = None,
) -> tuple[Path, ExitCode]:
    """Measure the suite in a file. Return the run's folder, which is created in `results`, and the exit code.

    `precision`, such as ``2%``, and `time`, such as ``10m``, replace those of the suite. `name` is that of the folder.

    Raises
    ------
    RunoffError
        For bad input, before anything is measured.
    """
    parsed, text = read_suite(suite)
    pipeline = Pipeline(parsed.with_stopping_rule(precision, time), text, suite.parent, console)
    pipeline.name = name or ""
    return pipeline.run(results)


def bench_text(
    text: str, name: str, results: Path, console: Console, *, time: str | None = None
) -> tuple[Path, ExitCode]:
    """Measure the suite in `text`, called `name` in messages, as `bench` does; paths start at the current folder."""
    suite = parse_suite(text, name).with_stopping_rule(None, time)
    return Pipeline(suite, text, Path.cwd(), console).run(results)


def resume(folder: Path, console: Console) -> tuple[Path, ExitCode]:
    """Resume an interrupted run: measure what is missing in its folder.

    Raises
    ------
    RunoffError
        If `folder` is not a run, or its run was started on a different machine.
    """
    if to_resume(folder) != folder:
        raise RunoffError(
            f"{folder} is the run of one machine of many", f"run: runoff bench --resume {to_resume(folder)}"
        )
    earlier = read_run(folder)
    info = earlier.info
    if not same_machine(info.machine, describe_machine()):
        raise RunoffError(
            f"{folder} was started on a different machine ({headline(info.machine)})",
            "resume it there, or start a new run here",
        )
    suite = parse_suite(info.suite_text, f"{folder}: suite")
    if msgspec.convert(info.suite, Suite).measure.latency.mode == "alone":
        suite = alone(suite)  # for want of memory
    with measuring(folder):
        repair(folder)
        return Pipeline(suite, info.suite_text, Path(info.suite_folder), console, earlier).run(folder.parent)


def _check_unchanged(own: Mapping[str, StoredModel], info: RunInfo) -> None:
    """Check that the user's models are those that the run began with."""
    for name, model in own.items():
        if (info.models[name].get("sha256") or {}).items() - model.hashes.items():
            raise RunoffError(f"model {name!r} was changed after the run began", "start a new run")


def _package_models(suite: Suite, targets: Mapping[str, Target]) -> set[str]:
    """Return the models that are measured with a target that reads CoreML packages."""
    groups = [group for group in suite.groups if any(targets[name].packages for name in group.targets or ())]
    return {name for group in groups for name in group.models or ()}


def _find_meters(cases: Sequence[Case], spawner: Spawner, info: RunInfo) -> Meters:
    """Return the sources of energy readings, if a case needs them, and add them to `info`."""
    if not any(PROBES[name].uses_meters for case in cases if case.skipped is None for name in case.probes):
        return Meters()
    meters = find_meters(spawner)
    known = {meter.name: meter for meter in (*info.meters, *(meter.info for meter in meters.found))}
    info.meters = tuple(known.values())
    info.unavailable_meters = {name: str(reason) for name, reason in meters.unavailable.items() if name not in known}
    return meters


def _widest_interval(run: Run, probe: str) -> tuple[float, str] | None:
    from runoff.analysis.summary import widest_interval  # late: importing pandas takes half a second

    return widest_interval(run, probe)


def _exit_code(run: Run) -> ExitCode:
    statuses = {record.status for record in run.records}
    # what is known to be missing is not started; a process without a value had a tool or a meter that failed
    failed = any(record.status == "not-measured" and record.spawn_ns for record in run.records)
    if "error" in statuses or failed or excluded(run):
        return ExitCode.CASE_FAILED
    return ExitCode.OK if "ok" in statuses else ExitCode.NOTHING_RUNS_HERE


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
