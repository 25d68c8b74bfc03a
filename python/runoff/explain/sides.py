"""What is compared: ``ort-python``, ``ort-python@1.25.0`` (a release), ``ort-python,optimization=basic`` (settings)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from runoff.environments import find_environment
from runoff.models.cuts import PROGRAM, WEIGHTS
from runoff.plan.settings import parse_assignments, resolve
from runoff.records.errors import RunoffError
from runoff.releases import install_release
from runoff.targets import target_maker, unknown_target
from runoff.targets.base import at

if TYPE_CHECKING:
    from collections.abc import Callable

    from runoff.plan.target import Target
    from runoff.records.protocol import Settings


class Side(Struct, frozen=True, kw_only=True):
    """One way of running a model."""

    text: str
    """As the user wrote it."""
    target: str
    release: str = ""
    """Of the target's package; empty for the one of its environment."""
    version: str = ""
    """Name of the version of the model that it runs; empty for the model itself."""
    settings: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """Its name in the run, usable in file names."""
        words = f"{self.text}-{self.version}" if self.version else self.text
        return re.sub(r"[^A-Za-z0-9._-]+", "-", words).strip("-")

    @property
    def runs_as(self) -> str:
        """The target in the suite: that of a release is the suite's own."""
        name = f"{self.target}-{self.release}" if self.release else self.target
        return f"{name}@{self.version}" if self.version else name

    @property
    def network(self) -> str:
        """Format of the networks in PyTorch that it runs, ``pt`` or ``pt2``; empty if it runs ONNX files."""
        make = target_maker(self.target)
        found = make().format if make else None
        return found if found in (WEIGHTS, PROGRAM) else ""

    @property
    def resolved(self) -> Settings:
        """All settings of it."""
        return resolve(self.settings)


def parse_side(text: str, shared: dict[str, Any]) -> Side:
    """Return the side in `text`; `shared` are settings of both.

    Raises
    ------
    RunoffError
        If there is no such target, or a setting is not valid.
    """
    first, *assignments = text.split(",")
    target, _, release = first.partition("@")
    if target_maker(target) is None:
        raise unknown_target(target)
    side = Side(text=text, target=target, release=release, settings={**shared, **parse_assignments((*assignments,))})
    _ = side.resolved  # bad settings are reported before anything is measured
    return side


def on_release(side: Side, say: Callable[[str], None]) -> Target:
    """Return the target of a side on its release, which is installed if it is missing.

    Raises
    ------
    RunoffError
        If it cannot be installed, or the target runs on no package that has releases.
    """
    make = target_maker(side.target)
    usual = make() if make else None
    for name in usual.environments if usual else ():
        environment = find_environment(name)
        # the extension comes from this checkout, in one version
        if usual and environment and environment.package != "runoff-ort":
            return at(usual, name, install_release(environment.package, side.release, say))
    raise RunoffError(f"{side.text}: {side.target} has no releases to choose from", f"use {side.target}")
