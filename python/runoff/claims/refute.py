"""``runoff refute``: measures the suite of somebody else's run, and checks each verdict of that run on this machine."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from runoff import paths
from runoff.analysis.claims import NOT_MEASURED, Answer, decide, spans
from runoff.analysis.samples import tidy
from runoff.analysis.summary import summarise
from runoff.analysis.verdict import Verdict, not_comparable, read_verdict
from runoff.bench import Pipeline
from runoff.models.store import ModelStore
from runoff.models.zoo import find_model
from runoff.plan.suite import parse_suite
from runoff.probes import PROBES
from runoff.records.errors import RunoffError
from runoff.records.files import RUN_FILE, SUMMARY, sha256_of
from runoff.records.machine import headline
from runoff.records.schema import RunInfo
from runoff.records.untrusted import clean, read_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from runoff.plan.suite import OwnModel, Suite
    from runoff.records.errors import ExitCode
    from runoff.records.schema import Case, Run

_CODE = ("factory", "example", "program", "weights", "python")
"""Fields of a user's model that run code."""
_NUMBERS = ("ratio", "ratio_low", "ratio_high", "p_adjusted", "floor")
_KEYS = ("case", "probe", "metric", "baseline")
Key = tuple[str, str, str, str]
Line = Mapping[Any, Any]
"""A row of ``summary.csv``."""


class Stated(Struct, frozen=True, kw_only=True):
    """A verdict of the other run, and its outcome on this machine."""

    case: str
    metric: str
    baseline: str
    theirs: Verdict
    answer: Answer
    """Its numbers are this machine's."""


class TheirRun(Struct, frozen=True):
    """Somebody else's run: nothing in it is trusted."""

    folder: Path
    info: RunInfo
    suite: Suite
    verdicts: dict[Key, Verdict]
    """Those that state something on a main metric, by case, probe, metric and baseline."""


def read_theirs(folder: Path) -> TheirRun:
    """Read the suite and the verdicts of the run in `folder`.

    Raises
    ------
    RunoffError
        If its files are missing, too large or damaged, or there is no verdict.
    """
    try:
        info = msgspec.json.decode(read_file(folder / RUN_FILE), type=RunInfo)
        headline(info.machine)  # its fields are printed later
        suite = parse_suite(info.suite_text, f"{folder}: suite")
        lines = list(csv.DictReader(read_file(folder / SUMMARY).decode().splitlines()))
        measured = {case.id for case in info.cases if case.control_of is None}
        verdicts = {key: verdict for key, verdict in _verdicts(lines) if key[0] in measured}
    except FileNotFoundError as error:
        raise RunoffError(f"{error.filename} not found", f"its owner makes it: runoff report {folder}") from None
    except KeyError as error:
        raise RunoffError(f"{folder}: no field or column {error}", "ask for a run of this version of runoff") from None
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise RunoffError(f"{folder} cannot be read as a run: {error}", "ask its owner for the folder again") from error
    if not verdicts:
        raise RunoffError(f"{folder} has no verdict to check", "it compares nothing, or measured nothing")
    return TheirRun(folder, info, suite, verdicts)


def _verdicts(lines: Sequence[Mapping[str, str]]) -> Iterator[tuple[Key, Verdict]]:
    for line in lines:
        probe = PROBES.get(line["probe"])
        if probe is None or line["metric"] not in probe.main_metrics or line["status"] != "ok":
            continue
        numbers = {name: float(line[name] or nan) for name in _NUMBERS}
        verdict = read_verdict({**{key: clean(value) for key, value in line.items()}, **numbers})
        if spans(verdict) and 0 < verdict.low <= verdict.high:
            case, name, metric, baseline = (clean(line[key]) for key in _KEYS)
            yield (case, name, metric, baseline), verdict


def check_trust(theirs: TheirRun, *, allow_commands: bool) -> None:
    """Refuse a suite that runs programs or code of its own, unless that is permitted.

    Raises
    ------
    RunoffError
        If it does; the message shows the first.
    """
    suite = theirs.suite
    found = [f"[targets.{name}] command = {list(target.command)}" for name, target in suite.targets.items()]
    for name, own in suite.models.items():
        found += [f"[models.{name}] {key} = {getattr(own, key)!r}" for key in _CODE if getattr(own, key)]
    if found and not allow_commands:
        count = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise RunoffError(
            f"the suite of {theirs.folder} starts code of its own: {found[0]}{count}",
            "read it first; if you trust it: --allow-commands",
        )


def with_models(theirs: TheirRun, files: Sequence[Path]) -> Suite:
    """Return the suite with its models on this machine: a user's model is the one of `files` with the same SHA-256.

    Raises
    ------
    RunoffError
        If a model is missing; the hint has its SHA-256.
    """
    hashes = {sha256_of(file): str(file.absolute()) for file in files}
    own = {name: _located(theirs, name, model, hashes) for name, model in theirs.suite.models.items()}
    stored = ModelStore(paths.models()).names()
    for name in theirs.suite.names("models"):
        if name not in own and name not in stored:
            try:
                find_model(name)
            except RunoffError:
                digest = _digest(theirs.info, name)
                raise RunoffError(
                    f"model {name!r} (SHA-256 {digest}) not found", f"get its file, then: runoff add FILE --name {name}"
                ) from None
    return replace(theirs.suite, models=own)


def _located(theirs: TheirRun, name: str, model: OwnModel, hashes: Mapping[str, str]) -> OwnModel:
    digest = _digest(theirs.info, name)
    if digest in hashes:
        return replace(model, path=hashes[digest])
    if model.network:  # exported from the network, so there may be no file
        return model
    path = Path(model.path).absolute()
    if not path.is_file() or sha256_of(path) != digest:
        raise RunoffError(
            f"model {name!r} (SHA-256 {digest}) not found",
            f"get its file, then: runoff refute {theirs.folder} --model FILE",
        )
    return replace(model, path=str(path))


def _digest(info: RunInfo, model: str, form: str = "onnx") -> str:
    """Return the SHA-256 of a model's file in a format; ``unknown`` if the run does not have it."""
    return clean(str((info.models.get(model, {}).get("sha256") or {}).get(form) or "unknown"))


def measure(
    theirs: TheirRun, suite: Suite, budget: str | None, results: Path, console: Console
) -> tuple[Path, ExitCode]:
    """Measure `suite` on this machine; return the run's folder and the exit code."""
    pipeline = Pipeline(suite.with_stopping_rule(None, budget), theirs.info.suite_text, Path.cwd(), console)
    pipeline.resumable = False  # a resumed run would read the other machine's paths
    return pipeline.run(results)


def check(theirs: TheirRun, ours: Run) -> list[Stated]:
    """Return the outcome in the run `ours` of each verdict of `theirs`."""
    lines = summarise(ours, tidy(ours)).to_dict("records")
    by_key = {tuple(line[key] for key in _KEYS): line for line in lines}
    return [
        Stated(
            case=key[0],
            metric=f"{key[1]}.{key[2]}",
            baseline=key[3],
            theirs=verdict,
            answer=_answer(theirs, key, verdict, ours, by_key),
        )
        for key, verdict in theirs.verdicts.items()
    ]


def _answer(theirs: TheirRun, key: Key, verdict: Verdict, ours: Run, lines: Mapping[tuple[Any, ...], Line]) -> Answer:
    """Return the outcome of the verdict called `key`; `lines` are the rows of this machine's summary by their keys."""
    name, *rest = key
    case = next((case for case in ours.info.cases if case.id == name), None) or _on_all_cores(name, theirs.info, ours)
    if case is None:
        return _open("its suite has no such case on this machine")
    if case.skipped:
        return _open(str(case.skipped))
    if differs := _other_model(theirs.info, ours.info, case):
        return _open(differs)
    line, stated = lines.get((case.id, *rest)), spans(verdict)
    if line is None or stated is None or not isfinite(line["ratio_low"]):
        of_probe = [line["reason"] for key, line in lines.items() if key[:2] == (case.id, rest[0]) and line["reason"]]
        return _open(str(of_probe[0]) if of_probe else NOT_MEASURED)
    return decide(read_verdict(line), *stated)


def _on_all_cores(name: str, theirs: RunInfo, ours: Run) -> Case | None:
    """Return the case called `name` there, if its threads are all cores of either machine."""
    there, here = (f".t{info.machine.get('cores_allowed')}." for info in (theirs, ours.info))
    return next((case for case in ours.info.cases if case.id == name.replace(there, here, 1)), None)


def _open(reason: str) -> Answer:
    return Answer("cannot be told", not_comparable(reason), reason)


def _other_model(theirs: RunInfo, ours: RunInfo, case: Case) -> str:
    """Return how the model's file of a case differs from theirs; empty if it does not."""
    form = case.made_from or case.format
    there, here = (_digest(info, case.model, form) for info in (theirs, ours))
    return "" if there == here else f"another model file: SHA-256 {there[:12]} there, {here[:12]} here"
