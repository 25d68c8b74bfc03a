"""What a probe is: what the runner is asked to do, and the tool, if any, that watches it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from runoff import paths
from runoff.records.protocol import Accuracy, Latency, Once, Turns  # noqa: TC001 (the fields' types)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Tool(Struct, frozen=True, kw_only=True):
    """A program that starts the runner and watches it."""

    name: str
    wrap: Callable[[str, tuple[str, ...], Path], tuple[str, ...]]
    """(tool's path, runner's command, scratch folder) -> the whole command."""
    read: Callable[[Path], list[dict[str, Any]]]
    """Scratch folder -> what the tool reported."""
    hint: str
    """How to get it."""
    trial: tuple[str, ...] = ()
    """Arguments with which it measures next to nothing: it may be there, and not be let."""
    allow: str = ""
    """How it is let."""

    def find(self) -> str | None:
        """Return its path: the one in an environment of that name first, then the one on the PATH."""
        own = paths.environments() / self.name / "bin" / self.name
        return shutil.which(own) or shutil.which(self.name)


class Probe(Struct, frozen=True, kw_only=True):
    """One way of measuring a case."""

    name: str
    summary: str
    measure: Once | Latency | Accuracy | Turns
    tool: Tool | None = None
