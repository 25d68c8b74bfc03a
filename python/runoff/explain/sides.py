"""What is compared: ``ort-python``, ``ort-python@1.25.0`` (a release), ``ort-python,optimization=basic`` (settings)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from runoff.plan.settings import parse_assignments, resolve
from runoff.targets import target_maker, unknown_target

if TYPE_CHECKING:
    from runoff.records.protocol import Settings


class Side(Struct, frozen=True, kw_only=True):
    """One way of running a model."""

    text: str
    """As the user wrote it."""
    target: str
    release: str = ""
    """Of the target's package; empty for the one of its environment."""
    settings: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """Its name in the run, usable in file names."""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.text).strip("-")

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
