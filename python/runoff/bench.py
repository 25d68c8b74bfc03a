"""``runoff bench``: the pipeline from suite to report."""

from __future__ import annotations

import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from runoff import __version__
from runoff.errors import ExitCode, RunoffError
from runoff.execute import Bench, execute, make_jobs
from runoff.machine import describe_machine, headline, same_machine
from runoff.models.prepare import ensure_models
from runoff.models.prepared import Prepared, find_again, prepare_models
from runoff.plan import make_plan
from runoff.probes import passes
from runoff.processes import Spawner
from runoff.progress import Bar
from runoff.store import RunInfo, RunWriter, read_run, repair
from runoff.suite import parse_suite, read_suite
from runoff.survey import ask_tool, survey
from runoff.targets import find_targets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console

    from runoff.models.store import StoredModel
    from runoff.plan import Case, Offer
    from runoff.probes.base import Probe
    from runoff.reason import Reason
    from runoff.store import Record
    from runoff.suite import Suite


class _Given(Struct, frozen=True, kw_only=True):
    """What a sitting starts from: a suite file, or a run that was interrupted."""

    suite: Suite
    text: str
    folder: Path
    """The suite's folder."""
    run: Path | None = None
    """The run to go on with."""


@contextmanager
def workspace() -> Iterator[tuple[Spawner, Path]]:
    """Give a spawner and a scratch folder; both are gone at the end, with all that was started."""
    with tempfile.TemporaryDirectory(prefix="runoff-") as folder, Spawner(Path(folder) / "log") as spawner:
        yield spawner, Path(folder)


def bench(suite: Path, results: Path, console: Console) -> tuple[Path, ExitCode]:
    """Measure a suite. Return the run's folder and the exit code.

    Raises
    ------
    RunoffError
        For bad input, before anything is measured.
    """
    parsed, text = read_suite(suite)
    return _sit(_Given(suite=parsed, text=text, folder=suite.parent), results, console)


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
    suite, probes = given.suite, passes(given.suite.measure.latency)
    targets = find_targets(_names(suite, "targets"), suite.targets, given.folder)
    with workspace() as (spawner, scratch):
        models = ensure_models(_names(suite, "models"), spawner, console.print)
        console.print(f"asking {len(targets)} targets what they can do (about {2 + len(targets)} s)")
        offers = survey(targets, spawner)
        versions, tool_reasons = _ask_tools(probes, spawner)
        ready = _plan(given, models, offers, spawner, console)
        writer, before = _open_run(given, results, ready, offers, versions)
        jobs = [job for turn in make_jobs(suite, ready.cases, probes) for job in turn]
        _say(console, _announcement(ready.cases, len(jobs), writer.folder))
        work = Bench(
            suite=suite,
            offers=offers,
            models=ready.models,
            tool_reasons=tool_reasons,
            spawner=spawner,
            scratch=scratch,
        )
        try:
            with Bar(jobs, console) as bar:
                execute(work, jobs, before, writer, bar)
            writer.info.finished = _now()
        except KeyboardInterrupt:
            again = f"runoff bench --resume {shown(writer.folder)}"
            _say(console, f"interrupted; what was measured is kept. Go on with: {again}")
            raise
        finally:
            writer.info.elapsed_ns += time.monotonic_ns() - began
            writer.save_info()
    return writer.folder, _exit_code(read_run(writer.folder).records, ready.cases)


def _plan(
    given: _Given, models: Mapping[str, StoredModel], offers: Mapping[str, Offer], spawner: Spawner, console: Console
) -> Prepared:
    """Return the cases, and the models with their prepared files."""

    def say(line: str) -> None:
        _say(console, line)

    if given.run:
        return find_again(read_run(given.run).info, models, spawner, say)
    formats = {name: model.formats for name, model in models.items()}
    return prepare_models(make_plan(given.suite, formats, offers), models, offers, spawner, say)


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _names(suite: Suite, key: str) -> list[str]:
    return list(dict.fromkeys(name for group in suite.choices for name in getattr(group, key)))


def _ask_tools(probes: Sequence[Probe], spawner: Spawner) -> tuple[dict[str, str | None], dict[str, Reason]]:
    answers = {probe.tool.name: ask_tool(probe.tool, spawner) for probe in probes if probe.tool}
    versions = {"runoff": __version__, **{name: version for name, (version, _) in answers.items()}}
    return versions, {name: reason for name, (_, reason) in answers.items() if reason}


def _open_run(
    given: _Given,
    results: Path,
    ready: Prepared,
    offers: Mapping[str, Offer],
    versions: dict[str, str | None],
) -> tuple[RunWriter, tuple[Record, ...]]:
    if given.run:
        run = read_run(given.run)
        return RunWriter(given.run, run.info), run.records
    run_id = f"{given.suite.suite.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    info = RunInfo(
        run_id=run_id,
        suite=msgspec.to_builtins(given.suite),
        suite_text=given.text,
        suite_folder=str(given.folder),
        cases=ready.cases,
        capabilities={name: offer.capabilities for name, offer in offers.items() if offer.capabilities},
        models={name: _provenance(model, ready.reasons.get(name)) for name, model in ready.models.items()},
        machine=describe_machine(),
        tools=versions,
        seed=given.suite.measure.seed,
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
    told: dict[str, object] = {
        "source": manifest.source,
        "weights": manifest.weights,
        "sha256": hashes,
        "made_with": manifest.made_with,
    }
    if model.prepared:
        told["prepared"] = {"sha256": model.prepared.sha256, "key": model.prepared.key}
    if not_prepared:
        told["not_prepared"] = str(not_prepared)
    return told


def _announcement(cases: Sequence[Case], jobs: int, folder: Path) -> str:
    here = [case for case in cases if case.skipped is None]
    lines = [f"{len(here)} of {len(cases)} cases can run here; {jobs} processes to measure, into {shown(folder)}"]
    reasons = {case.target: str(case.skipped) for case in cases if case.skipped}
    return "\n".join([*lines, *(f"not here: {target}: {reason}" for target, reason in reasons.items())])


def _exit_code(records: Sequence[Record], cases: Sequence[Case]) -> ExitCode:
    if any(record.status == "error" for record in records):
        return ExitCode.CASE_FAILED
    answered = {record.case for record in records if record.status == "ok"}
    return ExitCode.OK if answered & {case.id for case in cases} else ExitCode.NOTHING_RUNS_HERE


def shown(path: Path) -> str:
    """Return `path` as a person would type it: relative to the working folder where it lies below it."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
