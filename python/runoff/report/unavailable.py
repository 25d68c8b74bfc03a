"""Cases that cannot run on this machine, in few lines: tables are of what ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from runoff.report.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runoff.report.overview import Block

_NAMED = 6
"""More targets than these are counted."""


class Absence(Struct, frozen=True):
    """Cases that share the reason why they cannot run here."""

    targets: list[str]
    profiles: list[str]
    cases: int
    reason: str


def absences(blocks: Iterable[Block]) -> list[Absence]:
    """Return what is left out of the tables of `blocks`, one entry for each reason, in the order of the plan."""
    grouped: dict[str, tuple[dict[str, None], dict[str, None], list[str]]] = {}
    for row in (row for block in blocks for row in block.absent):
        targets, profiles, cases = grouped.setdefault(row.reason, ({}, {}, []))
        targets[row.target] = None
        profiles[row.profile] = None
        cases.append(row.case)
    return [
        Absence(list(targets), list(profiles), len(cases), reason)
        for reason, (targets, profiles, cases) in grouped.items()
    ]


def absence_lines(blocks: Iterable[Block]) -> list[str]:
    """Return the same as lines, such as ``unavailable: torch, ort-python (2 cases): no NVIDIA driver``."""
    return [
        f"unavailable: {_who(absence)} ({plural(absence.cases, 'case')}): {absence.reason}"
        for absence in absences(blocks)
    ]


def _who(absence: Absence) -> str:
    return ", ".join(absence.targets) if len(absence.targets) <= _NAMED else plural(len(absence.targets), "target")
