"""What the meters share: the programs that gave the right answer once, and reasons in place of failures."""

from __future__ import annotations

import random
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec import Struct

from runoff.probes.base import Probe
from runoff.records.protocol import Once
from runoff.records.reason import Reason
from runoff.speed.candidates import NotMeasuredError, make_candidate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from runoff.models.store import StoredModel
    from runoff.processes import Spawner
    from runoff.speed.candidates import Candidate
    from runoff.speed.ratios import Group

TIMEOUT_S = 120.0
_ANSWER = Probe(name="answer", summary="is the answer right?", measure=Once())


class Bench(Struct, frozen=True):
    """What measuring needs."""

    model: StoredModel
    spawner: Spawner
    scratch: Path


class Programs:
    """Programs that have shown once that they give the right answer; those that cannot have a reason in the group.

    Parameters
    ----------
    bench
        What measuring needs.
    profile
        Settings profile of all of them.
    names
        The floor's name, or targets.
    group
        Where reasons are noted.
    """

    def __init__(self, bench: Bench, profile: str, names: Iterable[str], group: Group) -> None:
        self.versions: dict[str, str] = {}
        self._bench = bench
        self._profile = profile
        self._unchecked = list(names)
        self._checked: dict[str, Candidate] = {}
        self._group = group

    def ready(self, seed: str) -> list[tuple[str, Candidate]]:
        """Return those that can be measured, in an order that `seed` fixes; the first call starts each of them once."""
        while self._unchecked:
            name = self._unchecked.pop(0)
            with noting(self._group, name):
                self._checked[name] = self._check(name)
        names = shuffled((name for name in self._checked if name not in self._group.reasons), seed)
        return [(name, self._checked[name]) for name in names]

    def _check(self, name: str) -> Candidate:
        bench, scratch = self._bench, self.folder(name)
        candidate = make_candidate(name, bench.model, self._profile, bench.spawner)
        argv = candidate.command(scratch, _ANSWER)
        result = candidate.check(bench.spawner.run(argv, candidate.environment(), TIMEOUT_S), scratch, watched=False)
        if result and result.effective:
            self.versions[name] = f"{result.effective.runtime} {result.effective.version}"
        return candidate

    def folder(self, name: str) -> Path:
        """Return an empty scratch folder for `name`."""
        scratch = self._bench.scratch / name
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        return scratch


@contextmanager
def noting(group: Group, *names: str) -> Iterator[None]:
    """Turn a failure into the reason why `group` does not have `names`."""
    try:
        yield
    except NotMeasuredError as error:
        reason = error.reason
    except (OSError, ValueError, LookupError) as error:
        reason = Reason("failed", f"{type(error).__name__}: {error}")
    else:
        return
    group.reasons.update(dict.fromkeys(names, reason))


def shuffled(names: Iterable[str], seed: str) -> list[str]:
    """Return `names` in a random order that `seed` fixes."""
    order = list(names)
    random.Random(seed).shuffle(order)  # noqa: S311 (an order, not a secret)
    return order
