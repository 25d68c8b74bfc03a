"""Sides: what ``explain`` and ``profile`` compare, and the pipeline that measures them as targets of one comparison.

A side is ``ort-python``, ``ort-python@1.25.0`` (a release) or ``ort-python,optimization=basic`` (settings).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from runoff.adaptive.suite import SHORT_SETS
from runoff.bench import Pipeline
from runoff.environments import find_environment
from runoff.models.cuts import PROGRAM, WEIGHTS
from runoff.plan.cases import renamed
from runoff.plan.settings import parse_assignments, resolve
from runoff.plan.suite import CustomTarget, Group, Measure
from runoff.records.errors import ExitCode, RunoffError
from runoff.releases import install_release
from runoff.targets import target_maker, unknown_target
from runoff.targets.base import at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import Console

    from runoff.bench import Planned
    from runoff.plan.suite import Suite
    from runoff.plan.target import Target, TargetInfo
    from runoff.records.protocol import Settings
    from runoff.records.schema import Case

BLOCKS = {"life": 20, "latency": 8, "memory": 10}
"""Sets of fresh processes of each model, by probe."""


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


class SidesPipeline(Pipeline):
    """The pipeline, with the sides as targets of one comparison."""

    resumable = False

    def __init__(self, suite: Suite, text: str, console: Console, sides: Sequence[Side]) -> None:
        super().__init__(suite, text, Path.cwd(), console)
        self._sides = sides

    def complete(self, cases: tuple[Case, ...], targets: dict[str, TargetInfo]) -> Planned:
        """Return the cases of all sides, as if their settings were those of the first: they take turns."""
        made: list[Case] = []
        named = dict(targets)
        for model in dict.fromkeys(case.model for case in cases):
            for place, (side, name) in enumerate(zip(self._sides, names_of(self._sides), strict=True)):
                case = case_of(side, [case for case in cases if case.model == model])
                if case.skipped:
                    raise RunoffError(
                        f"{side.text}: {case.skipped.message}", case.skipped.hint, ExitCode.NOTHING_RUNS_HERE
                    )
                can = targets[case.target].capabilities
                if can and not can.computes:
                    raise RunoffError(f"{side.text} computes nothing", "choose a target that runs models")
                variant = case.variant if place == 0 else made[-1].variant
                made.append(renamed(case, name, variant=variant))
                named[name] = targets[case.target]
        return super().complete(tuple(made), named)


def names_of(sides: Sequence[Side]) -> list[str]:
    """Return the names of sides in the run; they differ, even if two sides do not."""
    names: list[str] = []
    for side in sides:
        names.append(f"{side.name}-2" if side.name in names else side.name)
    return names


def case_of(side: Side, cases: Sequence[Case]) -> Case:
    """Return the planned case of a side among those of its model."""
    return next(case for case in cases if case.target == side.runs_as and case.settings == side.resolved)


def of_sides(
    base: Suite,
    sides: Sequence[Side],
    probes: tuple[str, ...],
    what: str,
    say: Callable[[str], None],
    blocks: Mapping[str, int] = BLOCKS,
) -> Suite:
    """Return a suite with the models of `base` on the sides; `say` announces a release that is installed.

    `what` is the command and the model; the first two sides give the run its name.
    """
    own = {side.runs_as: on_release(side, say) for side in sides if side.release}
    command, _, model = what.partition(" ")
    matrix = msgspec.structs.replace(
        base.suite,
        name="-".join((command, *names_of(sides)[:2], base.suite.name)),
        description=f"runoff {command} {' '.join(side.text for side in sides[:2])} {model}",
        targets=tuple(side.runs_as for side in sides),
        probes=probes,
        baselines=(names_of(sides)[0],),
    )
    return msgspec.structs.replace(
        base,
        suite=matrix,
        settings={},
        targets=base.targets
        | {name: CustomTarget(command=target.command, env=target.env) for name, target in own.items()},
        group=tuple(Group(targets=(side.runs_as,), settings=side.settings) for side in sides),
        measure=Measure(blocks={probe: blocks[probe] for probe in probes if probe in blocks}, latency=SHORT_SETS),
    )
