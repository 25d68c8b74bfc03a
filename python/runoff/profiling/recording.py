"""A runner under perf and, if it is a program in Python, under py-spy too."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from runoff.environments import setup_command
from runoff.measure.one_shot import run_process
from runoff.measure.request import fresh, make_request
from runoff.probes.base import Tool
from runoff.probes.counters import PERF
from runoff.probes.latency import LATENCY
from runoff.probes.life import LIFE
from runoff.processes import describe_exit
from runoff.profiling.stacks import (
    C_LIBRARY,
    KERNEL,
    PYTHON,
    UNKNOWN,
    Sample,
    Times,
    joined,
    read_perf,
    read_py_spy,
    timed_part,
)
from runoff.records.errors import ExitCode, RunoffError
from runoff.records.protocol import Latency

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from runoff.measure.job import ExecutionContext
    from runoff.measure.result import Outcome
    from runoff.probes.base import Probe
    from runoff.profiling.stacks import Stack
    from runoff.records.protocol import Result
    from runoff.records.schema import Case

PERF_HZ, PY_SPY_HZ = 999, 100
"""Samples per second of CPU time. py-spy stops the process for most of a millisecond each time."""
_STACK_BYTES = 16384
"""Of each thread's stack, copied for each sample: libraries have no frame pointers, so perf unwinds it later."""
_WARMUP, _FEWEST = 10, 20
_MOST_PROCESSES = 20
_CPU_SHARE = 0.2
"""Of the time: a process is sampled again until its samples are of so much CPU time."""
_TIMEOUT_S = 600.0
_PERF_DATA, _PY_SPY_RAW = "perf.data", "py-spy.raw"
# cpu-clock: virtual machines have no other event; CPU time is what the graphs show
_RECORD = ("record", "-q", "-e", "cpu-clock", "-k", "CLOCK_MONOTONIC", "-F", str(PERF_HZ))
_SPY = ("record", "--native", "--function", "--full-filenames", "--rate", str(PY_SPY_HZ), "--format", "raw")


def _wrap_native(perf: str, runner: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    unwinding = ("--call-graph", f"dwarf,{_STACK_BYTES}", "-o", str(folder / _PERF_DATA))
    return (perf, *_RECORD, *unwinding, "--", *runner)


def _wrap_python(perf: str, runner: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    return _wrap_native(perf, PY_SPY.wrap(str(PY_SPY.find()), runner, folder), folder)


def _wrap_spied(py_spy: str, runner: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    return (py_spy, *_SPY, "--output", str(folder / _PY_SPY_RAW), "--", *runner)


def _read(_: Path) -> list[dict[str, Any]]:
    return []  # `_samples` reads what is left there


NATIVE = replace(PERF, wrap=_wrap_native, read=_read, trial=(*_RECORD, "-o", "/dev/null", "--", "true"))
"""perf, which samples every thread."""
PY_SPY = Tool(
    name="py-spy",
    wrap=_wrap_spied,
    read=_read,
    hint=f"run: {setup_command('py-spy')}",
    trial=(*_SPY, "--output", "/dev/null", "--", sys.executable, "-c", "import time; time.sleep(0.2)"),
    allow="sudo sysctl kernel.yama.ptrace_scope=1; for a container: docker run --cap-add SYS_PTRACE",
)


REGIONS = {
    "timed": "warm iterations, as they are timed",
    "process": "a process from start to exit, with one inference",
}


class Graph(Struct, frozen=True, kw_only=True):
    """The samples of one region of a case."""

    region: str
    """``timed``: warm iterations. ``process``: processes from start to exit, with one inference."""
    times: Times
    """CPU time of an iteration, or of a process."""
    native: Times
    """The same as perf alone sees it: which library computes."""
    samples: int
    """Of perf."""
    spied: int
    """Of py-spy; 0 without it."""
    count: int
    """Iterations, or processes."""


class CaseProfile(Struct, frozen=True, kw_only=True):
    """The graphs of one side."""

    name: str
    """As in the run and in the names of its files."""
    graphs: dict[str, Graph]
    """By region."""
    plain_ns: tuple[float, float]
    """Median inference of two processes without sampling, one before and one after the sampled one."""
    sampled_ns: float
    """Median inference while it is sampled."""

    @property
    def slowdown(self) -> float:
        """Time of a sampled inference, relative to one that is not."""
        return 2 * self.sampled_ns / sum(self.plain_ns)

    @property
    def engine(self) -> str:
        """The library or program, not of Python or the system, with most of the time of warm iterations."""
        shares = self.graphs["timed"].native.by(lambda frame: frame.group)
        return next((name for name in shares if name not in (PYTHON, C_LIBRARY, KERNEL, UNKNOWN)), "")


class Recorder:
    """Runs a case with and without sampling; `spies` is whether py-spy is used."""

    def __init__(self, context: ExecutionContext, case: Case, seconds: float, *, spies: bool) -> None:
        self._context, self._case = context, case
        self._seconds = seconds
        self._tool = replace(NATIVE, wrap=_wrap_python) if spies else NATIVE
        self._reports = context.scratch / "reports"

    def profile(self) -> CaseProfile:
        """Return the graphs of the case.

        Raises
        ------
        RunoffError
            If a process fails.
        """
        before = self.inference_ns()
        timed, sampled = self.timed()
        after = self.inference_ns()
        return CaseProfile(
            name=self._case.target,
            graphs={"timed": timed, "process": self.process()},
            plain_ns=(float(np.median(before)), float(np.median(after))),
            sampled_ns=float(np.median(sampled)),
        )

    def inference_ns(self) -> tuple[int, ...]:
        """Return the durations of warm inferences in a process that is not sampled."""
        return self._result(self._run(self._latency(), None)).samples["inference"].warm_ns

    def timed(self) -> tuple[Graph, tuple[int, ...]]:
        """Return the graph of warm iterations, and the durations of their inferences while they were sampled."""
        result = self._result(self._run(self._latency(), self._tool))
        begin, end = timed_window(result)
        inference_ns = result.samples["inference"].warm_ns
        stacks: Counter[Stack] = Counter()
        for stack, count in self._spied().items():
            if inner := timed_part(stack):
                stacks[inner] += count
        samples = [sample for sample in self._samples() if begin <= sample.time_ns < end]
        return _graph("timed", samples, stacks, len(inference_ns)), inference_ns

    def process(self) -> Graph:
        """Return the graph of processes from start to exit, as many as give enough samples."""
        samples: list[Sample] = []
        stacks: Counter[Stack] = Counter()
        count, enough = 0, self._seconds * _CPU_SHARE * PERF_HZ
        while len(samples) < enough and count < _MOST_PROCESSES:
            self._result(self._run(LIFE, self._tool))
            # a process id may come back
            samples += [sample._replace(pid=count, tid=_thread(sample, count)) for sample in self._samples()]
            stacks.update(self._spied())
            count += 1
        return _graph("process", samples, stacks, count)

    def _latency(self) -> Probe:
        return replace(LATENCY, measure=Latency(min_samples=_FEWEST, min_ns=round(self._seconds * 1e9), warmup=_WARMUP))

    def _run(self, probe: Probe, tool: Tool | None) -> Outcome:
        context, folder = self._context, fresh(self._context.scratch / "process")
        request = make_request(self._case, context.models[self._case.model], probe, folder)
        self._reports = fresh(context.scratch / "tool")
        watch = (tool, self._reports) if tool else None
        return run_process(request, context.target(self._case, LIFE), context.spawner, folder, _TIMEOUT_S, watch)

    def _result(self, outcome: Outcome) -> Result:
        """Return the result of a process.

        Raises
        ------
        RunoffError
            If it failed.
        """
        if outcome.result is None or outcome.reason:
            message = outcome.reason.message if outcome.reason else describe_exit(outcome.finished)
            raise RunoffError(f"{self._case.target}: {message}", "", ExitCode.CASE_FAILED)
        return outcome.result

    def _samples(self) -> list[Sample]:
        """Return perf's samples of the latest run, without those of py-spy itself.

        Raises
        ------
        RunoffError
            If perf cannot read its own file.
        """
        text = self._reports / "perf.txt"
        script = (str(PERF.find()), "script", "-i", str(self._reports / _PERF_DATA), "--no-inline", "--ns")
        fields = ("-F", "comm,pid,tid,time,ip,sym,dso")
        command = ("/bin/sh", "-c", 'exec "$@" > "$0"', str(text), *script, *fields)
        finished = self._context.spawner.run(command, self._context.target(self._case, LIFE).environment(), _TIMEOUT_S)
        if finished.exit_code:
            raise RunoffError(f"perf script {describe_exit(finished)}", PERF.hint, ExitCode.CASE_FAILED)
        with text.open(encoding="utf-8", errors="replace") as lines:
            return of_runner(read_perf(lines))

    def _spied(self) -> Counter[Stack]:
        """Return the samples of py-spy in the latest run."""
        raw = self._reports / _PY_SPY_RAW
        return read_py_spy(raw.read_text(encoding="utf-8", errors="replace")) if raw.exists() else Counter()


def _thread(sample: Sample, process: int) -> int:
    """Return a number for the thread of a sample among those of many processes; the main thread's is the process's."""
    return process if sample.tid == sample.pid else -(sample.tid * _MOST_PROCESSES + process)


def of_runner(samples: Iterable[Sample]) -> list[Sample]:
    """Return the samples without those of py-spy: of its process, and of its child before that is the runner."""
    found = list(samples)
    spy = next((sample.pid for sample in found if sample.program == PY_SPY.name), None)
    return [sample for sample in found if sample.pid != spy and sample.program != PY_SPY.name]


def _graph(region: str, samples: list[Sample], spied: Counter[Stack], count: int) -> Graph:
    period_ns = 1e9 / PERF_HZ
    return Graph(
        region=region,
        times=joined(samples, spied, period_ns).divided(count),
        native=joined(samples, Counter(), period_ns).divided(count),
        samples=len(samples),
        spied=spied.total(),
        count=count,
    )


def timed_window(result: Result) -> tuple[int, int]:
    """Return the begin and the end of the warm iterations of a result, in ns of the monotonic clock.

    They are the last of the phase ``warm``, which begins with the second iteration and the warm-up.
    """
    end = next(phase.end_ns for phase in result.phases if phase.name == "warm")
    spent = sum(sum(result.samples[part].warm_ns) for part in ("preprocess", "inference") if part in result.samples)
    return end - spent, end
