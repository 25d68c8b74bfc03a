"""The profile file: TOML that ``runoff bench --profile``, ``runoff-ort --profile`` and ``runoff_ort.Session`` load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff.records.files import write_atomically
from runoff.records.machine import headline
from runoff.tune.show import sentence, worth_words
from runoff.tune.space import toml

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.adaptive.objective import Objective
    from runoff.tune.tuning import Tuned


def write(path: Path, tuned: Tuned, objective: Objective, command: str) -> None:
    """Write the profile of `tuned` to `path`, with comments: where it was found, and what each setting was worth.

    Raises
    ------
    RunoffError
        If it cannot be written.
    """
    write_atomically(path, profile(tuned, objective, command).encode())


def profile(tuned: Tuned, objective: Objective, command: str) -> str:
    """Return the text of the profile."""
    info, found = tuned.info, tuned.found
    can = info.capabilities[info.cases[0].target]
    machine = f"{headline(info.machine)}; {can.runtime} {can.version}"
    lines = [f"# {command}", f"# {info.started[:10]}, {machine}", f"# {sentence(tuned, objective)}"]
    worths = {one.change: one for one in found.worths} if found.best else {}
    for one in found.best:
        *first, last = [f"{name} = {toml(value)}" for name, value in one.values]
        lines += [*first, f"{last:24}# {worth_words(worths[one], found)}"]
    return "\n".join(lines) + "\n"
