"""The command ``runoff bisect``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

from runoff import paths
from runoff.bisect.bisection import bisect as search
from runoff.bisect.commits import own_repository
from runoff.bisect.show import document, draw, show
from runoff.cli.output import print_json, write_result
from runoff.paths import shown
from runoff.plan.own_suite import OwnOptions
from runoff.plan.suite import CustomTarget
from runoff.records.errors import ExitCode, RunoffError
from runoff.releases import environment_of, find_releases, install_release
from runoff.targets import make_all_targets, target_maker, unknown_target
from runoff.targets.base import at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from runoff.bisect.bisection import Bisected, Make
    from runoff.bisect.commits import Repository
    from runoff.environments import Say


def bisect(
    package: str,
    releases: str,
    model: str,
    target: str | None,
    metric: str,
    results: Path | None,
    command: str | None,
    build: str | None,
    *,
    everything: bool,
    as_json: bool,
    **own: Any,
) -> ExitCode:
    """Search, print the result and return the exit code.

    `own` has the options for a user's model, by the fields of `runoff.plan.own_suite.OwnOptions`.
    """
    from rich.console import Console

    console = Console(stderr=as_json)
    repository = own_repository(package, command, build)
    if repository:
        versions = _commits(repository, releases, target, console.print)
    else:
        versions = _releases(package, releases, target, console.print)
    console.print(f"{len(versions.names)} of {package}: {', '.join(versions.names)}", highlight=False)
    options = OwnOptions(**own, targets=versions.target, profile="default")
    where = results or paths.results()
    bisected = search(
        model, options, metric, versions.names, versions.make, where, console, own=versions.own, everything=everything
    )
    write_result(bisected.folder, "bisect", document(bisected), draw(bisected))
    if as_json:
        print_json(document(bisected))
    else:
        show(bisected, console)
        more = () if repository is None else ("--command", command or "", *(("--build", build) if build else ()))
        _print_end(bisected, (package, model, *(more or ("--target", bisected.target))), console)
    return ExitCode.CASE_FAILED if bisected.found.outcome == "all failed" else ExitCode.OK


class _Versions(NamedTuple):
    """What is searched."""

    names: list[str]
    target: str
    make: Make
    own: Mapping[str, CustomTarget]
    """The runner of the newest commit, as a suite's target."""


def _releases(package: str, span: str, target: str | None, say: Say) -> _Versions:
    """Return the releases of a package in `span`."""
    environment = environment_of(package)
    target = _target_on(package, environment, target)
    names = _at_least_two(package, span, find_releases(package, span))
    return _Versions(names, target, lambda usual, name: at(usual, environment, install_release(package, name, say)), {})


def _commits(repository: Repository, span: str, target: str | None, say: Say) -> _Versions:
    """Return the commits of a repository in `span`."""
    if target:
        raise RunoffError("--target and --command cannot be combined", "remove --target: the runner is the target")
    names = _at_least_two(str(repository.folder), span, repository.commits(span))
    newest = repository.target(names[-1], say)
    own = {repository.name: CustomTarget(command=newest.command, env=newest.env)}
    return _Versions(names, repository.name, lambda _, name: repository.target(name, say), own)


def _at_least_two(package: str, span: str, names: list[str]) -> list[str]:
    if len(names) < 2:  # noqa: PLR2004 (there is nothing between one)
        raise RunoffError(f"{package} {span}: {len(names)} found, at least 2 are needed", "widen the span")
    return names


def _target_on(package: str, environment: str, target: str | None) -> str:
    """Return the target that is measured: by default, the first that runs on the package.

    Raises
    ------
    RunoffError
        If `target` does not exist, or does not run on it.
    """
    able = [name for name, one in make_all_targets().items() if environment in one.environments]
    if target and target_maker(target) is None:
        raise unknown_target(target)
    if target and target not in able:
        raise RunoffError(f"{target} does not run on {package}", f"these do: {', '.join(able)}")
    if not able:
        raise RunoffError(f"no target runs on {package}", "name another package: onnxruntime, openvino, torch")
    return target or able[0]


def _print_end(bisected: Bisected, what: Sequence[str], console: Console) -> None:
    """Print where the run is, and the command that shows the change of `what` again."""
    found, lines = bisected.found, [f"run: {shown(bisected.folder)}"]
    if found.outcome == "found":
        package, *more = what
        again = ["runoff", "bisect", package, f"{found.before},{found.after}", *more, "--metric", bisected.metric]
        lines.append(f"again: {shlex.join(again)}")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
