"""The measure `turns`: a live runner infers on the items named in a line of stdin, then waits for the next line."""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from runners_under_test import (
    IMPLEMENTATIONS,
    PHOTOS,
    PROGRAMS,
    TURNS,
    Document,
    Runner,
    golden,
    stored_tensors,
    tensor_request,
    validate,
)

from machine import FULL
from outputs import compare_outputs
from runoff.measure.parity import TOLERANCE, worst
from runoff.records.protocol import Result, WrittenTensor

if TYPE_CHECKING:
    from collections.abc import Iterator

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
WAIT_S, LARGEST_CPU_S = 0.5, 0.02
SEED = 5
OTHER_LINES = ("6", "01", "0 outputs", "\udcff", *(("many", "-1", "+1", "1.0", "outputs 0", "1,2") if FULL else ()))
POOLS = ("torch", "ort-python", "ort-rust", "openvino-python", "ort-node")
"""Runners whose threads may spin, one per implementation."""


class Live:
    """A live runner with turns."""

    def __init__(self, process: subprocess.Popen[str], result: Path) -> None:
        self.process = process
        self._result = result
        self.ready = self.read()

    def read(self) -> str:
        """Return the next line of its standard output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def ask(self, line: str) -> str:
        """Write a line; return the response."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.read()

    def turn(self, *items: int) -> dict[str, list[int]]:
        """Request a turn; return the durations by part."""
        durations: dict[str, list[int]] = json.loads(self.ask(" ".join(map(str, items))))
        assert {len(part) for part in durations.values()} == {len(items)}
        return durations

    def outputs(self) -> list[WrittenTensor]:
        """Return the outputs of its latest iteration."""
        return msgspec.json.decode(self.ask("outputs"), type=list[WrittenTensor])

    def end(self, last: str = "") -> tuple[Result, int, str]:
        """Close its standard input; return the result, the exit code and the remaining standard output."""
        out, _ = self.process.communicate(last, timeout=60)
        validate(json.loads(self._result.read_bytes()), "result")
        return msgspec.json.decode(self._result.read_bytes(), type=Result), self.process.returncode, out

    def cpu_s(self) -> float:
        """Return the CPU time of all its threads so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def state(self) -> str:
        """Return the state of its main thread: ``S`` when it sleeps."""
        return Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]


@contextmanager
def started(runner: Runner, request: Document, folder: Path, ready: str = "ready\n") -> Iterator[Live]:
    """Start the runner and wait until it is ready."""
    target = runner.make()
    paths = folder / "request.json", folder / "result.json"
    paths[0].write_text(json.dumps({**request, "spawn_ns": time.monotonic_ns()}), encoding="utf-8")
    with subprocess.Popen(
        [*target.command, "--request", str(paths[0]), "--result", str(paths[1])],
        env=target.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        errors="surrogateescape",
    ) as process:
        try:
            live = Live(process, paths[1])
            assert live.ready.startswith(ready)
            assert not paths[1].exists()
            yield live
        finally:
            process.kill()


def photos(runner: Runner, models: Path, folder: Path, batch: int = 1) -> Document:
    """Return a request for turns on the tensors of six photos."""
    request = tensor_request(runner, models, folder, *PHOTOS)
    return {**request, "settings": {"threads": 1, "batch": batch}, "measure": {"kind": "turns", "warmup": 1}}


def assert_right(outputs: list[WrittenTensor], first: int, batch: int, models: Path) -> None:
    """Assert that the outputs are the model's for the batch that starts with the item `first`."""
    assert [tensor.items for tensor in outputs] == [tuple((first + row) % len(PHOTOS) for row in range(batch))]
    assert Path(outputs[0].path).name == f"logits.{first}.bin"
    references = stored_tensors("references", models, PHOTOS)
    assert worst(compare_outputs(outputs, references)) <= TOLERANCE["tensor"]


def test_every_turn_has_the_requested_samples(computing_program: Runner, models: Path, tmp_path: Path) -> None:
    with started(computing_program, golden(TURNS, computing_program, models, tmp_path), tmp_path) as live:
        began = time.monotonic_ns()
        turns = [live.turn(*items) for items in ((0, 1, 1), (0,), (), (1, 1))]
        took = time.monotonic_ns() - began
        result, exit_code, rest = live.end()
    assert (result.status, exit_code, rest) == ("ok", 0, "")
    for part in ("inference", "preprocess"):
        durations = [duration for turn in turns for duration in turn[part]]
        assert list(result.samples[part].warm_ns) == durations
        assert min(durations) > 0
        assert result.samples[part].second_ns
    assert sum(sum(part) for turn in turns for part in turn.values()) < took
    assert [tensor.items for tensor in result.outputs] == [(0,), (1,)]
    assert result.top[0][0].label == "daisy"
    assert [phase.name for phase in result.phases][-3:] == ["inference", "warm", "output"]
    assert result.memory is not None


@pytest.mark.parametrize("batch", [1, 4])
def test_the_named_items_are_computed(batch: int, implementation: Runner, models: Path, tmp_path: Path) -> None:
    choose = np.random.default_rng(SEED)
    with started(implementation, photos(implementation, models, tmp_path, batch), tmp_path) as live:
        for _ in range(8):
            items = choose.integers(len(PHOTOS), size=choose.integers(1, 4)).tolist()
            assert live.turn(*items).keys() == {"inference"}
            assert_right(live.outputs(), items[-1], batch, models)
        live.turn(5, 3)
        result, exit_code, _ = live.end()
    assert (result.status, exit_code) == ("ok", 0)
    assert set(result.samples) == {"inference"}
    assert_right([result.outputs[0]], 0, batch, models)
    assert_right([result.outputs[1]], 3, batch, models)
    assert len(result.outputs) == 2


def test_outputs_before_any_turn_come_from_the_warm_up(implementation: Runner, models: Path, tmp_path: Path) -> None:
    with started(implementation, photos(implementation, models, tmp_path, 2), tmp_path) as live:
        # the first, the second, and a discarded one: items 0, 2 and 4
        assert_right(live.outputs(), 4, 2, models)
        assert_right(live.outputs(), 4, 2, models)
        result, exit_code, rest = live.end()
    assert (result.status, exit_code, rest) == ("ok", 0, "")
    assert [tensor.items for tensor in result.outputs] == [(0, 1), (4, 5)]
    assert result.samples["inference"].second_ns
    assert result.samples["inference"].warm_ns == ()


def test_an_empty_turn_keeps_the_outputs(implementation: Runner, models: Path, tmp_path: Path) -> None:
    with started(implementation, photos(implementation, models, tmp_path), tmp_path) as live:
        live.turn(5)
        assert [live.turn() for _ in range(3)] == [{"inference": []}] * 3
        assert_right(live.outputs(), 5, 1, models)
        result, _, _ = live.end()
    assert len(result.samples["inference"].warm_ns) == 1


def test_a_last_line_without_a_newline_is_a_turn(implementation: Runner, models: Path, tmp_path: Path) -> None:
    with started(implementation, photos(implementation, models, tmp_path), tmp_path) as live:
        result, exit_code, rest = live.end("3 2")
    assert (result.status, exit_code) == ("ok", 0)
    assert json.loads(rest) == {"inference": list(result.samples["inference"].warm_ns)}
    assert [tensor.items for tensor in result.outputs] == [(0,), (2,)]


@pytest.mark.clock
@pytest.mark.parametrize(
    "runner",
    [runner for runner in PROGRAMS if runner.computes and (FULL or runner.name in POOLS)],
    ids=lambda runner: runner.name,
)
def test_a_waiting_runner_uses_no_cpu(runner: Runner, models: Path, tmp_path: Path) -> None:
    # threads of OpenMP, which torch uses, spin for some milliseconds more and cannot be stopped
    threads = 1 if runner.name == "torch" else runner.most_threads or 2
    request = photos(runner, models, tmp_path)
    request["settings"]["threads"] = threads
    with started(runner, request, tmp_path) as live:
        live.turn(0, 1, 2, 3)
        if runner.name.endswith("wasm"):
            time.sleep(WAIT_S)  # V8 compiles WebAssembly again in the background
        before = live.cpu_s()
        time.sleep(WAIT_S)
        assert live.state() == "S"
        assert live.cpu_s() - before < LARGEST_CPU_S
        live.turn(1)
        result, _, _ = live.end()
    assert result.effective is not None
    # the session of webnn-compute ends with each inference, and its threads with it
    assert result.effective.threads == (None if runner.name == "webnn-compute" else threads)


@pytest.mark.parametrize("line", OTHER_LINES)
def test_any_other_line_is_refused(line: str, models: Path, tmp_path: Path) -> None:
    for runner in IMPLEMENTATIONS:
        folder = tmp_path / runner.name
        folder.mkdir()
        with started(runner, photos(runner, models, folder), folder) as live:
            result, exit_code, rest = live.end(f"{line}\n")
        assert (result.status, result.kind, exit_code, rest) == ("error", "bad-request", 2, "")
        assert "stdin" in (result.message or "")
        word = next(word for word in line.split() if word != "0" or "outputs 0" in line)
        assert (word if word.isascii() else "\ufffd") in (result.message or "")
