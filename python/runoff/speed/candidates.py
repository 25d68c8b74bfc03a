"""The programs that are compared, a target's runner and the floor: how they are started and what they answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from runoff.measure.discovery import query_capabilities
from runoff.measure.parity import TOLERANCE, compare_outputs, worst
from runoff.measure.request import make_request
from runoff.measure.result import read_result
from runoff.models.prepared import prepare_file, prepare_models
from runoff.plan.cases import plan_case
from runoff.plan.settings import resolve
from runoff.processes import describe_exit
from runoff.records.reason import Reason
from runoff.speed.rows import FLOOR
from runoff.targets import BUILT_IN
from runoff.targets.base import onnxruntime_library, rust_target

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.models.store import StoredModel
    from runoff.plan.target import Target
    from runoff.probes.base import Probe
    from runoff.processes import Finished, Spawner
    from runoff.records.protocol import Effective, Request, Result


class NotMeasuredError(Exception):
    """Why something is not measured."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Candidate(Protocol):
    """A program that classifies the model's first photo."""

    def environment(self) -> dict[str, str]:
        """Return its whole environment."""

    def command(self, scratch: Path, probe: Probe) -> tuple[str, ...]:
        """Return the command line that does what `probe` asks; what it reads is written into `scratch`."""

    def check(self, finished: Finished, scratch: Path, *, watched: bool) -> Result | None:
        """Return what it answered, if it says more than the label.

        Raises
        ------
        NotMeasuredError
            When it failed, or its answer is wrong.
        """


class Runner:
    """A target's runner."""

    def __init__(self, target: Target, model: StoredModel, profile: str, spawner: Spawner) -> None:
        target_info = query_capabilities(target, spawner)
        settings = resolve({"profile": profile, "threads": 1})
        case = plan_case(model.manifest.name, "classify", settings, (), model.formats, target_info)
        if case.skipped:
            raise NotMeasuredError(case.skipped)
        ready = prepare_models((case,), {case.model: model}, {target.name: target_info}, spawner, _quiet)
        if ready.reasons:
            raise NotMeasuredError(ready.reasons[case.model])
        self._target = target
        self._model = ready.models[case.model]
        self._case = ready.cases[0]
        self.effective: Effective | None = None
        """What its last answer said was in effect."""

    def environment(self) -> dict[str, str]:
        """Return its whole environment."""
        return self._target.environment()

    def command(self, scratch: Path, probe: Probe) -> tuple[str, ...]:
        """Return the command line; the request is written into `scratch`."""
        (scratch / "request.json").write_bytes(msgspec.json.encode(self._request(scratch, probe)))
        asked, answered = str(scratch / "request.json"), str(scratch / "result.json")
        return (*self._target.command, "--request", asked, "--result", answered)

    def _request(self, scratch: Path, probe: Probe) -> Request:
        request = make_request(self._case, self._model, probe, scratch)
        return msgspec.structs.replace(request, inputs=request.inputs[:1])

    def check(self, finished: Finished, scratch: Path, *, watched: bool) -> Result | None:
        """Return its result, once its outputs were compared with the reference, and its label."""
        result, reason = read_result(finished, scratch / "result.json", self._case.id, watched=watched)
        if reason or result is None:
            raise NotMeasuredError(reason or Reason("no-result", "no result"))
        apart = worst(compare_outputs(result.outputs, [self._model.reference(0)]))
        if not result.outputs or apart > TOLERANCE["classify"]:
            raise NotMeasuredError(Reason("outputs-differ", f"its outputs differ from the reference by {apart:.2g}"))
        _check_label(result.top[0][0].label or "", self._model)
        self.effective = result.effective
        return result


class Floor:
    """``runoff-floor``, which prints its label."""

    def __init__(self, target: Target, model: StoredModel, profile: str, spawner: Spawner) -> None:
        if target.missing:
            raise NotMeasuredError(target.missing)
        manifest = model.manifest
        spec = manifest.preprocess
        numbers = (spec.resize, spec.crop, spec.interpolation, *spec.mean, *spec.std)
        path, mode = model.model_file("onnx").path, tuple[str, ...]()
        if profile == "cold":
            path, mode = _prepared(model, spawner), ("cold",)
        image, labels = str(model.folder / manifest.examples[0].image.path), str(model.folder / manifest.labels.path)
        self._target = target
        self._model = model
        self._command = (*target.command, path, image, ",".join(map(str, numbers)), labels, *mode)

    def environment(self) -> dict[str, str]:
        """Return its whole environment."""
        return self._target.environment()

    def command(self, scratch: Path, probe: Probe) -> tuple[str, ...]:  # noqa: ARG002 (it reads no request)
        """Return the command line."""
        return (*self._command, "turns") if probe.name == "turns" else self._command

    def check(self, finished: Finished, scratch: Path, *, watched: bool) -> Result | None:  # noqa: ARG002
        """Check its exit code and, unless a tool took what it printed, its label."""
        if finished.exit_code:
            raise NotMeasuredError(Reason("crashed", f"{FLOOR} {describe_exit(finished)}"))
        if not watched:
            _check_label(finished.stdout.rpartition(" ")[0], self._model)
        return None


def make_candidate(name: str, model: StoredModel, profile: str, spawner: Spawner) -> Candidate:
    """Return the program called `name`: the floor, or a target.

    Raises
    ------
    NotMeasuredError
        When it cannot run here.
    """
    if name == FLOOR:
        return Floor(rust_target(FLOOR, "runoff-floor", onnxruntime_library()), model, profile, spawner)
    return Runner(BUILT_IN[name](), model, profile, spawner)


def _prepared(model: StoredModel, spawner: Spawner) -> str:
    made = prepare_file(model, spawner, _quiet)
    if isinstance(made, Reason):
        raise NotMeasuredError(made)
    return made.path


def _quiet(_line: str) -> None:
    """Say nothing of what was prepared: it takes less than a second."""


def _check_label(label: str, model: StoredModel) -> None:
    right = model.manifest.examples[0].top1
    if label != right:
        raise NotMeasuredError(Reason("outputs-differ", f"it calls the photo {label!r}, not {right!r}"))
