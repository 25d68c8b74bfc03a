"""Who is compared with whom: the baselines of a case, and the twin that gives its noise floor."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runoff.records.schema import Case, RunInfo


class ComparisonGroups:
    """The cases of a run by what they may be compared with."""

    def __init__(self, info: RunInfo) -> None:
        self._info = info
        self._cases: defaultdict[tuple[str, ...], list[Case]] = defaultdict(list)
        for case in info.cases:
            self._cases[case.comparison].append(case)

    def baselines(self, case: Case) -> list[Case]:
        """Return what `case` is held against: the run's baselines that are in its comparison, itself included.

        Where none of them is, it is the target that the comparison's twin repeats; a comparison without either
        has no baseline.
        """
        targets = {peer.target: peer for peer in self._cases[case.comparison]}
        control = self.control(case)
        names = [name for name in self._info.baselines if name in targets]
        if not names and control is not None and control.control_of in targets:
            names = [control.control_of]
        return [targets[name] for name in names]

    def control(self, case: Case) -> Case | None:
        """Return the second self of a baseline in the comparison of `case`; None in runs that have none."""
        return next((peer for peer in self._cases[case.comparison] if peer.control_of is not None), None)

    def origin(self, control: Case) -> Case | None:
        """Return the case that `control` repeats: both together are an A/A."""
        return next((peer for peer in self._cases[control.comparison] if peer.target == control.control_of), None)
