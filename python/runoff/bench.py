"""``runoff bench``: the pipeline from suite to report."""

from __future__ import annotations

import hashlib
import secrets
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from runoff import __version__
from runoff.measure.discovery import discover, query_tool
from runoff.measure.energy.meters import Meters, find_meters
from runoff.measure.execute import counted_jobs, execute
from runoff.measure.footprint import footprints
from runoff.measure.job import ExecutionContext
from runoff.measure.machine import describe_machine, variables_that_matter
from runoff.measure.progress import Bar
from runoff.measure.stopping import Sampling
from runoff.models.prepare import ensure_models
from runoff.models.prepared import Prepared, find_again, prepare_models
from runoff.paths import shown
from runoff.plan.cases import make_plan, with_control_targets, with_controls, with_proofs
from runoff.plan.quantities import parse_duration, parse_percent
from runoff.plan.suite import parse_suite, read_suite
from runoff.probes import PROBES, configured_probes
from runoff.processes import Spawner, workspace
from runoff.records.errors import ExitCode, RunoffError
from runoff.records.files import RunWriter, read_run, repair
from runoff.records.machine import headline, same_machine
from runoff.records.schema import RunInfo
from runoff.targets import find_targets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from runoff.measure.job import Job
    from runoff.models.store import StoredModel
    from runoff.plan.suite import Suite
    from runoff.plan.target import Target, TargetInfo
    from runoff.probes.base import Probe
    from runoff.records.reason import Reason
    from runoff.records.schema import Case, Record, Run


class StoppingRule(Struct, frozen=True):
    """What is asked for on the command line; it goes before the suite's own."""

    precision: str | None = None
    time: str | None = None


class _Given(Struct, frozen=True, kw_only=True):
    """What a sitting starts from: a suite file, or a run that was interrupted."""

    suite: Suite
    text: str
    folder: Path
    """The suite's folder."""
    run: Path | None = None
    """The run to go on with."""
    goal: StoppingRule = StoppingRule()


def bench(suite: Path, results: Path, console: Console, goal: StoppingRule | None = None) -> tuple[Path, ExitCode]:
    """Measure a suite. Return the run's folder and the exit code.

    Raises
    ------
    RunoffError
        For bad input, before anything is measured.
    """
    parsed, text = read_suite(suite)
    given = _Given(suite=parsed, text=text, folder=suite.parent, goal=goal or StoppingRule())
    _goal(given)
    return _sit(given, results, console)


def resume(folder: Path, console: Console) -> tuple[Path, ExitCode]:
    """Go on with an interrupted run: what is in its folder is not measured again.

    Raises
    ------
    RunoffError
        When `folder` is not a run, or one of another machine.
    """
    info = read_run(folder).info
    if not same_machine(info.machine, describe_machine()):
        raise RunoffError(f"{folder} was begun on another machine ({headline(info.machine)})", "start a new run there")
    repair(folder)
    suite = parse_suite(info.suite_text, f"{folder}: suite")
    given = _Given(suite=suite, text=info.suite_text, folder=Path(info.suite_folder), run=folder)
    return _sit(given, folder.parent, console)


def _sit(given: _Given, results: Path, console: Console) -> tuple[Path, ExitCode]:
    """Measure in one sitting, and account for its time, however it ends."""
    began = time.monotonic_ns()
    suite, probes = given.suite, configured_probes(given.suite.measure)
    targets = find_targets(_names(suite, "targets"), suite.targets, given.folder)
    with workspace() as (spawner, scratch):
        models = ensure_models(_names(suite, "models"), spawner, console.print, _with_packages(suite, targets))
        console.print(f"asking {len(targets)} targets what they can do (about {2 + len(targets)} s)")
        targets_info = discover(targets, spawner)
        versions, tool_reasons = _ask_tools(probes, spawner)
        ready, targets_info = _plan(given, models, targets_info, spawner, console)
        writer, before = _open_run(given, results, ready, targets_info, versions)
        sampling = Sampling(suite, writer.info, writer.folder, _widest_interval)
        work = ExecutionContext(
            suite=suite,
            targets_info=targets_info,
            models=ready.models,
            tool_reasons=tool_reasons,
            spawner=spawner,
            scratch=scratch,
            secret=secrets.token_hex(),
            sampling=sampling,
            before=before,
            meters=_find_meters(ready.cases, spawner, writer.info),
        )
        started = [probe for probe in probes if not probe.uses_meters or work.meters.found]
        jobs = [job for probe in started for job in counted_jobs(work, ready.cases, probe)]
        _say(console, _announcement(ready.cases, jobs, writer))
        try:
            with Bar(jobs, sampling, console) as bar:
                execute(work, ready.cases, probes, writer, bar)
            writer.info.finished = _now()
        except KeyboardInterrupt:
            again = f"runoff bench --resume {shown(writer.folder)}"
            _say(console, f"interrupted; what was measured is kept. Go on with: {again}")
            raise
        finally:
            writer.info.elapsed_ns += time.monotonic_ns() - began
            writer.save_info()
    run = read_run(writer.folder)
    writer.info.libraries = _hash_libraries(run)
    writer.save_info()
    return writer.folder, _exit_code(run.records, ready.cases)


def _plan(
    given: _Given,
    models: Mapping[str, StoredModel],
    targets_info: Mapping[str, TargetInfo],
    spawner: Spawner,
    console: Console,
) -> tuple[Prepared, dict[str, TargetInfo]]:
    """Return the cases with the baselines' twins, the models with their prepared files, and the offers of all."""

    def say(line: str) -> None:
        _say(console, line)

    if given.run:
        info = read_run(given.run).info
        return find_again(info, models, spawner, say), with_control_targets(info.cases, targets_info)
    formats = {name: model.formats for name, model in models.items()}
    manifests = {name: model.manifest for name, model in models.items()}
    planned = with_proofs(make_plan(given.suite, formats, targets_info), targets_info, manifests)
    cases = with_controls(planned, targets_info, given.suite.suite.baselines)
    every = with_control_targets(cases, targets_info)
    return prepare_models(cases, models, every, spawner, say), every


def _goal(given: _Given) -> tuple[float | None, float | None]:
    """Return the precision and the budget in seconds that are asked for: on the command line, else in the suite."""
    asked = given.suite.measure
    return parse_percent(given.goal.precision or asked.precision), parse_duration(given.goal.time or asked.time)


def _hash_libraries(run: Run) -> dict[str, str]:
    """Return the SHA-256 of the shared libraries that runners named; one that cannot be read is left out."""
    named = {can.library for can in run.info.capabilities.values()}
    named |= {record.result.effective.library for record in run.records if record.result and record.result.effective}
    hashes = {}
    for library in sorted(path for path in named if path):
        with suppress(OSError), Path(library).open("rb") as file:
            hashes[library] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _names(suite: Suite, key: str) -> list[str]:
    return list(dict.fromkeys(name for group in suite.choices for name in getattr(group, key)))


def _with_packages(suite: Suite, targets: Mapping[str, Target]) -> set[str]:
    """Return the models that a target which reads CoreML packages is measured with."""
    groups = [group for group in suite.choices if any(targets[name].packages for name in group.targets or ())]
    return {name for group in groups for name in group.models or ()}


def _ask_tools(probes: Sequence[Probe], spawner: Spawner) -> tuple[dict[str, str | None], dict[str, Reason]]:
    answers = {probe.tool.name: query_tool(probe.tool, spawner) for probe in probes if probe.tool}
    versions = {"runoff": __version__, **{name: version for name, (version, _) in answers.items()}}
    return versions, {name: reason for name, (_, reason) in answers.items() if reason}


def _find_meters(cases: Sequence[Case], spawner: Spawner, info: RunInfo) -> Meters:
    """Return the sources of energy readings, if energy is asked for, and note them in the run."""
    if not any(PROBES[name].uses_meters for case in cases if case.skipped is None for name in case.probes):
        return Meters()
    meters = find_meters(spawner)
    known = {meter.name: meter for meter in (*info.meters, *(meter.info for meter in meters.found))}
    info.meters = tuple(known.values())
    info.meters_lacking = {name: str(reason) for name, reason in meters.lacking.items() if name not in known}
    return meters


def _open_run(
    given: _Given,
    results: Path,
    ready: Prepared,
    targets_info: Mapping[str, TargetInfo],
    versions: dict[str, str | None],
) -> tuple[RunWriter, tuple[Record, ...]]:
    if given.run:
        run = read_run(given.run)
        return RunWriter(given.run, run.info), run.records
    precision, time_s = _goal(given)
    run_id = f"{given.suite.suite.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    info = RunInfo(
        run_id=run_id,
        suite=msgspec.to_builtins(given.suite),
        suite_text=given.text,
        suite_folder=str(given.folder),
        cases=ready.cases,
        capabilities={
            name: target_info.capabilities for name, target_info in targets_info.items() if target_info.capabilities
        },
        models={name: _provenance(model, ready.reasons.get(name)) for name, model in ready.models.items()},
        machine=describe_machine(),
        tools=versions,
        seed=given.suite.measure.seed,
        baselines=given.suite.suite.baselines,
        precision=precision,
        time_s=time_s,
        footprints=footprints(ready.cases, targets_info, ready.models),
        environments={
            name: variables_that_matter(target_info.target.environment()) for name, target_info in targets_info.items()
        },
        started=_now(),
    )
    try:
        return RunWriter(results / run_id, info), ()
    except OSError as error:
        raise RunoffError(
            f"results cannot be written to {results}: {error}", "give another folder: --results DIR"
        ) from error


def _provenance(model: StoredModel, not_prepared: Reason | None) -> dict[str, object]:
    manifest = model.manifest
    hashes = {name: file.sha256 for name, file in manifest.files.items()}
    hashes |= {name: package.sha256 for name, package in manifest.packages.items()}
    told: dict[str, object] = {
        "source": manifest.source,
        "weights": manifest.weights,
        "sha256": hashes,
        "made_with": manifest.made_with,
    }
    if model.prepared:
        told["prepared"] = {form: {"sha256": file.sha256, "key": file.key} for form, file in model.prepared.items()}
    if not_prepared:
        told["not_prepared"] = str(not_prepared)
    return told


def _announcement(cases: Sequence[Case], jobs: Sequence[Job], writer: RunWriter) -> str:
    here, info = [case for case in cases if case.skipped is None], writer.info
    processes = sum(len(job.cases) for job in jobs)
    goals = [f"until intervals are within {info.precision:.2g} of the value" if info.precision else ""]
    goals += [f"for {info.time_s:.0f} s" if info.time_s else ""]
    asked = ", or ".join(goal for goal in goals if goal) or f"{processes} processes to measure"
    lines = [f"{len(here)} of {len(cases)} cases can run here; {asked}, into {shown(writer.folder)}"]
    reasons: dict[str, dict[str, None]] = {}
    for case in cases:
        if case.skipped:
            reasons.setdefault(str(case.skipped), {})[case.target] = None
    return "\n".join([*lines, *(f"not here: {', '.join(targets)}: {reason}" for reason, targets in reasons.items())])


def _exit_code(records: Sequence[Record], cases: Sequence[Case]) -> ExitCode:
    if any(record.status == "error" for record in records):
        return ExitCode.CASE_FAILED
    answered = {record.case for record in records if record.status == "ok"}
    return ExitCode.OK if answered & {case.id for case in cases} else ExitCode.NOTHING_RUNS_HERE


def nothing_ran(folder: Path) -> RunoffError:
    """Return the failure of the run in `folder`, none of whose cases could run here, in the words of the first."""
    from runoff.report.text import plural  # late: it brings what the report needs

    run = read_run(folder)
    reasons = [case.skipped for case in run.info.cases if case.skipped]
    reasons += [record.reason for record in run.records if record.reason and record.status == "unsupported"]
    told = list(dict.fromkeys(reasons))
    others = f"; {plural(len(told) - 1, 'other reason')} above" if len(told) > 1 else ""
    message, hint = (told[0].message, told[0].hint) if told else ("there is no answer", "")
    return RunoffError(
        f"{len(run.info.cases)} cases, none can run here: {message}{others}", hint, ExitCode.NOTHING_RUNS_HERE
    )


def _widest_interval(run: Run, probe: str) -> tuple[float, str] | None:
    from runoff.analysis.summary import widest_interval  # late: pandas takes half a second

    return widest_interval(run, probe)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
