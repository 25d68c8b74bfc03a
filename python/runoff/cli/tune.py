"""The command ``runoff tune``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runoff import paths
from runoff.adaptive.objective import OBJECTIVES
from runoff.cli.output import print_json, write_result
from runoff.paths import shown
from runoff.plan.own_suite import OwnOptions
from runoff.plan.quantities import parse_duration
from runoff.records.errors import ExitCode, RunoffError
from runoff.tune.limits import parse_limit
from runoff.tune.show import document, draw, show
from runoff.tune.tuning import tune as search
from runoff.tune.write import write

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.adaptive.objective import Objective
    from runoff.tune.tuning import Tuned

PROFILE = "tuned.toml"


def tune(
    model: str,
    target: str,
    objective: str,
    limits: tuple[str, ...],
    budget: str,
    write_to: Path | None,
    results: Path | None,
    *,
    as_json: bool,
    **own: Any,
) -> ExitCode:
    """Search, write the profile, print the result and return the exit code.

    `own` has the options for a user's model, by the fields of `runoff.plan.own_suite.OwnOptions`.
    """
    from rich.console import Console

    parse_duration(budget)
    if write_to and (write_to.suffix != ".toml" or not write_to.parent.is_dir()):
        raise RunoffError(
            f"--write {write_to}: not a .toml file in an existing folder", "for example: --write tuned.toml"
        )
    chosen, bounds = OBJECTIVES[objective], [parse_limit(text) for text in limits]
    options = OwnOptions(**own, targets=target, profile="default", time=budget)
    console = Console(stderr=as_json)
    tuned = search(model, options, chosen, bounds, results or paths.results(), console)
    bounded = [f"--limit '{text}'" for text in limits]
    command = " ".join(["runoff tune", model, f"--target {target} --objective {objective}", *bounded])
    _save(tuned, chosen, write_to, command)
    if as_json:
        print_json(document(tuned, chosen))
    else:
        show(tuned, chosen, console)
        for line in (f"profile: {shown(write_to or tuned.folder / PROFILE)}", f"run: {shown(tuned.folder)}"):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    return ExitCode.OK


def _save(tuned: Tuned, objective: Objective, write_to: Path | None, command: str) -> None:
    """Write the profile, the result and its plot into the run's folder; the profile also to `write_to`."""
    for path in filter(None, (tuned.folder / PROFILE, write_to)):
        write(path, tuned, objective, command)
    write_result(tuned.folder, "tune", document(tuned, objective), draw(tuned, objective))
