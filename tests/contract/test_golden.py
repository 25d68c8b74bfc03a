"""Every runner responds to the golden requests as the protocol requires."""

from __future__ import annotations

import json
import math
import subprocess
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import pytest
from runners_under_test import GOLDEN, RUNNERS, Document, Outcome, Runner, execute, golden, launch, validate

from runoff.records.protocol import Capabilities

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runoff.records.protocol import WrittenTensor

PHASES = (
    *("start", "imports", "browser", "page", "runtime", "environment", "convert", "load"),
    *("preprocess", "inference", "warm", "output"),
)


class Answer(msgspec.Struct, frozen=True):
    """A golden request and its outcome in `folder`."""

    request: Document
    outcome: Outcome
    folder: Path


@pytest.fixture(scope="module")
def answer(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Runner], Answer]:
    """Return a function that executes a golden request once; several tests share the result."""

    @cache
    def do(name: str, runner: Runner) -> Answer:
        folder = tmp_path_factory.mktemp(name)
        request = golden(name, runner, models, folder)
        return Answer(request, execute(msgspec.structs.replace(runner, forks=False), request, folder), folder)

    return do


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_request(name: str, computing_program: Runner, answer: Callable[[str, Runner], Answer]) -> None:
    request, outcome, folder = msgspec.structs.astuple(answer(name, computing_program))
    assert (outcome.exit_code, outcome.result.status) == (0, "ok"), outcome.stderr
    assert outcome.result.case == request["case"]
    _assert_phases(outcome)
    for tensor in (*outcome.result.outputs, *outcome.result.tensors):
        _assert_written(tensor, folder / "out")
    memory, effective = outcome.result.memory, outcome.result.effective
    assert memory is not None
    if computing_program.is_process:
        assert (memory.peak_bytes or 0) > 1_000_000
    assert effective is not None
    assert effective.provider == "cpu"
    assert effective.threads in (None, 1)
    assert effective.denormals == "kept"


def test_once_gives_one_sample_and_the_classes(computing: Runner, answer: Callable[[str, Runner], Answer]) -> None:
    result = answer("once-classify", computing).outcome.result
    assert set(result.samples) == {"preprocess", "inference"}
    for timings in result.samples.values():
        assert timings.first_ns > 0
        assert timings.second_ns is None
        assert timings.warm_ns == ()
    assert [tensor.items for tensor in result.outputs] == [(0,)]
    (guesses,) = result.top
    assert guesses[0].label == "palace"
    assert len(guesses) == 5
    confidences = [guess.confidence for guess in guesses]
    assert confidences == sorted(confidences, reverse=True)
    assert 0 < sum(confidences) <= 1


def test_latency_keeps_every_warm_sample(computing_program: Runner, answer: Callable[[str, Runner], Answer]) -> None:
    answered = answer("latency-tensor", computing_program)
    request, result = answered.request, answered.outcome.result
    assert set(result.samples) == {"inference"}
    timings = result.samples["inference"]
    assert timings.second_ns
    assert len(timings.warm_ns) >= request["measure"]["min_samples"]
    assert all(sample > 0 for sample in timings.warm_ns)
    assert result.outputs[0].items == (0, 1)
    assert result.outputs[-1].items in ((0, 1), (2, 0), (1, 2))
    assert result.top == ()
    assert result.tensors == ()


@pytest.mark.clock
def test_latency_times_preprocessing_separately(implementation: Runner, models: Path, tmp_path: Path) -> None:
    request = golden("once-classify", implementation, models, tmp_path)
    request["measure"] = {"kind": "latency", "min_samples": 3, "min_ns": 60_000_000, "warmup": 0}
    samples = execute(implementation, request, tmp_path).result.samples
    warm = samples["inference"].warm_ns
    assert len(warm) == len(samples["preprocess"].warm_ns) >= 3
    assert sum(warm) + sum(samples["preprocess"].warm_ns) >= 0.9 * 60_000_000


def test_accuracy_writes_everything(computing_program: Runner, answer: Callable[[str, Runner], Answer]) -> None:
    result = answer("accuracy-classify", computing_program).outcome.result
    assert [tensor.items for tensor in result.outputs] == [(0, 1), (2,)]
    assert [tensor.shape for tensor in result.tensors] == [(2, 3, 224, 224), (1, 3, 224, 224)]
    assert len(result.top) == 1
    assert result.top[0][0].label == "missile"


def test_memory_is_read_after_each_phase(implementation: Runner, models: Path, tmp_path: Path) -> None:
    request = golden("once-classify", implementation, models, tmp_path)
    request["measure"] = {"kind": "once", "memory": True}
    result = execute(implementation, request, tmp_path).result
    assert result.memory is not None
    assert {"load", "preprocess", "inference"} <= set(result.memory.after)
    assert set(result.memory.after) <= {phase.name for phase in result.phases}
    assert max(result.memory.after.values()) <= (result.memory.peak_bytes or 0)


def test_settings_without_effect_are_named(computing_program: Runner, answer: Callable[[str, Runner], Answer]) -> None:
    answered = answer("latency-tensor", computing_program)
    request, outcome = answered.request, answered.outcome
    requested = {name for name, value in request["settings"].items() if value is not None}
    known = set(_probe(computing_program).settings)
    always = {"threads", "batch", "provider", "precision", "profile"}
    assert outcome.result.effective is not None
    assert set(outcome.result.effective.ignored) == requested - known - always


@pytest.mark.parametrize("null", [runner for runner in RUNNERS if not runner.computes], ids=lambda runner: runner.name)
def test_a_null_runner_computes_nothing(null: Runner, models: Path, tmp_path: Path) -> None:
    outcome = execute(null, golden("once-classify", null, models, tmp_path), tmp_path)
    assert outcome.exit_code == 0
    _assert_phases(outcome)
    assert [phase.name for phase in outcome.result.phases] == ["start", "output"]
    assert outcome.result.outputs == ()


def test_a_null_spawn_time_omits_the_start(implementation: Runner, models: Path, tmp_path: Path) -> None:
    text = json.dumps({**golden("once-classify", implementation, models, tmp_path), "spawn_ns": None})
    outcome = execute(implementation, text, tmp_path)
    assert outcome.exit_code == 0
    assert "start" not in [phase.name for phase in outcome.result.phases]


def test_result_replaces_an_older_one_whole(implementation: Runner, models: Path, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text('{"old": true}', encoding="utf-8")
    request = tmp_path / "request.json"
    request.write_text(json.dumps(golden("once-classify", implementation, models, tmp_path)), encoding="utf-8")
    target = implementation.make()
    with subprocess.Popen(
        [*target.command, "--request", str(request), "--result", str(path)],
        env={**target.environment(), "ORT_DISABLE_TELEMETRY": "1"},
    ) as process:
        seen: list[Document] = []
        while process.poll() is None:
            seen.append(json.loads(path.read_bytes()))
    assert json.loads(path.read_bytes())["status"] == "ok"
    assert all(document == {"old": True} or document["status"] == "ok" for document in seen)


def test_probe(program: Runner) -> None:
    capabilities = _probe(program)
    assert 1 in capabilities.protocol
    assert capabilities.unavailable is None
    assert capabilities.computes == program.computes
    assert "once" in capabilities.measures
    assert "threads" in capabilities.settings
    if program.computes:
        assert "cpu" in capabilities.providers
        assert program.format in capabilities.formats
        assert capabilities.version


@cache
def _probe(runner: Runner) -> Capabilities:
    process = launch(msgspec.structs.replace(runner, forks=False), "--probe")
    assert process.returncode == 0, process.stderr
    validate(json.loads(process.stdout), "capabilities")
    return msgspec.json.decode(process.stdout, type=Capabilities)


def _assert_phases(outcome: Outcome) -> None:
    """Assert that the phases are legal, in order, without gaps from the spawn on, and within the process time."""
    phases = outcome.result.phases
    names = [phase.name for phase in phases]
    assert names == [name for name in PHASES if name in names]
    assert phases[0].start_ns == outcome.spawn_ns
    assert all(phase.start_ns <= phase.end_ns for phase in phases)
    assert all(one.end_ns == other.start_ns for one, other in pairwise(phases))
    assert phases[-1].end_ns <= outcome.reaped_ns


def _assert_written(tensor: WrittenTensor, folder: Path) -> None:
    """Assert the path, the name and the size of the file."""
    prefix = "logits" if tensor.name == "logits" else "input.input"
    path = folder / f"{prefix}.{tensor.items[0]}.bin"
    assert tensor.path == str(path)
    assert tensor.dtype == "float32"
    assert tensor.shape[0] == len(tensor.items)
    assert path.stat().st_size == 4 * math.prod(tensor.shape)
