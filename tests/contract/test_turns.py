"""The measure `turns`: a live runner does as many inferences as a line of stdin asks for, and waits for nothing."""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from runners_under_test import TURNS, Document, Runner, golden

from runoff.protocol import Result

if TYPE_CHECKING:
    from collections.abc import Iterator

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Live:
    """A runner that takes turns."""

    def __init__(self, process: subprocess.Popen[str], result: Path) -> None:
        self.process = process
        self._result = result

    def read(self) -> str:
        """Return the next line of its standard output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def ask(self, line: str) -> list[int]:
        """Write a line; return what it answers."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        durations: list[int] = json.loads(self.read())
        return durations

    def end(self, last: str = "") -> tuple[Result, int, str]:
        """End its standard input; return the result, the exit code and what was left on its standard output."""
        out, _ = self.process.communicate(last, timeout=60)
        return msgspec.json.decode(self._result.read_bytes(), type=Result), self.process.returncode, out

    def cpu_ticks(self) -> int:
        """Return the CPU time of all its threads so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def state(self) -> str:
        """Return the state of its main thread: ``S`` when it sleeps."""
        return Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]


@contextmanager
def started(runner: Runner, request: Document, folder: Path) -> Iterator[Live]:
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
        text=True,
    ) as process:
        try:
            live = Live(process, paths[1])
            assert live.read() == "ready\n"
            assert not paths[1].exists()
            yield live
        finally:
            process.kill()


def test_every_turn_has_the_samples_that_were_asked_for(computing: Runner, models: Path, tmp_path: Path) -> None:
    with started(computing, golden(TURNS, computing, models, tmp_path), tmp_path) as live:
        turns = [live.ask(str(count)) for count in (3, 1, 0, 2)]
        result, exit_code, rest = live.end()
    assert [len(turn) for turn in turns] == [3, 1, 0, 2]
    assert (result.status, exit_code, rest) == ("ok", 0, "")
    inference, preprocess = result.samples["inference"], result.samples["preprocess"]
    assert list(inference.warm_ns) == [duration for turn in turns for duration in turn]
    assert min(inference.warm_ns) > 0
    assert inference.second_ns
    assert len(preprocess.warm_ns) == 6
    # first, second, one that is not kept, then six: the last is iteration 8 of two items
    assert [tensor.items for tensor in result.outputs] == [(0,)]
    assert result.top[0][0].label == "palace"
    assert [phase.name for phase in result.phases][-3:] == ["inference", "warm", "output"]
    assert result.memory is not None


def test_items_go_round_and_tensors_are_read_once(computing: Runner, models: Path, tmp_path: Path) -> None:
    request = golden("latency-tensor", computing, models, tmp_path)
    request["measure"] = {"kind": "turns", "warmup": 0}
    with started(computing, request, tmp_path) as live:
        turns = [live.ask("1"), live.ask("2")]
        result, exit_code, _ = live.end()
    assert (result.status, exit_code) == ("ok", 0)
    assert [len(turn) for turn in turns] == [1, 2]
    assert set(result.samples) == {"inference"}
    # iterations 0 and 4, two of three items each
    assert [tensor.items for tensor in result.outputs] == [(0, 1), (2, 0)]


def test_a_runner_that_waits_uses_no_cpu(computing: Runner, models: Path, tmp_path: Path) -> None:
    with started(computing, golden(TURNS, computing, models, tmp_path), tmp_path) as live:
        live.ask("1")
        time.sleep(0.2)
        before = live.cpu_ticks()
        time.sleep(1.0)
        assert live.state() == "S"
        assert live.cpu_ticks() - before <= 0.02 * TICKS_PER_S
        assert len(live.ask("1")) == 1


def test_no_turn_at_all_still_gives_a_whole_result(computing: Runner, models: Path, tmp_path: Path) -> None:
    with started(computing, golden(TURNS, computing, models, tmp_path), tmp_path) as live:
        result, exit_code, rest = live.end()
    assert (result.status, exit_code, rest) == ("ok", 0, "")
    assert result.samples["inference"].second_ns
    assert result.samples["inference"].warm_ns == ()
    assert result.top


def test_a_line_that_is_no_number_is_refused(computing: Runner, models: Path, tmp_path: Path) -> None:
    with started(computing, golden(TURNS, computing, models, tmp_path), tmp_path) as live:
        result, exit_code, rest = live.end("many\n")
    assert (result.status, result.kind, exit_code, rest) == ("error", "bad-request", 2, "")
    assert "stdin" in (result.message or "")
    assert "many" in (result.message or "")
