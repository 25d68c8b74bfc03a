"""The times that a runner reports and runoff's own round trips of the same turns must give the same ratio.

A runner whose clock runs slow reports less time than its turns took, and looks faster. The unreported time of a
turn is small and similar for all runners of a comparison: the exchange by pipe (measured by empty turns and
subtracted), copies into tensors, cold caches; 0.1 to 0.2 ms were seen, on idle and on busy machines. A busy machine
wakes processes late, which only ever adds to a round trip: of successive turns, the shortest unreported times count.
A process pays its own costs for its whole life, so a block of turns gives one value, whatever its length.
A case that leaves more time unreported than the case it is compared with has two ratios, so its times are excluded.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from runoff.plan.baselines import baselines_of
from runoff.records.reason import Reason
from runoff.statistics import paired

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from runoff.records.schema import Case, Record, Run
    from runoff.statistics import Ratio

LEAST_SHARE = 0.01
LEAST_NS = 100_000
LOOP_NS = 3_000
"""A difference counts if its interval is beyond both: a share of a turn, and a time per turn and inference (a loop in
Python leaves more time unreported than one in Rust). In a turn of one inference, 3% shows from 3.5 ms on."""
MOST_SHARE = 0.1
"""Turns that are too short to show such a difference are not compared."""
TURNS = 16
"""Successive turns of which the shortest unreported times count."""
FEWEST_BLOCKS = 2
"""One gives no interval."""
_SHORTEST = 0.1
"""Quantile that represents the undisturbed turns on a busy machine."""
_PARTS = ("preprocess", "inference")


class _Turns(NamedTuple):
    """The turns of one process."""

    reported_ns: float
    """Median of a turn."""
    least_share: float
    """The smallest difference that counts, relative to a turn."""
    unreported_ns: NDArray[np.float64]
    """Of each `TURNS` successive turns."""
    empty_ns: NDArray[np.float64]


_Processes = dict[str, dict[int, _Turns]]
"""By case and block."""


def clock_disagreements(run: Run) -> dict[str, Reason]:
    """Return, by case id, the reason if reported times and round trips give different ratios."""
    cases = {case.id: case for case in run.info.cases}
    processes: _Processes = defaultdict(dict)
    for record in run.records:
        turns = _turns(record, cases[record.case]) if record.case in cases else ""
        if isinstance(turns, _Turns):
            processes[record.case][record.block] = turns
    peers: defaultdict[tuple[str, ...], list[Case]] = defaultdict(list)
    for case in run.info.cases:
        if case.id in processes:
            peers[case.comparison].append(case)
    wrong: dict[str, Reason] = {}
    for comparison in peers.values():
        for baseline in baselines_of(comparison, run.info.baselines):
            wrong |= _compare(processes, baseline, [case for case in comparison if case is not baseline])
    return wrong


def _compare(processes: _Processes, baseline: Case, others: Sequence[Case]) -> dict[str, Reason]:
    """Return the reasons of those `others` that disagree with `baseline`, or of `baseline` if all others do."""
    wrong: dict[str, Reason] = {}
    for case in others:
        if excess := _excess(processes[case.id], processes[baseline.id]):
            wrong[case.id] = _reason(excess, [baseline])
    compared = [case for case in others if case.control_of is None]
    excesses = [excess for case in compared if (excess := _excess(processes[baseline.id], processes[case.id]))]
    if excesses and len(excesses) == len(compared):
        # of two, one is too slow or the other too fast: without either, there is no ratio
        wrong[baseline.id] = _reason(min(excesses, key=lambda excess: excess.low), compared)
    return wrong


def least_share(records: Iterable[Record], case: Case) -> float:
    """Return the smallest difference that counts, relative to a turn, among the `records` that can be compared."""
    return max((one.least_share for record in records if isinstance(one := _turns(record, case), _Turns)), default=0.0)


def not_compared(records: Iterable[Record], case: Case) -> str:
    """Return the reason why the clock of `case` is not compared with those of others; empty if it can be.

    `records` are those of its interleaved probe.
    """
    found = [_turns(record, case) for record in records]
    reasons = [one for one in found if isinstance(one, str)]
    blocks = len(found) - len(reasons)
    if blocks >= FEWEST_BLOCKS:
        return ""
    return f"{blocks} block ({FEWEST_BLOCKS} are needed)" if blocks else next(iter(reasons), "no result")


def _turns(record: Record, case: Case) -> _Turns | str:
    """Return the turns of a process; or the reason if their unreported time is not comparable with that of others."""
    stats, result = record.turned, record.result
    if record.status != "ok":
        return f"status {record.status}"
    if stats is None or result is None:
        return "the runner timed itself"
    count = len(stats.roundtrip_ns)
    parts = [result.samples[name].warm_ns[stats.warmup :] for name in _PARTS if name in result.samples]
    obstacles = {
        "some runners join batches outside the timed region": case.settings.batch > 1,
        "nothing was interleaved with it": stats.group_size < 2,  # noqa: PLR2004
        f"{count} turns ({TURNS} are needed)": count < TURNS,
        "no turns without an inference": not stats.empty_ns,
        "not every turn has its times": any(len(part) != count * stats.inferences for part in parts),
    }
    if obstacle := next((why for why, holds in obstacles.items() if holds), ""):
        return obstacle
    reported = np.sum([np.reshape(part, (count, stats.inferences)).sum(axis=1) for part in parts], axis=0)
    turn_ns = float(np.median(reported))
    least = max(LEAST_SHARE, (LEAST_NS + LOOP_NS * stats.inferences) / turn_ns)
    if least > MOST_SHARE:
        return f"only a difference above {least:.0%} would show in turns of {turn_ns / 1e6:.2f} ms"
    unreported = np.asarray(stats.roundtrip_ns, dtype=np.float64) - reported
    edges = pairwise([*range(0, count - TURNS + 1, TURNS), count])
    shortest = [float(np.quantile(unreported[begin:end], _SHORTEST)) for begin, end in edges]
    return _Turns(turn_ns, least, np.array(shortest), np.array(stats.empty_ns, dtype=np.float64))


def _excess(mine: Mapping[int, _Turns], theirs: Mapping[int, _Turns]) -> Ratio | None:
    """Return the excess of the round trips of `mine` over the reported times, relative to `theirs`, if there is one."""
    units = list(_units(mine, theirs))
    if len(units) < FEWEST_BLOCKS:
        return None
    excess = paired(units)
    return excess if excess.low - 1 > float(np.median([turns.least_share for turns in mine.values()])) else None


def _units(mine: Mapping[int, _Turns], theirs: Mapping[int, _Turns]) -> Iterator[NDArray[np.float64]]:
    """Yield for each block the logarithms of 1 + excess, of the same successive turns.

    There are few empty turns, and an error in them affects all units: `mine` use the median, `theirs` the least.
    """
    for block in sorted(mine.keys() & theirs.keys()):
        own, other = mine[block], theirs[block]
        empty_ns = float(np.median(own.empty_ns) - other.empty_ns.min())
        shared = min(len(own.unreported_ns), len(other.unreported_ns))
        shares = (own.unreported_ns[:shared] - other.unreported_ns[:shared] - empty_ns) / own.reported_ns
        yield np.log1p(np.maximum(shares, -0.5))


def _reason(excess: Ratio, others: Sequence[Case]) -> Reason:
    low, high = (f"{100 * (bound - 1):.1f}" for bound in (excess.low, excess.high))
    names = others[0].target if len(others) == 1 else "all others"
    message = f"turns lasted {low} to {high}% longer than the runner reports, compared with those of {names}"
    return Reason("clock", message, "the clock must be CLOCK_MONOTONIC, and inference cover the whole call")
