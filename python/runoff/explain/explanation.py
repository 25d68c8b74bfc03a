"""One explanation: the model is cut, and an ordinary run measures the whole and its segments on both sides."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from runoff import paths
from runoff.bench import Pipeline
from runoff.explain.parts import KINDS, Part, parts_of
from runoff.explain.sides import Side, on_release
from runoff.models.cuts import CUTS, Cuts, Request
from runoff.models.own.find import ENVIRONMENT, environment_python, own_models, run_program
from runoff.models.prepare import ensure_models
from runoff.plan.own_suite import is_model, own_suite, toml_table
from runoff.plan.suite import parse_suite
from runoff.processes import workspace
from runoff.records.errors import ExitCode, RunoffError
from runoff.records.files import read_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from runoff.models.store import StoredModel
    from runoff.plan.own_suite import OwnOptions
    from runoff.plan.suite import Suite
    from runoff.plan.target import TargetInfo
    from runoff.processes import Spawner
    from runoff.records.schema import Case

SEGMENTS = 8
BLOCKS = 8
"""Sets of fresh processes of each model."""
SHORT_SETS = {"min_samples": 20, "min_time_s": 0, "warmup_time_s": 1.0, "huge_pages": True}
"""Processes differ by their memory layout: many short sets are more precise than a few long ones."""
ORIGINAL, WHOLE = "original", "whole"
"""Models of the run: the file as it is, and folded, which is what is cut."""


class Explained(Struct, frozen=True, kw_only=True):
    """The result of an explanation."""

    model: str
    first: Side
    second: Side
    cuts: Cuts
    parts: tuple[Part, ...]
    folder: Path
    """Of the run."""

    @property
    def by_kind(self) -> dict[str, list[Part]]:
        """The parts of each kind, in their order."""
        return {kind: [part for part in self.parts if part.kind == kind] for kind in KINDS}


class _Explanation(Pipeline):
    """The pipeline, with both sides as targets of one comparison."""

    resumable = False

    def __init__(self, suite: Suite, text: str, folder: Path, console: Console, sides: Sequence[Side]) -> None:
        super().__init__(suite, text, folder, console)
        self._sides = sides

    def complete(
        self, cases: tuple[Case, ...], targets: dict[str, TargetInfo]
    ) -> tuple[tuple[Case, ...], dict[str, TargetInfo]]:
        """Return the cases of both sides, as if their settings were those of the first: they take turns."""
        made: list[Case] = []
        named = dict(targets)
        for model in dict.fromkeys(case.model for case in cases):
            for place, (side, name) in enumerate(zip(self._sides, names_of(self._sides), strict=True)):
                case = _case_of(side, [case for case in cases if case.model == model])
                if case.skipped:
                    raise RunoffError(
                        f"{side.text}: {case.skipped.message}", case.skipped.hint, ExitCode.NOTHING_RUNS_HERE
                    )
                variant = case.variant if place == 0 else made[-1].variant
                identity = ".".join((model, case.workload, name, *variant))
                made.append(msgspec.structs.replace(case, id=identity, target=name, variant=variant))
                named[name] = targets[case.target]
        return super().complete(tuple(made), named)


def names_of(sides: Sequence[Side]) -> list[str]:
    """Return the names of both sides in the run; they differ, even if the sides do not."""
    first, second = (side.name for side in sides)
    return [first, second if second != first else f"{second}-2"]


def _case_of(side: Side, cases: Sequence[Case]) -> Case:
    return next(case for case in cases if case.target == side.runs_as and case.settings == side.resolved)


def explain(
    model: str, options: OwnOptions, sides: Sequence[Side], results: Path, console: Console, *, segments: int = SEGMENTS
) -> Explained:
    """Return which parts of a model make the second of two `sides` slower or faster than the first.

    `model` is the name of one in the zoo or the store, or the user's as ``runoff bench`` takes it, with its `options`;
    the run's folder is created in `results`.

    Raises
    ------
    RunoffError
        For bad input, or if the model cannot be cut or measured on both sides.
    """

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    with workspace() as (spawner, scratch):
        stored = _stored(model, options, spawner, say)
        folder = _cut(stored, segments, spawner, scratch, say)
    cuts = msgspec.json.decode((folder / CUTS).read_bytes(), type=Cuts)
    text = suite_text(stored, cuts, folder, sides, say)
    explanation = _Explanation(parse_suite(text, f"the suite for {model}"), text, folder, console, sides)
    run_folder, code = explanation.run(results)
    run = read_run(run_folder)
    if code not in (ExitCode.OK, ExitCode.CASE_FAILED):
        raise RunoffError(f"nothing of {model} was measured", f"see: runoff report {run_folder}", code)
    first, second = names_of(sides)
    parts = parts_of(run, cuts, first, second)
    return Explained(model=model, first=sides[0], second=sides[1], cuts=cuts, parts=parts, folder=run_folder)


def _stored(model: str, options: OwnOptions, spawner: Spawner, say: Callable[[str], None]) -> StoredModel:
    """Return the model with an ONNX file."""
    if not is_model(model):
        return ensure_models([model], spawner, say)[model]
    suite = parse_suite(own_suite(model, options), f"the options for {model}")
    (stored, *_) = own_models(suite.models, Path.cwd(), spawner, say).values()
    return stored


def _cut(stored: StoredModel, segments: int, spawner: Spawner, scratch: Path, say: Callable[[str], None]) -> Path:
    """Return the folder with the segments of a model, made unless it is there."""
    examples = [stored.inputs(index) for index in range(len(stored.manifest.examples))]
    request = Request(model=stored.model_file("onnx").path, examples=tuple(examples), segments=segments)
    key = hashlib.sha256(msgspec.json.encode((request, stored.hashes))).hexdigest()[:16]
    folder = paths.home() / "cuts" / f"{stored.manifest.name}-{key}"
    if not (folder / CUTS).exists():
        say(f"cutting {stored.manifest.name} into {segments} segments")
        (scratch / "request.json").write_bytes(msgspec.json.encode(request))
        arguments = ("-m", "runoff.models.cut", str(scratch / "request.json"), str(folder))
        run_program(environment_python(ENVIRONMENT, say), arguments, spawner, f"cutting {stored.manifest.name}")
    return folder


def suite_text(stored: StoredModel, cuts: Cuts, folder: Path, sides: Sequence[Side], say: Callable[[str], None]) -> str:
    """Return the suite: the model as it is, folded, its segments and its cuts, each on both sides.

    Releases that are missing are installed, announced by `say`.
    """
    examples = range(len(stored.manifest.examples))
    names = [WHOLE, *(f"segment-{place}" for place in range(1, len(cuts.segments) + 1))]
    names += [f"cut-{place}" for place in range(1, len(cuts.cuts) + 1)]
    files = {name: str(folder / f"{name}.onnx") for name in names} | {ORIGINAL: stored.model_file("onnx").path}
    inputs = {name: [str(folder / f"{name}.{index}.npz") for index in examples] for name in names}
    inputs[ORIGINAL] = inputs[WHOLE]
    head = {
        "name": f"explain-{stored.manifest.name}",
        "description": f"runoff explain {' '.join(side.text for side in sides)} {stored.manifest.name}",
        "models": [ORIGINAL, *names],
        "targets": [sides[0].runs_as],
        "workloads": ["tensor"],
        "probes": ["accuracy", "latency"],
        "baselines": [names_of(sides)[0]],
    }
    tables = [toml_table("[suite]", head)]
    tables += [toml_table(f"[models.{name}]", {"path": files[name], "examples": inputs[name]}) for name in files]
    tables += [toml_table("[[group]]", {"targets": [side.runs_as], "settings": side.settings}) for side in sides]
    for side in sides:
        if side.release:
            target = on_release(side, say)
            tables.append(
                toml_table(f"[targets.{json.dumps(side.runs_as)}]", {"command": target.command, "env": target.env})
            )
    measure = [toml_table("[measure.blocks]", {"latency": BLOCKS}), toml_table("[measure.latency]", SHORT_SETS)]
    return "\n".join([*tables, *measure])
