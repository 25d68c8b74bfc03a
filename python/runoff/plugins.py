"""Plug-ins: targets of other packages, found by the entry point ``runoff.targets``. docs/add-an-engine.md makes one.

Only the standard library can be imported: `runoff.environments` runs without the others.
"""

from __future__ import annotations

from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

    # of a `runoff.plan.target.Target`, which needs more than the standard library
    Make = Callable[[], Any]

GROUP = "runoff.targets"
"""Entry points of this group are functions without arguments that return a `Plugin`."""


class Environment(NamedTuple):
    """An environment that runoff can make."""

    package: str
    """The package that it is for."""
    megabytes: int
    """Size on disk, measured on x86-64 Linux."""
    automatic: bool = True
    """Whether it is made when it is first needed, else only by name."""
    python: str | None = None
    """The version of Python that its package has wheels for; None if that of runoff will do."""
    pins: Path | None = None
    """File with the pins and hashes of its packages, in a plug-in; None for runoff's own."""


class Plugin(NamedTuple):
    """What a package adds to runoff."""

    targets: Mapping[str, Make]
    """By name: a function that returns the `runoff.plan.target.Target`."""
    environments: Mapping[str, Environment]
    """By name: the environments of these targets."""


class Plugins(NamedTuple):
    """The installed plug-ins."""

    targets: Mapping[str, Make]
    environments: Mapping[str, Environment]
    broken: Mapping[str, str]
    """By package: the reason why a plug-in could not be loaded, in one line."""


@cache
def plugins() -> Plugins:
    """Return what the installed plug-ins add; they are loaded once, when a name is not runoff's own."""
    targets: dict[str, Make] = {}
    environments: dict[str, Environment] = {}
    broken = {}
    for entry in metadata.entry_points(group=GROUP):
        package = entry.dist.name if entry.dist else entry.module
        try:
            made = _load(entry)
            targets |= made.targets
            environments |= made.environments
        except Exception as error:  # noqa: BLE001 (the code of others)
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            broken[package] = f"plug-in {package} is broken: {reason}"
    return Plugins(targets, environments, broken)


def _load(entry: metadata.EntryPoint) -> Plugin:
    made = entry.load()()
    if not isinstance(made, Plugin):
        raise TypeError(f"{entry.value} returns {type(made).__name__}, not a runoff.plugins.Plugin")
    return made
