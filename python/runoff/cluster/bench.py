"""``runoff bench --on``: a suite on many machines. What they need is packed here, the driver does the rest."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from runoff import paths
from runoff.bench import timed
from runoff.cluster import packs
from runoff.cluster.fleet import FINISHED, REQUEST, STATE
from runoff.cluster.view import View
from runoff.environments import ensure_environments, setup_command
from runoff.models.prepare import ensure_models
from runoff.plan.suite import parse_suite
from runoff.processes import describe_exit, workspace
from runoff.records.errors import ExitCode, RunoffError
from runoff.records.files import RUN_FILE, SUMMARY, measuring, new_folder, read_run, write_atomically
from runoff.targets import environments_of, find_targets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from runoff.plan.suite import Suite

ENVIRONMENT = "ray"
_NEWS_S = 300.0
"""Longest wait for the driver: it starts or joins a cluster."""
_END_S = 30.0


class Where(Struct, frozen=True, kw_only=True):
    """The machines to measure on."""

    on: str
    """``local``, ``local:N``, ``auto`` (the cluster that this machine is in), ``ray://HOST:PORT`` or ``HOST:PORT``."""
    where: dict[str, str] = {}
    """Patterns by fact of a machine."""
    each: int | None = None
    """Machines of each kind; None for all."""

    @property
    def local(self) -> bool:
        """Whether the cluster is started on this machine."""
        return self.on == "local" or self.on.startswith("local:")


def parse_where(on: str, where: Sequence[str], each: int | None) -> Where:
    """Return the machines that the options ask for.

    Raises
    ------
    RunoffError
        If an option cannot be read.
    """
    patterns = {}
    for text in where:
        key, equals, pattern = text.partition("=")
        if not equals or not key or not pattern:
            raise RunoffError(f"--where {text}: no pattern", "write it as --where 'cpu=AMD*'")
        patterns[key] = pattern
    wanted = Where(on=on, where=patterns, each=each)
    count = on.partition(":")[2]
    if wanted.local and ":" in on and not (count.isdecimal() and 0 < int(count) <= (os.cpu_count() or 1)):
        raise RunoffError(
            f"--on {on}: not a number of nodes up to the {os.cpu_count()} cores", "write it as --on local:2"
        )
    if not wanted.local and ":" not in on and on != "auto":
        raise RunoffError(f"--on {on}: no port", "write it as --on ray://HOST:10001, or --on local")
    return wanted


def machine_runs(folder: Path) -> list[Path]:
    """Return the folders of the machines' runs in a run on many machines."""
    return sorted(path.parent for path in folder.glob(f"*/{RUN_FILE}"))


def bench_on(
    wanted: Where, text: str, start: Path, results: Path, console: Console, arguments: Mapping[str, str | None]
) -> tuple[Path, ExitCode]:
    """Measure the suite in `text` on many machines; return the folder of all their runs, and the exit code.

    Parameters
    ----------
    wanted
        The machines.
    text
        The suite. Its relative paths start at `start`; those of runoff's own suites at `runoff.paths.suites`.
    results
        The folder is created in it.
    arguments
        Options of ``runoff bench`` on each machine; None if not given.
    """
    suite = parse_suite(text, "the suite")
    python = _driver_python(console)
    builtin = _builtin(text) if start == paths.suites() else ""
    sent = {} if builtin else {"suite": packs.pack(packs.suite(suite, text, start))}
    setup: list[str] = []
    if not wanted.local:
        console.print("packing runoff and the models")
        sent |= _sent(suite, console)
        setup = _heavy(suite, start) if builtin else []
    folder = new_folder(results, timed(suite))
    job = {
        "run": folder.name,
        "home": str(paths.home() / "cluster") if wanted.local else "",
        "command": [sys.executable, "-m", "runoff"] if wanted.local else [],
        "variables": {"RUNOFF_HOME": str(paths.home())} if wanted.local else {},
        "packs": sent,
        "setup": setup,
        "suite": builtin,
        "arguments": [word for name, value in arguments.items() if value for word in (name, value)],
    }
    request = {"version": 1, "suite": text, **msgspec.to_builtins(wanted), "local": wanted.local, "job": job}
    write_atomically(folder / REQUEST, json.dumps(request, indent=1).encode())
    return folder, drive(folder, python, console)


def resume_on(folder: Path, console: Console) -> ExitCode:
    """Resume a run on many machines: connect again, and measure what is missing on each of them."""
    return drive(folder, _driver_python(console), console)


def _builtin(text: str) -> str:
    """Return the name of the suite of runoff with this text; empty if there is none."""
    return next((path.stem for path in paths.suites().glob("*.toml") if path.read_text(encoding="utf-8") == text), "")


def _driver_python(console: Console) -> Path:
    """Return the interpreter of the driver, whose environment is made if it is missing."""
    ensure_environments([ENVIRONMENT], console.print)
    python = paths.environments() / ENVIRONMENT / "bin" / "python"
    if not python.exists():
        raise RunoffError(
            f"environment not found: {python.parent.parent}",
            f"run: {setup_command(ENVIRONMENT)}",
            ExitCode.NOTHING_RUNS_HERE,
        )
    return python


def _sent(suite: Suite, console: Console) -> dict[str, str]:
    """Pack runoff, and the models of the store that the suite needs; they are exported if they are missing."""
    names = [name for name in suite.names("models") if name not in suite.models]
    with workspace() as (spawner, _):
        stored = ensure_models(names, spawner, console.print)
    found = {f"models/{one.folder.name}": packs.pack(packs.model(one.folder.name)) for one in stored.values()}
    return {"runoff": packs.pack(packs.runoff()), **found}


def _heavy(suite: Suite, start: Path) -> list[str]:
    """Return the environments of the suite's targets that are on this machine, so that others make them too."""
    targets = find_targets(suite.names("targets"), suite.targets, start)
    names = dict.fromkeys(name for target in targets.values() for name in environments_of(target, segments=False))
    return [name for name in names if (paths.environments() / name / "bin" / "python").exists()]


def drive(folder: Path, python: Path, console: Console) -> ExitCode:
    """Run the driver until all machines have ended; return the exit code.

    Raises
    ------
    RunoffError
        If the cluster cannot be reached, no machine fits, or the driver ends early.
    """
    with measuring(folder), workspace() as (spawner, _), View(console) as view, _resumable(folder, view):
        argv = (str(python), "-P", "-m", "runoff.cluster.driver", str(folder.absolute()), str(packs.folder()))
        env = {**os.environ, "PYTHONPATH": str(paths.runners().parent), "RAY_USAGE_STATS_ENABLED": "0"}
        driver = spawner.start(argv, env)
        try:
            done = False
            while not done:
                line = driver.ask("\n", _NEWS_S)
                if not line:
                    raise RunoffError(f"the driver {describe_exit(driver.close(_END_S))}", _resume(folder))
                done = _show(json.loads(line), view)
        finally:
            driver.close(_END_S)
    return _exit_code(folder)


def _show(news: dict[str, Any], view: View) -> bool:
    """Show what the driver reports; return whether it is done."""
    for note in news.get("notes", ()):
        view.say(f"not used: {note}", "yellow")
    view.update(news.get("machines", ()))
    if "error" in news:
        raise RunoffError(news["error"], news["hint"], ExitCode.NOTHING_RUNS_HERE)
    return bool(news["done"])


def _resume(folder: Path) -> str:
    return f"results are saved; resume with: runoff bench --resume {paths.shown(folder)}"


@contextmanager
def _resumable(folder: Path, view: View) -> Iterator[None]:
    """After Ctrl-C, print how to resume."""
    try:
        yield
    except KeyboardInterrupt:
        view.say(f"interrupted; {_resume(folder)}")
        raise


def states(folder: Path) -> list[dict[str, Any]]:
    """Return the state of each machine of a run, from its ``machine.json``."""
    return [json.loads(path.read_bytes()) for path in sorted(folder.glob(f"*/{STATE}"))]


def _exit_code(folder: Path) -> ExitCode:
    """Return the exit code of a run on many machines.

    It is 1 if a case failed, or a machine that no other replaced; 3 if nothing ran anywhere.
    """
    found = states(folder)
    replaced = {state["replaces"] for state in found if state["state"] == FINISHED}
    codes = [
        state["code"] if state["state"] == FINISHED else ExitCode.CASE_FAILED
        for state in found
        if state["name"] not in replaced
    ]
    if codes and all(code == ExitCode.NOTHING_RUNS_HERE for code in codes):
        return ExitCode.NOTHING_RUNS_HERE
    return ExitCode.CASE_FAILED if ExitCode.CASE_FAILED in codes else ExitCode.OK


def complete_reports(folder: Path, console: Console) -> None:
    """Build the report of each machine's run that did not end, from what came home."""
    from runoff.analysis.analyse import analyse
    from runoff.report.build import write_report

    for run in machine_runs(folder):
        if not (run / SUMMARY).exists():
            console.print(f"building the report of {run.name} (about 10 s)", highlight=False)
            write_report(analyse(read_run(run)))
