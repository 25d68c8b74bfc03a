"""One explanation: the model is cut, and an ordinary run measures the whole and its segments on both sides."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from runoff import paths
from runoff.adaptive.suite import SHORT_SETS, suite_text
from runoff.bench import Pipeline
from runoff.explain.parts import KINDS, Part, parts_of, phases_of
from runoff.explain.sides import Side, on_release
from runoff.models.cuts import CUTS, VERSION, Cuts, Request
from runoff.models.own.find import ENVIRONMENT, environment_python, own_models, run_program
from runoff.models.prepare import ensure_models
from runoff.plan.own_suite import is_model, toml_table
from runoff.plan.suite import CustomTarget, Group, Measure, parse_suite
from runoff.processes import workspace
from runoff.records.errors import ExitCode, RunoffError
from runoff.records.files import read_run, sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from runoff.models.store import StoredModel
    from runoff.plan.own_suite import OwnOptions
    from runoff.plan.suite import Suite
    from runoff.plan.target import TargetInfo
    from runoff.processes import Spawner
    from runoff.records.schema import Case

BLOCKS = {"life": 20, "latency": 8}
"""Sets of fresh processes of each model, by probe."""
ORIGINAL, WHOLE = "original", "whole"
"""Models of the run: the file as it is, and folded, which is what is cut."""


class Explained(Struct, frozen=True, kw_only=True):
    """The result of an explanation."""

    model: str
    first: Side
    second: Side
    cuts: Cuts | None
    """None if a process was explained, not an inference."""
    parts: tuple[Part, ...]
    folder: Path
    """Of the run."""

    @property
    def by_kind(self) -> dict[str, list[Part]]:
        """The parts of each kind, in their order."""
        return {kind: [part for part in self.parts if part.kind == kind] for kind in KINDS}


class SidesPipeline(Pipeline):
    """The pipeline, with the sides as targets of one comparison."""

    resumable = False
    describes_models = False  # they are parts of one

    def __init__(self, suite: Suite, text: str, folder: Path, console: Console, sides: Sequence[Side]) -> None:
        super().__init__(suite, text, folder, console)
        self._sides = sides

    def complete(
        self, cases: tuple[Case, ...], targets: dict[str, TargetInfo]
    ) -> tuple[tuple[Case, ...], dict[str, TargetInfo]]:
        """Return the cases of all sides, as if their settings were those of the first: they take turns."""
        made: list[Case] = []
        named = dict(targets)
        for model in dict.fromkeys(case.model for case in cases):
            for place, (side, name) in enumerate(zip(self._sides, names_of(self._sides), strict=True)):
                case = _case_of(side, [case for case in cases if case.model == model])
                if case.skipped:
                    raise RunoffError(
                        f"{side.text}: {case.skipped.message}", case.skipped.hint, ExitCode.NOTHING_RUNS_HERE
                    )
                can = targets[case.target].capabilities
                if can and not can.computes:
                    raise RunoffError(f"{side.text} computes nothing", "choose a target that runs models")
                variant = case.variant if place == 0 else made[-1].variant
                identity = ".".join((model, case.workload, name, *variant))
                made.append(msgspec.structs.replace(case, id=identity, target=name, variant=variant))
                named[name] = targets[case.target]
        return super().complete(tuple(made), named)


def names_of(sides: Sequence[Side]) -> list[str]:
    """Return the names of one or two sides in the run; they differ, even if the sides do not."""
    names = [side.name for side in sides]
    return names if len(set(names)) == len(names) else [names[0], f"{names[1]}-2"]


def _case_of(side: Side, cases: Sequence[Case]) -> Case:
    return next(case for case in cases if case.target == side.runs_as and case.settings == side.resolved)


def explain(
    model: str, options: OwnOptions, sides: Sequence[Side], segments: int, results: Path, console: Console
) -> Explained:
    """Return which parts of a model make the second of two `sides` slower or faster than the first.

    The parts are at most so many `segments` of a warm inference; with 0, they are the phases of a process. `model` is
    the name of one in the zoo or the store, or the user's as ``runoff bench`` takes it, with its `options`; the run's
    folder is created in `results`.

    Raises
    ------
    RunoffError
        For bad input, or if the model cannot be cut or measured on both sides.
    """

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    cuts, text = None, suite_text(model, options)
    if segments:
        with workspace() as (spawner, scratch):
            stored = _stored(model, text, spawner, say)
            folder = _cut(stored, options.version, segments, spawner, scratch, say)
        cuts = msgspec.json.decode((folder / CUTS).read_bytes(), type=Cuts)
        text = segments_text(stored, options, cuts, folder)
    base = parse_suite(text, f"the suite for {model}")
    suite = of_sides(base, sides, ("accuracy", "latency" if segments else "life"), f"explain {model}", say)
    run_folder, code = SidesPipeline(suite, text, Path.cwd(), console, sides).run(results)
    if code not in (ExitCode.OK, ExitCode.CASE_FAILED):
        raise RunoffError(f"nothing of {model} was measured", f"see: runoff report {run_folder}", code)
    run, names = read_run(run_folder), names_of(sides)
    parts = parts_of(run, cuts, *names) if cuts else phases_of(run, *names)
    return Explained(model=model, first=sides[0], second=sides[1], cuts=cuts, parts=parts, folder=run_folder)


def _stored(model: str, text: str, spawner: Spawner, say: Callable[[str], None]) -> StoredModel:
    """Return the model of the suite in `text`, with an ONNX file."""
    if not is_model(model):
        return ensure_models([model], spawner, say)[model]
    (stored, *_) = own_models(parse_suite(text, model).models, Path.cwd(), spawner, say).values()
    return stored


def _cut(
    stored: StoredModel,
    version: str | None,
    segments: int,
    spawner: Spawner,
    scratch: Path,
    say: Callable[[str], None],
) -> Path:
    """Return the folder with the segments of a model, and of its other `version`, made unless it is there."""
    examples = [stored.inputs(index) for index in range(len(stored.manifest.examples))]
    request = Request(
        model=stored.model_file("onnx").path,
        version=str(Path(version).absolute()) if version else "",
        examples=tuple(examples),
        segments=segments,
    )
    other = sha256_of(Path(version)) if version else ""
    key = hashlib.sha256(msgspec.json.encode((request, stored.hashes, other))).hexdigest()[:16]
    folder = paths.home() / "cuts" / f"{stored.manifest.name}-{key}"
    if not (folder / CUTS).exists():
        say(f"cutting {stored.manifest.name} into {segments} segments")
        (scratch / "request.json").write_bytes(msgspec.json.encode(request))
        arguments = ("-m", "runoff.models.cut", str(scratch / "request.json"), str(folder))
        run_program(environment_python(ENVIRONMENT, say), arguments, spawner, f"cutting {stored.manifest.name}")
    return folder


def segments_text(stored: StoredModel, options: OwnOptions, cuts: Cuts, folder: Path) -> str:
    """Return the text of a suite of the model as it is, folded, its segments and its cuts, with its other version."""
    version, more = options.version, {"tolerance": options.tolerance} if options.tolerance else {}
    examples = range(len(stored.manifest.examples))
    names = [WHOLE, *(f"segment-{place}" for place in range(1, len(cuts.segments) + 1))]
    names += [f"cut-{place}" for place in range(1, len(cuts.cuts) + 1)]
    files = {name: str(folder / f"{name}.onnx") for name in names} | {ORIGINAL: stored.model_file("onnx").path}
    inputs = {name: [str(folder / f"{name}.{index}.npz") for index in examples] for name in names}
    inputs[ORIGINAL] = inputs[WHOLE]
    matrix = {"name": stored.manifest.name, "models": [ORIGINAL, *names], "workloads": ["tensor"]}
    tables = [toml_table("[suite]", {**matrix, "targets": ["ort-python"], "probes": ["latency"]})]
    for name, path in files.items():
        other = folder / VERSION / f"{name}.onnx"
        # what passes a cut on is the same for both
        versions = {VERSION: str(other if other.exists() else path)} if version else {}
        versions |= {VERSION: str(Path(version).absolute())} if version and name == ORIGINAL else {}
        table = {"path": path, "examples": inputs[name], **({"versions": versions} if versions else {}), **more}
        tables.append(toml_table(f"[models.{name}]", table))
    return "\n".join(tables)


def of_sides(
    base: Suite, sides: Sequence[Side], probes: tuple[str, ...], what: str, say: Callable[[str], None]
) -> Suite:
    """Return a suite with the models of `base` on the sides; `say` announces a release that is installed.

    `what` is the command and the model.
    """
    own = {side.runs_as: on_release(side, say) for side in sides if side.release}
    command, _, model = what.partition(" ")
    matrix = msgspec.structs.replace(
        base.suite,
        name=f"{command}-{base.suite.name}",
        description=f"runoff {command} {' '.join(side.text for side in sides)} {model}",
        targets=tuple(side.runs_as for side in sides),
        probes=probes,
        baselines=(names_of(sides)[0],),
    )
    return msgspec.structs.replace(
        base,
        suite=matrix,
        settings={},
        targets={name: CustomTarget(command=target.command, env=target.env) for name, target in own.items()},
        group=tuple(Group(targets=(side.runs_as,), settings=side.settings) for side in sides),
        measure=Measure(blocks={probe: BLOCKS[probe] for probe in probes if probe in BLOCKS}, latency=SHORT_SETS),
    )
