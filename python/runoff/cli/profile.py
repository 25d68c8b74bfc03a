"""The command ``runoff profile``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runoff import paths
from runoff.cli.output import print_json, write_result
from runoff.paths import shown
from runoff.plan.own_suite import OwnOptions
from runoff.plan.quantities import parse_duration
from runoff.plan.settings import parse_assignments
from runoff.profiling.profile import profile as sample
from runoff.profiling.show import document, page, sentences
from runoff.records.errors import ExitCode
from runoff.records.files import write_atomically
from runoff.sides import parse_side

if TYPE_CHECKING:
    from pathlib import Path


def profile(
    target: str,
    model: str,
    against: str | None,
    shared: tuple[str, ...],
    budget: str,
    results: Path | None,
    *,
    as_json: bool,
    **own: Any,
) -> ExitCode:
    """Sample the sides, write the graphs, print the result and return the exit code.

    `own` has the options for a user's model, by the fields of `runoff.plan.own_suite.OwnOptions`.
    """
    from rich.console import Console

    console = Console(stderr=as_json)
    settings = {"threads": 1, **parse_assignments(shared)}
    sides = [parse_side(text, settings) for text in (target, against) if text]
    options = OwnOptions(**own, targets=sides[0].target, profile="default")
    seconds = parse_duration(budget) or 0.0
    profiled = sample(model, options, sides, seconds, results or paths.results(), console)
    write_result(profiled.folder, "profile", document(profiled))
    write_atomically(profiled.folder / "profile.html", page(profiled).encode())
    if as_json:
        print_json(document(profiled))
        return ExitCode.OK
    for line in (*sentences(profiled), f"graphs: {shown(profiled.folder / 'profile.html')}"):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return ExitCode.OK
