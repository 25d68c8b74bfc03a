"""The command ``runoff bisect``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import msgspec

from runoff import paths
from runoff.bisect.bisection import bisect as search
from runoff.bisect.show import document, draw, show
from runoff.cli.output import print_json
from runoff.paths import shown
from runoff.plan.own_suite import OwnOptions
from runoff.records.errors import ExitCode, RunoffError
from runoff.records.files import write_atomically
from runoff.releases import environment_of, find_releases, install_release
from runoff.targets import make_all_targets, target_maker, unknown_target
from runoff.targets.base import at

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from runoff.bisect.bisection import Bisected
    from runoff.plan.target import Target


def bisect(
    package: str,
    releases: str,
    model: str,
    target: str | None,
    metric: str,
    results: Path | None,
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
    environment = environment_of(package)
    target = _target_on(package, environment, target)
    found = find_releases(package, releases)
    if len(found) < 2:  # noqa: PLR2004 (there is nothing between one)
        raise RunoffError(f"{package} {releases}: {len(found)} releases found, at least 2 are needed", "widen the span")
    console.print(f"{len(found)} releases of {package}: {', '.join(found)}", highlight=False)

    def make(usual: Target, release: str) -> Target:
        return at(usual, environment, install_release(package, release, console.print))

    options = OwnOptions(**own, targets=target, profile="default")
    bisected = search(model, options, metric, found, make, results or paths.results(), console, everything=everything)
    _save(bisected)
    if as_json:
        print_json(document(bisected))
    else:
        show(bisected, console)
        _print_end(bisected, package, model, console)
    return ExitCode.CASE_FAILED if bisected.found.outcome == "all failed" else ExitCode.OK


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


def _save(bisected: Bisected) -> None:
    text = msgspec.json.format(msgspec.json.encode(document(bisected)), indent=1)
    write_atomically(bisected.folder / "bisect.json", text)
    for suffix, data in draw(bisected).items():
        write_atomically(bisected.folder / f"bisect.{suffix}", data)


def _print_end(bisected: Bisected, package: str, model: str, console: Console) -> None:
    """Print where the run is, and the command that shows the change again."""
    found, lines = bisected.found, [f"run: {shown(bisected.folder)}"]
    if found.outcome == "found":
        again = ["runoff", "bisect", package, f"{found.before},{found.after}", model]
        more = ["--target", bisected.target, "--metric", bisected.metric]
        lines.append(f"again: {shlex.join([*again, *more])}")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
