"""The commands ``compare``, ``gate`` and ``convert``."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from msgspec import Struct

from runoff import paths
from runoff.cli.output import print_json
from runoff.compare import formats
from runoff.compare.pairing import compare_runs, compare_targets
from runoff.paths import shown
from runoff.records.errors import ExitCode, RunoffError, did_you_mean
from runoff.records.files import RUN_FILE, machine_runs, read_run, write_atomically
from runoff.records.machine_states import CLUSTER_FILE, read_states, replaced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runoff.compare.pairing import RunComparison


class _Started(Struct):
    """The field of ``run.json`` that shows which run is the latest."""

    started: str


def compare(
    first: str,
    second: str,
    *,
    run: str | None,
    metrics: Sequence[str],
    relative_to: str | None,
    raw: bool,
    different_machines: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Compare two runs or two targets, and print the result."""
    from rich.console import Console

    from runoff.compare import show

    if raw and relative_to:
        raise RunoffError("--raw and --relative-to cannot be combined", "remove one of them")
    base = "" if raw else relative_to
    comparison = _compared(first, second, run, metrics, base, different_machines=different_machines)
    if out:
        _write_page(comparison, out)
    if as_json:
        print_json(show.as_dict(comparison))
    else:
        show.print_comparison(comparison, Console())
    if out:
        click.echo(f"comparison: {shown(out / 'compare.md')}", err=as_json)


def _compared(
    first: str,
    second: str,
    run: str | None,
    metrics: Sequence[str],
    relative_to: str | None,
    *,
    different_machines: bool,
) -> RunComparison:
    sides = [_find(word) for word in (first, second)]
    if run is None and sides[0] and sides[1]:
        one, other = (formats.read(path) for path in sides if path)
        return compare_runs(one, other, metrics, relative_to, different_machines=different_machines)
    if run is None and any(sides):
        missing = second if sides[0] else first
        raise RunoffError(f"{missing}: no such run or file", "past runs: runoff list runs")
    if relative_to is not None or different_machines:
        raise RunoffError(
            "--relative-to, --raw and --allow-different-machines apply to two runs, not to two targets of one"
        )
    data = formats.read(_located(run) if run else _latest())
    return compare_targets(data, first, second, metrics)


def _find(word: str) -> Path | None:
    """Return the run or file that `word` names, as a path or as the name of a run in the results' folder."""
    for path in (Path(word), paths.results() / word):
        if path.is_file() or (path / RUN_FILE).is_file():
            return path
    return None


def _located(word: str) -> Path:
    """Return the run or file that `word` names; raise `RunoffError` if there is none."""
    path = _find(word)
    if path is None:
        raise RunoffError(f"{word}: no such run or file", "past runs: runoff list runs")
    return path


def _latest() -> Path:
    """Return the folder of the run that was started last."""
    started = {}
    for file in paths.results().glob(f"*/{RUN_FILE}"):
        with suppress(msgspec.DecodeError):  # reported by `runoff list runs`
            started[file.parent] = msgspec.json.decode(file.read_bytes(), type=_Started).started
    if not started:
        raise RunoffError(f"no run in {shown(paths.results())}", "select one with --run, or measure: runoff bench")
    return max(started, key=lambda folder: started[folder])


def _write_page(comparison: RunComparison, out: Path) -> None:
    """Write the comparison as Markdown, JSON and plots into the folder `out`."""
    from runoff.compare import forest, show

    make_folder(out)
    plot = forest.draw(comparison)
    if plot:
        write_atomically(out / "compare.svg", plot)
    write_atomically(out / "compare.md", show.markdown(comparison, "compare.svg" if plot else None).encode())
    write_atomically(out / "compare.json", msgspec.json.encode(show.as_dict(comparison)) + b"\n")


def make_folder(folder: Path) -> None:
    """Create a folder; raise `RunoffError` if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunoffError(f"{folder} cannot be created: {error.strerror}") from error


def gate(
    run: str,
    *,
    limits: Path | None,
    fail_on: Sequence[str],
    baseline: Path | None,
    save_to: Path | None,
    summary: Path | None,
    different_machines: bool,
    as_json: bool,
) -> int:
    """Check a run against limits, print the results and return the exit code."""
    from rich.console import Console

    from runoff.analysis.measurements import of_run
    from runoff.compare import gate_report, saved
    from runoff.compare.gate import gate as check_gate
    from runoff.compare.limits import GRAMMAR, parse_limit, read_limits

    requested = [*(read_limits(limits) if limits else []), *(parse_limit(text) for text in fail_on)]
    if not requested and not save_to:
        raise RunoffError("no limit: use --fail-on or --limits, or --save-baseline to save a baseline", GRAMMAR)
    before = saved.load(baseline) if baseline else None
    runs = [read_run(folder) for folder in _run_folders(run)]
    if save_to:
        if len(runs) > 1:
            raise RunoffError(f"--save-baseline: {run} has {len(runs)} runs", "pass the run of one machine")
        make_folder(save_to.parent)
        saved.save(of_run(runs[0]), save_to)
        click.echo(f"baseline: {shown(save_to)}", err=as_json)
    if not requested:
        return ExitCode.OK
    outcomes = [check_gate(measured, requested, before, different_machines=different_machines) for measured in runs]
    for outcome in outcomes:
        if summary:
            gate_report.append(outcome, summary)
        if not as_json:
            gate_report.print_gate(outcome, Console())
    if as_json:
        plain = [gate_report.as_dict(outcome) for outcome in outcomes]
        print_json(plain if len(plain) > 1 else plain[0])
    return ExitCode.OK if all(outcome.passed for outcome in outcomes) else ExitCode.CASE_FAILED


def _run_folders(word: str) -> list[Path]:
    """Return the folder of the run that `word` names, or those of all machines if it was measured on many.

    Raises
    ------
    RunoffError
        If there is no such run, or a machine has none.
    """
    if (Path(word) / CLUSTER_FILE).is_file():
        runs, states = machine_runs(Path(word)), read_states(Path(word))
        done = replaced(states.values())
        missing = [one.name for folder, one in states.items() if folder not in runs and one.name not in done]
        if missing:
            hint = f"resume with: runoff bench --resume {word}, or pass the run of one machine"
            raise RunoffError(f"{word}: no run of {', '.join(missing)}", hint, ExitCode.CASE_FAILED)
        if runs:
            return runs
    path = _located(word)
    return [path.parent if path.name == RUN_FILE else path]


def convert(source: str, target: Path, to: str | None) -> None:
    """Convert measurements from one format to another; report on stderr what the new one omits."""
    if to is not None and to not in formats.WRITERS:
        raise RunoffError(f"--to {to}: no such format", did_you_mean(to, formats.WRITERS))
    data = formats.read(_located(source))
    make_folder(target.parent)
    losses = formats.write(data, target, to)
    if losses:
        click.echo(f"runoff: {target.name} omits: {', '.join(losses)}", err=True)
