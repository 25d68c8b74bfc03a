"""One explanation: the model is cut, and an ordinary run measures the whole and its segments on both sides."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from runoff import paths
from runoff.adaptive.suite import suite_text
from runoff.environments import environment_python
from runoff.explain.memory import COST_BLOCKS, Memory, Variant, details_of, memory_parts, savings_of, untried, variants
from runoff.explain.networks import networks_of, parts_in_torch, with_networks
from runoff.explain.nodes import Row, as_called, profiled_nodes, rows_of
from runoff.explain.parts import KINDS, Part, parts_of, phases_of
from runoff.explain.units import UNITS, Unit
from runoff.measure.machine import describe_machine
from runoff.models.cuts import CUTS, FORM, VERSION, Cuts, Peak, Request
from runoff.models.own.find import ENVIRONMENT, own_models, run_program
from runoff.models.prepare import ensure_models
from runoff.plan.own_suite import is_model, toml_table
from runoff.plan.suite import parse_suite
from runoff.probes.mappings import MAPPINGS
from runoff.probes.operators import OPERATORS
from runoff.processes import workspace
from runoff.records.errors import ExitCode, RunoffError
from runoff.records.files import read_run, sha256_of, write_atomically
from runoff.records.machine import machine_key
from runoff.report.text import plural
from runoff.sides import BLOCKS, Side, SidesPipeline, case_of, names_of, of_sides

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import Console

    from runoff.bench import Planned
    from runoff.models.store import StoredModel
    from runoff.plan.own_suite import OwnOptions
    from runoff.plan.suite import Suite
    from runoff.plan.target import TargetInfo
    from runoff.processes import Spawner
    from runoff.records.protocol import ModelFile
    from runoff.records.schema import Case, Run

_TIMED_NS = 50_000
"""Shortest time of a node that a rate is computed from: profilers count microseconds."""
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
    rows: tuple[Row, ...] = ()
    """Of the nodes, by the profilers of both sides; none if a side has no profile."""
    missing: tuple[str, ...] = ()
    """The reasons why sides have no profile."""
    peaks: tuple[Peak, ...] = ()
    """Of this machine with the threads of each side; none without profiles."""
    memory: Memory | None = None
    """Only if memory was explained."""
    folder: Path
    """Of the run."""

    @property
    def unit(self) -> Unit:
        """The unit of the parts."""
        return UNITS["bytes" if self.memory else "ns"]

    @property
    def by_kind(self) -> dict[str, list[Part]]:
        """The parts of each kind, in their order."""
        return {kind: [part for part in self.parts if part.kind == kind] for kind in KINDS}


class _Explanation(SidesPipeline):
    """The pipeline, which gives models their networks in PyTorch, and profiles only the whole."""

    describes_models = False  # they are parts of one

    def __init__(
        self,
        suite: Suite,
        text: str,
        console: Console,
        sides: Sequence[Side],
        networks: Mapping[str, Sequence[ModelFile]],
    ) -> None:
        super().__init__(suite, text, console, sides)
        self._networks = networks

    def own_models(self, spawner: Spawner) -> dict[str, StoredModel]:
        """Return the models, with their networks in PyTorch, which need no description: the ONNX files have it."""
        models = super().own_models(spawner)
        return {name: with_networks(model, self._networks.get(name, ())) for name, model in models.items()}

    def complete(self, cases: tuple[Case, ...], targets: dict[str, TargetInfo]) -> Planned:
        """Return the cases of all sides; only the whole model of the sides themselves has details."""
        self._sides = [side for side in self._sides if _is_possible(side, cases, targets)]
        completed, named = super().complete(cases, targets)
        wanted = set(names_of(self._sides)[:2])
        return tuple(_without_details(case, wanted) for case in completed), named


def _is_possible(side: Side, cases: tuple[Case, ...], targets: dict[str, TargetInfo]) -> bool:
    """Return whether a side can run; one that is not a variant is reported later if it cannot."""
    if not isinstance(side, Variant):
        return True
    can = targets[side.runs_as].capabilities
    return case_of(side, cases).skipped is None and (can is None or bool(set(side.changed) & set(can.settings)))


def _without_details(case: Case, wanted: set[str]) -> Case:
    """Return a case without profile unless it is the whole model, and both only of the targets that are `wanted`."""
    left = {OPERATORS.name} if case.model != WHOLE else set()
    left |= {OPERATORS.name, MAPPINGS.name} if case.target not in wanted else set()
    return msgspec.structs.replace(case, probes=tuple(name for name in case.probes if name not in left))


def explain(
    model: str,
    options: OwnOptions,
    sides: Sequence[Side],
    segments: int,
    results: Path,
    console: Console,
    *,
    memory: bool = False,
) -> Explained:
    """Return which parts of a model make the second of two `sides` slower, faster or larger than the first.

    The parts are at most so many `segments` of a warm inference; with 0, they are the phases of a process, and with
    `memory`, of its peak memory. `model` is the name of one in the zoo or the store, or the user's as ``runoff bench``
    takes it, with its `options`; the run's folder is created in `results`.

    Raises
    ------
    RunoffError
        For bad input, or if the model cannot be cut or measured on both sides.
    """

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    cuts, in_torch, text = None, {}, suite_text(model, options)
    if segments:
        with workspace() as (spawner, scratch):
            stored = _stored(model, text, spawner, say)
            networks = networks_of(stored, sides, python=options.python)
            folder = _cut(stored, options.version, networks, segments, spawner, scratch, say)
        cuts = msgspec.json.decode((folder / CUTS).read_bytes(), type=Cuts)
        in_torch = {ORIGINAL: networks, **parts_in_torch(networks, folder, names_of_models(cuts))}
        text = segments_text(stored, options, cuts, folder)
    base = parse_suite(text, f"the suite for {model}")
    timed = ("latency", OPERATORS.name) if segments else ("latency", "memory", MAPPINGS.name) if memory else ("life",)
    sides = [*sides, *variants(sides)] if memory else sides
    blocks = BLOCKS | COST_BLOCKS if memory else BLOCKS
    suite = of_sides(base, sides, ("accuracy", *timed), f"explain {model}", say, blocks)
    run_folder, code = _Explanation(suite, text, console, sides, in_torch).run(results)
    if code not in (ExitCode.OK, ExitCode.CASE_FAILED):
        raise RunoffError(f"nothing of {model} was measured", f"see: runoff report {run_folder}", code)
    run, names = read_run(run_folder), names_of(sides)
    if memory:
        return _of_memory(run, model, sides)
    parts = parts_of(run, cuts, *names) if cuts else phases_of(run, *names)
    explained = Explained(model=model, first=sides[0], second=sides[1], cuts=cuts, parts=parts, folder=run_folder)
    return _with_nodes(explained, run, cuts, say) if cuts else explained


def _of_memory(run: Run, model: str, sides: Sequence[Side]) -> Explained:
    """Return the explanation of the memory of two `sides`, which variants may follow."""
    names, here = names_of(sides), {case.target for case in run.info.cases}
    parts, missing = memory_parts(run, *names[:2])
    known = {side.text: name for side, name in reversed(list(zip(sides[:2], names, strict=False)))}
    tried = [
        (name, side) for side, name in zip(sides, names, strict=True) if isinstance(side, Variant) and name in here
    ]
    savings, notes = savings_of(run, known, tried, parts[0].floor)
    peaks = parts[0].first or 0.0, parts[0].second or 0.0
    details = tuple(map(details_of, [run, run], sides, names, peaks))
    reasons = untried(sides, [side for _, side in tried])
    memory = Memory(details=details, savings=savings, notes=(*missing, *notes, *reasons))
    return Explained(
        model=model, first=sides[0], second=sides[1], cuts=None, parts=parts, memory=memory, folder=run.folder
    )


def _with_nodes(explained: Explained, run: Run, cuts: Cuts, say: Callable[[str], None]) -> Explained:
    """Return `explained` with the nodes of both sides, if both were profiled."""
    sides = explained.first, explained.second
    profiles, missing = [], []
    for side, name in zip(sides, names_of(sides), strict=True):
        case = next(case for case in run.info.cases if (case.model, case.target) == (WHOLE, name))
        nodes = profiled_nodes(run.records, case.id)
        profiles.append(as_called(nodes, cuts) if side.network else nodes)
        if nodes and not profiles[-1]:
            missing.append(f"{side.text}: its profile has other operators than the recorded graph")
        elif not nodes:
            own = (one for one in run.records if (one.case, one.probe) == (case.id, OPERATORS.name))
            reason = next((one.reason for one in own if one.reason), None)
            missing.append(f"{side.text}: {reason.message if reason else 'it was not profiled'}")
    if missing:
        return msgspec.structs.replace(explained, missing=tuple(missing))
    rows = rows_of(cuts, *profiles)
    threads = [side.resolved.threads for side in sides]
    peaks = {
        count: peak_of(count, max(_reached(rows, place) for place in (0, 1) if threads[place] == count), say)
        for count in set(threads)
    }
    return msgspec.structs.replace(explained, rows=rows, peaks=tuple(peaks[count] for count in threads))


def _reached(rows: Sequence[Row], side: int) -> float:
    """Return the most operations a second in a row that takes long enough to tell."""
    timed = ((row.flops or 0, row.times_ns[side]) for row in rows)
    return max((1e9 * flops / ns for flops, ns in timed if ns >= _TIMED_NS), default=0.0)


def peak_of(threads: int, reached: float, say: Callable[[str], None]) -> Peak:
    """Return the most that this machine does with so many threads, measured unless it is known.

    If a node has `reached` more operations a second, something disturbed the measurement: it is repeated, and the
    better one is kept.
    """
    key = hashlib.sha256(f"{machine_key(describe_machine())}, {threads}".encode()).hexdigest()[:16]
    path = paths.home() / "peaks" / f"{key}.json"
    known = msgspec.json.decode(path.read_bytes(), type=Peak) if path.exists() else Peak()
    if known.flops_per_s < reached or not known.bytes_per_s:
        say(f"measuring the peak of this machine with {plural(threads, 'thread')} (about 10 s)")
        with workspace() as (spawner, scratch):
            made = scratch / "peak.json"
            arguments = ("-m", "runoff.models.peak", str(threads), str(made))
            run_program(environment_python(ENVIRONMENT, say), arguments, spawner, "measuring the peak")
            known = known.best(msgspec.json.decode(made.read_bytes(), type=Peak))
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, msgspec.json.encode(known))
    return known


def _stored(model: str, text: str, spawner: Spawner, say: Callable[[str], None]) -> StoredModel:
    """Return the model of the suite in `text`, with an ONNX file."""
    if not is_model(model):
        return ensure_models([model], spawner, say)[model]
    (stored, *_) = own_models(parse_suite(text, model).models, Path.cwd(), spawner, say).values()
    return stored


def _cut(
    stored: StoredModel,
    version: str | None,
    networks: tuple[ModelFile, ...],
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
        networks=networks,
        segments=segments,
    )
    other = sha256_of(Path(version)) if version else ""
    key = hashlib.sha256(msgspec.json.encode((FORM, request, stored.hashes, other))).hexdigest()[:16]
    folder = paths.home() / "cuts" / f"{stored.manifest.name}-{key}"
    if not (folder / CUTS).exists():
        say(f"cutting {stored.manifest.name} into {segments} segments")
        (scratch / "request.json").write_bytes(msgspec.json.encode(request))
        arguments = ("-m", "runoff.models.cut", str(scratch / "request.json"), str(folder))
        python = environment_python("export" if networks else ENVIRONMENT, say)
        run_program(python, arguments, spawner, f"cutting {stored.manifest.name}")
    return folder


def names_of_models(cuts: Cuts) -> list[str]:
    """Return the names of the folded model, its segments and its cuts."""
    segments = [f"segment-{place}" for place in range(1, len(cuts.segments) + 1)]
    return [WHOLE, *segments, *(f"cut-{place}" for place in range(1, len(cuts.cuts) + 1))]


def segments_text(stored: StoredModel, options: OwnOptions, cuts: Cuts, folder: Path) -> str:
    """Return the text of a suite of the model as it is, folded, its segments and its cuts, with its other version."""
    version, more = options.version, {"tolerance": options.tolerance} if options.tolerance else {}
    examples = range(len(stored.manifest.examples))
    names = names_of_models(cuts)
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
