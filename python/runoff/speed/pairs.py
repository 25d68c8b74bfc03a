"""What is measured inside one process, by `runoff.speed.inside`: a fresh process each round."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from runoff.processes import describe_exit
from runoff.records.reason import Reason
from runoff.speed.candidates import NotMeasuredError
from runoff.speed.programs import TIMEOUT_S, Bench, noting
from runoff.speed.ratios import Group
from runoff.targets.base import python_target

if TYPE_CHECKING:
    from collections.abc import Iterable

BLOCKS = {"call": 150, "bound-call": 150, "preprocess": 120, "threads": 8}
"""By measure: blocks in a process."""


class _Answer(Struct, frozen=True):
    values: dict[str, list[float]] = {}
    versions: dict[str, str] = {}
    reason: str = ""


class Pairs:
    """A unit is a process, a value the time of a call in one of its blocks."""

    def __init__(self, bench: Bench, measure: str, names: Iterable[str]) -> None:
        self.group = Group(unit="ns")
        self.versions: dict[str, str] = {}
        self._bench = bench
        self._measure = measure
        self._names = tuple(names)
        self._target = python_target("extension", "../runoff/speed/inside")

    def measure(self, turn: int) -> None:
        """Add a process."""
        if not self.group.reasons:
            with noting(self.group, *self._names):
                self.group.units.append(self._run(turn))

    def _run(self, turn: int) -> dict[str, list[float]]:
        if self._target.missing:
            raise NotMeasuredError(self._target.missing)
        model, request = self._bench.model, self._bench.scratch / "inside.json"
        asked = {
            "measure": self._measure,
            "blocks": BLOCKS[self._measure],
            "seed": turn,
            "folder": str(self._bench.scratch),
            "model": model.model_file("onnx").path,
            "image": str(model.folder / model.manifest.examples[0].image.path),
            "preprocess": model.manifest.preprocess,
        }
        request.write_bytes(msgspec.json.encode(asked))
        finished = self._bench.spawner.run((*self._target.command, str(request)), self._target.environment(), TIMEOUT_S)
        if finished.exit_code:
            raise NotMeasuredError(Reason("crashed", f"the program {describe_exit(finished)}"))
        answer = msgspec.json.decode(finished.stdout, type=_Answer)
        if answer.reason:
            raise NotMeasuredError(Reason("not-measured", answer.reason))
        self.versions |= answer.versions
        return answer.values
