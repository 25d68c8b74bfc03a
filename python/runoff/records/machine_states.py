"""The machines of a run on many machines, each with its state in ``machine.json``.

Only the standard library may be imported: the driver reads and writes these files in the environment of Ray.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runoff.records.errors import RunoffError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

CLUSTER_FILE, MACHINE_FILE = "cluster.json", "machine.json"
"""What was asked for, in the folder of the run, and the state of each machine, in the folder of its run."""
FINISHED, LOST, FAILED = "finished", "lost", "failed"


@dataclass
class State:
    """What is known of a machine's run: ``machine.json``."""

    name: str
    kind: str = ""
    """What machines with comparable times share."""
    facts: dict[str, str] = field(default_factory=dict)
    state: str = "waiting"
    reason: str = ""
    """Why it was lost or has failed."""
    code: int | None = None
    """Exit code of ``runoff bench``."""
    records: int = 0
    replaces: str = ""
    """The lost machine whose cases it measures."""
    line: str = ""
    """The last line that it printed."""


def read_states(folder: Path, depths: Iterable[str] = ("*/",)) -> dict[Path, State]:
    """Return the states of the machines in the run at `folder`, by the folders of their runs.

    `depths` are patterns of folders below `folder`.

    Raises
    ------
    RunoffError
        If a ``machine.json`` is invalid.
    """
    found = {}
    for path in (path for depth in depths for path in sorted(folder.glob(f"{depth}{MACHINE_FILE}"))):
        try:
            found[path.parent] = State(**json.loads(path.read_bytes()))
        except (ValueError, TypeError) as error:
            raise RunoffError(f"{path} cannot be read: {error}", "restore the file, or start a new run") from error
    return found


def replaced(states: Collection[State]) -> set[str]:
    """Return the machines that a finished one replaces: directly, or through others that were lost too."""
    lost = {state.name: state.replaces for state in states}
    found: set[str] = set()
    for state in states:
        name = state.replaces if state.state == FINISHED else ""
        while name and name not in found:
            found.add(name)
            name = lost.get(name, "")
    return found
