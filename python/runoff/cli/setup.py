"""``runoff setup`` and ``runoff clean``: environments made ahead, and everything that runoff created removed."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import click

from runoff import paths
from runoff.environments import describe, ensure_environments, environments, size_text
from runoff.measure.footprint import size_of
from runoff.records.errors import RunoffError
from runoff.targets import target_maker, unknown_target

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_BYTES_PER_MB = 10**6


def setup(names: tuple[str, ...]) -> None:
    """Make the environments of the targets or tools called `names`; without names, all that need no gigabytes.

    Raises
    ------
    RunoffError
        If a name is unknown, an environment cannot be made, or this is a checkout.
    """
    light = [name for name, environment in environments().items() if environment.automatic]
    wanted = list(dict.fromkeys(name for given in names for name in _environments(given))) if names else light
    if not wanted:
        click.echo(f"nothing to install for {', '.join(names)} on this machine")
        return
    if paths.in_checkout():
        raise RunoffError("nox makes the environments of a checkout", f"run: nox -s {' '.join(wanted)}")
    ensure_environments(wanted, click.echo)
    total = size_of(paths.environments()).bytes / _BYTES_PER_MB
    click.echo(f"ready: {', '.join(wanted)} ({size_text(total)} in {paths.environments()})")
    if not names:
        for name in ("torch", "export", "web"):
            if not (paths.environments() / name / "bin" / "python").exists():
                click.echo(f"not installed: {describe(name)}; run: runoff setup {name}")


def clean(*, everything: bool) -> None:
    """Remove environments, downloaded packages and prepared models; with `everything`, exported models too."""
    folders = [paths.prepared(), paths.own_models()]
    if everything:
        folders.append(paths.models())
    if not paths.in_checkout():
        folders += [paths.home() / "environments", paths.home() / "uv"]
        folders += [paths.environments() / name for name in environments()]
    removed = _remove(folders)
    click.echo(f"removed {size_text(removed / _BYTES_PER_MB)} from {paths.home()}")
    if paths.in_checkout():
        click.echo(f"the environments of a checkout are nox's: {paths.environments()}")


def _environments(name: str) -> tuple[str, ...]:
    make = target_maker(name)
    if make:
        return make().environments
    if name in environments():
        return (name,)
    raise unknown_target(name, environments())


def _remove(folders: Iterable[Path]) -> int:
    """Remove folders; return how many bytes that frees."""
    before = _used()
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    return before - _used()


def _used() -> int:
    """Return the size of everything that runoff created; files that have several names by hard links count once."""
    home, environments = paths.home(), paths.environments()
    folders = [home] if environments.is_relative_to(home) else [home, environments]
    return sum(size_of(folder).bytes for folder in folders if folder.exists())
