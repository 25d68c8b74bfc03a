"""The commands ``bench``, ``run``, ``export`` and ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from runoff import paths
from runoff.cli.output import print_json
from runoff.environments import ensure_environments
from runoff.measure.discovery import query_capabilities
from runoff.measure.one_shot import run_process
from runoff.measure.request import make_request
from runoff.models.prepare import ensure_models, export_model
from runoff.models.prepared import prepare_models
from runoff.models.store import ModelStore
from runoff.models.zoo import find_model
from runoff.paths import shown
from runoff.plan.cases import plan_case, with_model_limits
from runoff.plan.coreml_packages import verified
from runoff.plan.settings import parse_assignments, resolve
from runoff.probes.life import LIFE
from runoff.processes import workspace
from runoff.records.errors import ExitCode, RunoffError
from runoff.records.files import RAW, read_run
from runoff.records.machine_states import CLUSTER_FILE
from runoff.records.protocol import Item
from runoff.targets import environments_of, find_targets

if TYPE_CHECKING:
    from collections.abc import Callable

    from runoff.measure.result import Outcome
    from runoff.processes import Finished
    from runoff.records.protocol import Request, Result, Workload
    from runoff.records.schema import Case

_TIMEOUT_S = 600.0
_NS_PER_MS = 1e6


def measure(
    what: str | None,
    run: Path | None,
    results: Path | None,
    precision: str | None,
    budget: str | None,
    write_suite: Path | None,
    *,
    name: str | None,
    on: str | None,
    where: tuple[str, ...],
    each: int | None,
    as_json: bool,
    **own: Any,
) -> ExitCode:
    """Measure a suite, a model or the rest of a run; write the report, print the table and return the exit code.

    `own` has the options for a model, by the fields of `runoff.plan.own_suite.OwnOptions`.
    """
    from rich.console import Console

    from runoff.bench import bench, bench_text, resume
    from runoff.plan.own_suite import OwnOptions, is_model, own_suite
    from runoff.plan.suite import find_suite

    _check_combination(run, on, name, others=(what, where, each, precision, budget))
    options, console = OwnOptions(**own, precision=precision, time=budget), Console(stderr=as_json)
    results = results or paths.results()
    text = own_suite(what, options) if what and is_model(what) else ""
    if text and write_suite:
        _write_suite(write_suite, text)
    if not text and (write_suite or options != OwnOptions(precision=precision, time=budget)):
        raise RunoffError(
            "options for a model were given, but no model", "pass an ONNX file; settings of a suite are in its file"
        )
    if on or where or each or (run and (run / CLUSTER_FILE).exists()):
        from runoff.cli import machines

        suite = find_suite(what or "quick") if not text else None
        return machines.measure(run, suite, text, on, where, each, results, precision, budget, as_json=as_json)
    if text:
        folder, code = bench_text(text, f"the options for {what}", results, console)
    elif run:
        folder, code = resume(run, console)
    else:
        folder, code = bench(find_suite(what or "quick"), results, console, precision=precision, time=budget, name=name)
    finish(folder, as_json=as_json)
    if code == ExitCode.NOTHING_RUNS_HERE:
        raise _nothing_ran(folder)
    return code


def _check_combination(run: Path | None, on: str | None, name: str | None, others: tuple[object, ...]) -> None:
    """Refuse options that a resumed run, or one on many machines, would ignore."""
    if run and (on or name or any(others)):
        raise RunoffError(
            "--resume cannot be combined with SUITE, --name, --on, --where, --each, --precision or --time",
            "a resumed run keeps its suite and options",
        )
    if on and name:
        raise RunoffError("--on and --name cannot be combined", "remove --name")


def _write_suite(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunoffError(f"--write-suite {path}: {error.strerror}", "pass a file in an existing folder") from error


def finish(folder: Path, *, as_json: bool) -> None:
    """Build the report of the run in `folder` and print its table.

    Raises
    ------
    RunoffError
        If the run has no raw results.
    """
    from rich.console import Console

    from runoff.analysis.analyse import analyse
    from runoff.report.build import write_report
    from runoff.report.overview import as_dict
    from runoff.report.terminal import show

    console, run = Console(stderr=as_json), read_run(folder)
    if not (folder / RAW).is_dir():
        raise RunoffError(
            f"{folder} has no raw results ({RAW}/) to build a report from",
            "a published run includes its report; runoff history reads its tables",
        )
    console.print("building the report (about 10 s)")
    analysis = analyse(run)
    write_report(analysis)
    if as_json:
        print_json(as_dict(analysis))
        return
    show(analysis, console)
    for name in ("report.html", "report.md"):
        console.print(f"report: {shown(folder / name)}", highlight=False, markup=False, soft_wrap=True)


def _nothing_ran(folder: Path) -> RunoffError:
    """Return the error for a run without any case that can run on this machine, with the first reason."""
    from runoff.report.text import plural

    run = read_run(folder)
    reasons = [case.skipped for case in run.info.cases if case.skipped]
    reasons += [record.reason for record in run.records if record.reason and record.status == "unsupported"]
    distinct = list(dict.fromkeys(reasons))
    others = f"; {plural(len(distinct) - 1, 'other reason')} above" if len(distinct) > 1 else ""
    message, hint = (distinct[0].message, distinct[0].hint) if distinct else ("nothing was measured", "")
    return RunoffError(
        f"none of {len(run.info.cases)} cases can run on this machine: {message}{others}",
        hint,
        ExitCode.NOTHING_RUNS_HERE,
    )


def run_once(target: str, model: str, image: Path | None, assignments: tuple[str, ...], *, as_json: bool) -> None:
    """Run one case once and print its output."""
    if image and not image.is_file():
        raise RunoffError(f"--image {image}: no such file")
    case, outcome = run_alone(target, model, "classify", assignments, lambda request: _with_image(request, image))
    if outcome.reason:
        raise RunoffError(f"{target}: {outcome.reason.message}", outcome.reason.hint, exit_code(outcome))
    if as_json:
        print_json({**msgspec.to_builtins(outcome.result), "wall_ns": outcome.finished.elapsed_ns})
    elif outcome.result:
        _print_result(outcome.result, outcome.finished, case)


def run_alone(
    target: str, model: str, workload: Workload, assignments: tuple[str, ...], edit: Callable[[Request], Request]
) -> tuple[Case, Outcome]:
    """Run one case once, with the request that `edit` makes of the usual one; return the case and its outcome.

    Raises
    ------
    RunoffError
        For bad input, and if the target cannot run the case.
    """
    settings = resolve(parse_assignments(assignments))
    wanted = find_targets([target], {}, Path())[target]
    ensure_environments(environments_of(wanted, segments=workload == "segment"), say)
    targets = find_targets([target], {}, Path())
    name = find_model(model).name
    # no conversion for a target that cannot run
    packages = [name] if targets[target].packages and not targets[target].missing else []
    with workspace() as (spawner, scratch):
        stored = ensure_models([name], spawner, say, packages)[name]
        target_info = query_capabilities(targets[target], spawner)
        case = plan_case(stored.manifest.name, workload, settings, (), stored.formats, target_info)
        (case,) = with_model_limits((case,), {target: target_info}, {name: stored.manifest})
        if not case.skipped:
            ready = prepare_models((case,), {case.model: stored}, {case.target: target_info}, spawner, say)
            (case,) = ready.cases
        if case.skipped:
            raise RunoffError(f"{target}: {case.skipped.message}", case.skipped.hint, ExitCode.NOTHING_RUNS_HERE)
        request = edit(make_request(case, ready.models[case.model], LIFE, scratch))
        return case, run_process(request, target_info.target, spawner, scratch, _TIMEOUT_S)


def export_models(models: tuple[str, ...], weights: str | None, *, force: bool, coreml: bool) -> None:
    """Export models by name; if `coreml` is set, also convert them to CoreML packages."""
    options = [*(["--weights", _absolute(weights)] if weights else []), *(["--force"] if force else [])]
    found = [find_model(name) for name in models]
    with workspace() as (spawner, _):
        for model in found:
            name = model.name
            say(f"exporting {name} ({model.takes})")
            export_model(name, spawner, *options)
            if coreml:
                say(f"converting {name} to CoreML packages (30 s)")
                export_model(name, spawner, "--coreml")
                manifest = ModelStore(paths.models()).get(name).manifest
                for form, package in manifest.packages.items():
                    say(f"{package.path}: {verified(manifest, form)}")


def _absolute(weights: str) -> str:
    return weights if weights in ("seeded", "fitted", "default") else str(Path(weights).absolute())


def _with_image(request: Request, image: Path | None) -> Request:
    batch = request.settings.batch
    if image is None:
        return msgspec.structs.replace(request, inputs=request.inputs[:batch])
    return msgspec.structs.replace(request, inputs=(Item(image=str(image.absolute())),) * batch)


def exit_code(outcome: Outcome) -> ExitCode:
    """Return the exit code for a process that failed."""
    if outcome.status == "unsupported":
        return ExitCode.NOTHING_RUNS_HERE
    kind = (outcome.result.kind or "") if outcome.result else ""
    return ExitCode.BAD_INPUT if kind.startswith(("image-", "bad-request")) else ExitCode.CASE_FAILED


def _print_result(result: Result, finished: Finished, case: Case) -> None:
    for guesses in result.top:
        for guess in guesses:
            click.echo(f"{guess.confidence:7.1%}  {guess.label or guess.index}")
    spent = [(phase.name, phase.end_ns - phase.start_ns) for phase in result.phases]
    spent.append(("exit", finished.elapsed_ns - sum(ns for _, ns in spent)))
    parts = ", ".join(f"{name} {ns / _NS_PER_MS:.1f}" for name, ns in spent)
    wall = f"{finished.elapsed_ns / _NS_PER_MS:.1f} ms from start to exit"
    click.echo(f"\n{case.target}, profile {case.settings.profile}: {wall}")
    click.echo(f"in ms: {parts}")
    click.echo("a single process is not a measurement; to measure: runoff bench")


def say(text: str) -> None:
    """Print a line of progress."""
    click.echo(text, err=True)
