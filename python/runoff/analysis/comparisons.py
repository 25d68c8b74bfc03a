"""Every ratio of a run, each held against its noise floor and corrected for being one of many."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from runoff.analysis.comparison_groups import ComparisonGroups
from runoff.analysis.metric_samples import Key, pair
from runoff.analysis.validity import computes
from runoff.analysis.verdict import BASELINE, BETTER_WORSE, Comparison, floor_of, not_comparable, words
from runoff.statistics import Ratio, adjust, paired

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runoff.analysis.metric_samples import MetricSamples
    from runoff.analysis.validity import State
    from runoff.records.schema import Case, InterleavingStats, Run


class _Draft(NamedTuple):
    """A ratio before it is corrected for being one of many."""

    key: Key
    baseline: str
    ratio: Ratio
    floor: float | None
    unit: str


def comparisons(
    run: Run, cells: Mapping[Key, MetricSamples], state_of: Callable[[Case, str], State]
) -> dict[Key, dict[str, Comparison]]:
    """Return, for each cell that can be compared, its comparisons by the target of the baseline.

    Parameters
    ----------
    run
        The run.
    cells
        Its cells, from `runoff.analysis.metric_samples.cells`.
    state_of
        What became of a probe of a case. What is not ``ok`` gets no ratio.
    """
    made = _Comparisons(run, cells, state_of)
    for case in run.info.cases:
        if computes(run, case.target):
            made.add(case)
    return made.judged()


class _Comparisons:
    """The state that the comparisons of a run share."""

    def __init__(self, run: Run, cells: Mapping[Key, MetricSamples], state_of: Callable[[Case, str], State]) -> None:
        self.cells = cells
        self.state_of = state_of
        self.peers = ComparisonGroups(run.info)
        self.keys: defaultdict[str, list[Key]] = defaultdict(list)
        for key in cells:
            self.keys[key.case].append(key)
        self.together = {(record.case, record.block) for record in run.records if _side_by_side(record.turned)}
        self.floors: dict[tuple[str, str, str], float | None] = {}
        self.drafts: list[_Draft] = []
        self.made: defaultdict[Key, dict[str, Comparison]] = defaultdict(dict)

    def add(self, case: Case) -> None:
        baselines = self.peers.baselines(case)
        for key in self.keys[case.id]:
            cell = self.cells[key]
            if cell.unit not in BETTER_WORSE:
                continue
            for baseline in baselines:
                ratio = self._ratio(case, baseline, key)
                self.made[key][baseline.target] = ratio if isinstance(ratio, Comparison) else Comparison("")
                if isinstance(ratio, Ratio):
                    self.drafts.append(_Draft(key, baseline.target, ratio, self._floor(case, key), cell.unit))

    def judged(self) -> dict[Key, dict[str, Comparison]]:
        """Put verdicts on all ratios; those of one probe and metric are one family of comparisons."""
        families: defaultdict[tuple[str, str], list[_Draft]] = defaultdict(list)
        for draft in self.drafts:
            families[draft.key.probe, draft.key.metric].append(draft)
        for family in families.values():
            adjusted = adjust(np.array([draft.ratio.p for draft in family]))
            for draft, p in zip(family, adjusted.tolist(), strict=True):
                self.made[draft.key][draft.baseline] = _judge(draft, p)
        return dict(self.made)

    def _ratio(self, case: Case, baseline: Case, key: Key) -> Ratio | Comparison:
        """Return the ratio, or the comparison that says why there is none."""
        mine, theirs = self.state_of(case, key.probe), self.state_of(baseline, key.probe)
        if mine.status != "ok":
            return not_comparable(mine.reason)
        if baseline.id == case.id:
            return Comparison(BASELINE)
        if theirs.status != "ok":
            return not_comparable(f"{baseline.target}: {theirs.reason}")
        other = self.cells.get(Key(baseline.id, key.probe, key.metric))
        if other is None:
            return not_comparable(f"{baseline.target} has no {key.metric}")
        logs = pair(self.cells[key], other, self._together(case, baseline, key))
        return paired(logs) if logs else not_comparable("no block has a value above zero of both")

    def _together(self, case: Case, baseline: Case, key: Key) -> set[int]:
        """Return the blocks in which the two took turns."""
        if key.probe != "latency":
            return set()
        blocks = ({block for of, block in self.together if of == one.id} for one in (case, baseline))
        return set.intersection(*blocks)

    def _floor(self, case: Case, key: Key) -> float | None:
        """Return the noise floor of `case` for the metric of `key`, from the A/A of its comparison."""
        control = self.peers.control(case)
        origin = self.peers.origin(control) if control else None
        if control is None or origin is None:
            return None
        name = (control.id, key.probe, key.metric)
        if name not in self.floors:
            its = Key(*name)
            ratio = self._ratio(control, origin, its) if its in self.cells else None
            self.floors[name] = floor_of(ratio) if isinstance(ratio, Ratio) else None
        return self.floors[name]


def _side_by_side(turned: InterleavingStats | None) -> bool:
    return turned is not None and turned.beside > 1


def _judge(draft: _Draft, p_adjusted: float) -> Comparison:
    ratio, floor = draft.ratio, draft.floor
    return Comparison(
        words(ratio, p_adjusted, floor, draft.unit),
        *(ratio.value, ratio.low, ratio.high, p_adjusted),
        floor=np.nan if floor is None else floor,
    )
