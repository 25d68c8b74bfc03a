"""Cold, second and warm runs of small and large graphs, by target: ``pytest benchmarks/``, see ``docs/pytest.md``.

pytest-benchmark would time calls in its own process. Here, runoff measures live processes that take turns; each round
of a benchmark replays one of their times, on a timer that is the runner's clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from table import RUNS

from runoff.statistics import median

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_benchmark.fixture import BenchmarkFixture
    from table import Table

MODELS = ("layers_10x2", "layers_50x4", "mobilenet_v2")
# each with its runtime, for -k; the first is the baseline
TARGETS = {
    "ort-python": "onnx",
    "ort-rust": "onnx",
    "ort-pyo3": "onnx",
    "torch": "torch",
}


class RunnerClock:
    """The clock of a runner, which moves by one measured time after another."""

    def __init__(self) -> None:
        self.set([])

    def set(self, times_ns: Iterable[float]) -> None:
        """Start at zero, with these times to come."""
        self._now_ns, self._coming = 0.0, iter(times_ns)

    def advance(self) -> None:
        """Let the next time pass."""
        self._now_ns += next(self._coming)

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self._now_ns / 1e9


CLOCK = RunnerClock()


@pytest.mark.benchmark(timer=CLOCK)
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(
    "target", [pytest.param(name, marks=getattr(pytest.mark, runtime)) for name, runtime in TARGETS.items()]
)
@pytest.mark.parametrize("model", MODELS)
def test_run(benchmark: BenchmarkFixture, measured: Table, model: str, target: str, run: str) -> None:
    if benchmark.disabled:
        pytest.skip("benchmarks are disabled")
    benchmark.group = f"{model}, {run}"
    member = measured.member(model, target)
    if member.failures:
        benchmark.skipped = True
        (pytest.fail if member.failed else pytest.skip)(next(iter(member.failures.values())))
    times_ns = measured.times_ns(member, run)
    typical = median(times_ns)
    interval = {"low_s": typical.low / 1e9, "high_s": typical.high / 1e9}
    benchmark.extra_info = {"typical_s": typical.value / 1e9, **interval, "processes": typical.n}
    rounds = np.concatenate(times_ns)
    CLOCK.set(rounds)
    benchmark.pedantic(CLOCK.advance, rounds=len(rounds))
