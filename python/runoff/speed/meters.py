"""Which rows are measured together, and by what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from runoff.measure.discovery import query_tool
from runoff.probes.memory import MEMORY
from runoff.probes.process import HYPERFINE, PROCESS
from runoff.speed.pairs import BLOCKS, Pairs
from runoff.speed.warm import Warm
from runoff.speed.whole import Whole

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runoff.speed.programs import Bench
    from runoff.speed.ratios import Group
    from runoff.speed.rows import Row


class Meter(Protocol):
    """Measures a group of candidates, a share of it in each round."""

    group: Group
    versions: dict[str, str]
    """What it has found itself measuring, by name."""

    def measure(self, turn: int) -> None:
        """Add to the group what round number `turn` measures."""


def make_meters(rows: Iterable[Row], bench: Bench) -> dict[str, Meter]:
    """Return what measures `rows`, by the rows' group: only the candidates that they name take part."""
    wanted: dict[str, dict[str, None]] = {}
    for row in rows:
        wanted.setdefault(row.group, {}).update(dict.fromkeys((*row.over, *row.under)))
    return {group: _make_meter(group, tuple(names), bench) for group, names in wanted.items()}


def _make_meter(group: str, names: tuple[str, ...], bench: Bench) -> Meter:
    if group in BLOCKS:
        return Pairs(bench, group, names)
    if group == "warm":
        return Warm(bench, names)
    kind, _, profile = group.partition("-")
    if kind == "memory":
        return Whole(bench, profile, names, MEMORY)
    meter = Whole(bench, profile, names, PROCESS)
    version, reason = query_tool(HYPERFINE, bench.spawner)
    meter.versions["hyperfine"] = str(version)
    if reason:
        meter.group.reasons.update(dict.fromkeys(names, reason))
    return meter
