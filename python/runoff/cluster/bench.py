"""``runoff bench --on``: a suite on many machines. What they need is packed here, the driver does the rest."""

from __future__ import annotations

import json
import os
import secrets
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from rich.text import Text

from runoff import paths
from runoff.bench import timed
from runoff.cluster import packs
from runoff.cluster.view import View
from runoff.environments import environment_python
from runoff.models.prepare import ensure_models
from runoff.plan.settings import cores_in_affinity
from runoff.plan.suite import parse_suite
from runoff.processes import describe_exit, workspace
from runoff.records.errors import ExitCode, RunoffError
from runoff.records.files import SUMMARY, machine_runs, measuring, new_folder, read_run, write_atomically
from runoff.records.machine_states import CLUSTER_FILE, FINISHED, read_states, replaced
from runoff.records.untrusted import clean
from runoff.targets import environments_of, find_targets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from runoff.plan.suite import Suite

ENVIRONMENT = "ray"
_RESPONSE_TIMEOUT_S = 300.0
"""Longest wait for the driver: it starts or joins a cluster."""
_END_S = 30.0


class MachineSelection(Struct, frozen=True, kw_only=True):
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


def parse_where(on: str, where: Sequence[str], each: int | None) -> MachineSelection:
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
    wanted = MachineSelection(on=on, where=patterns, each=each)
    count, cores = on.partition(":")[2], cores_in_affinity()
    if wanted.local and ":" in on and not (count.isdecimal() and 0 < int(count) <= cores):
        raise RunoffError(f"--on {on}: N must be 1 to {cores}", "write it as --on local:N")
    if not wanted.local and ":" not in on and on != "auto":
        raise RunoffError(f"--on {on}: no port", "write it as --on ray://HOST:10001, or --on local")
    return wanted


def bench_on(
    wanted: MachineSelection,
    text: str,
    start: Path,
    results: Path,
    console: Console,
    arguments: Mapping[str, str | None],
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
    python = environment_python(ENVIRONMENT, console.print)
    builtin = _builtin(text) if start == paths.suites() else ""
    sent = {} if builtin else {"suite": packs.pack(packs.suite(suite, text, start))}
    setup: list[str] = []
    if not wanted.local:
        console.print("packing runoff and the models")
        sent |= _sent(suite, console)
        setup = _installed_environments(suite, start) if builtin else []
    folder = new_folder(results, timed(suite))
    job = {
        # two runs may start in the same second, from two machines
        "run": f"{folder.name}-{secrets.token_hex(4)}",
        "home": str(paths.home() / "cluster") if wanted.local else "",
        "command": [sys.executable, "-m", "runoff"] if wanted.local else [],
        "variables": {"RUNOFF_HOME": str(paths.home())} if wanted.local else {},
        "packs": sent,
        "setup": setup,
        "suite": builtin,
        "arguments": [word for name, value in arguments.items() if value for word in (name, value)],
    }
    request = {"version": 1, "suite": text, **msgspec.to_builtins(wanted), "local": wanted.local, "job": job}
    write_atomically(folder / CLUSTER_FILE, json.dumps(request, indent=1).encode())
    return folder, drive(folder, python, console)


def resume_on(folder: Path, console: Console) -> ExitCode:
    """Resume a run on many machines: connect again, and measure what is missing on each of them."""
    return drive(folder, environment_python(ENVIRONMENT, console.print), console)


def _builtin(text: str) -> str:
    """Return the name of the suite of runoff with this text; empty if there is none."""
    return next((path.stem for path in paths.suites().glob("*.toml") if path.read_text(encoding="utf-8") == text), "")


def _sent(suite: Suite, console: Console) -> dict[str, str]:
    """Pack runoff, and the models of the store that the suite needs; they are exported if they are missing."""
    names = [name for name in suite.names("models") if name not in suite.models]
    with workspace() as (spawner, _):
        stored = ensure_models(names, spawner, console.print)
    found = {f"models/{one.folder.name}": packs.pack(packs.model(one.folder.name)) for one in stored.values()}
    return {"runoff": packs.pack(packs.runoff()), **found}


def _installed_environments(suite: Suite, start: Path) -> list[str]:
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
                line = driver.ask("\n", _RESPONSE_TIMEOUT_S)
                if not line:
                    raise RunoffError(f"the driver {describe_exit(driver.close(_END_S))}", _resume(folder))
                done = _show(json.loads(line), view, folder)
        finally:
            driver.close(_END_S)
    return _exit_code(folder)


def _show(news: dict[str, Any], view: View, folder: Path) -> bool:
    """Show what the driver reports; return whether it is done."""
    for note in news.get("notes", ()):
        view.say(f"not used: {note}", "yellow")
    view.update(news.get("machines", ()))
    if "error" in news:
        hint = "; ".join(filter(None, (news["hint"], _resume(folder))))
        raise RunoffError(news["error"], hint, ExitCode(news["code"]))
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


def _exit_code(folder: Path) -> ExitCode:
    """Return the exit code of a run on many machines.

    It is 1 if a case failed, or a machine that no other replaced; 3 if nothing ran anywhere.
    """
    states = read_states(folder).values()
    done = replaced(states)
    codes = [
        state.code if state.state == FINISHED else ExitCode.CASE_FAILED for state in states if state.name not in done
    ]
    if codes and all(code == ExitCode.NOTHING_RUNS_HERE for code in codes):
        return ExitCode.NOTHING_RUNS_HERE
    return ExitCode.CASE_FAILED if ExitCode.CASE_FAILED in codes else ExitCode.OK


def complete_reports(folder: Path, console: Console) -> None:
    """Build the report of each machine's run that did not end, from its records on this machine."""
    from runoff.analysis.analyse import analyse
    from runoff.report.build import write_report

    finished = {run for run, state in read_states(folder).items() if state.state == FINISHED}
    for run in machine_runs(folder):
        if run in finished and (run / SUMMARY).exists():
            continue
        console.print(f"building the report of {run.name} (about 10 s)", highlight=False)
        try:
            write_report(analyse(read_run(run)))
        except RunoffError as error:
            console.print(Text(clean(f"{run.name}: no report: {error}"), style="yellow"), soft_wrap=True)
