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
    from collections.abc import Iterable, Iterator

    from pytest_benchmark.fixture import BenchmarkFixture
    from table import Table

MODELS = ("layers_10x2", "layers_50x4", "mobilenet_v2")
# each with its runtime, for -k; the first is the baseline
TARGETS = {
    "ort-python": "onnx",
    "ort-rust": "onnx",
    "ort-pyo3": "onnx",
    "torch": "torch",
    "webnn-compute": "webnn",
    "webnn-ort": "webnn",
    "webnn-rust": "webnn",
}


class Replay:
    """Measured times, which pass one after another."""

    now_ns = 0.0
    _coming: Iterator[float] = iter(())

    def start(self, times_ns: Iterable[float]) -> None:
        """Start at zero, with these times to come."""
        self.now_ns, self._coming = 0.0, iter(times_ns)

    def advance(self) -> None:
        """Let the next time pass."""
        self.now_ns += next(self._coming)


REPLAY = Replay()


def runner_clock() -> float:
    """Return the time of the runner's clock, in seconds."""
    return REPLAY.now_ns / 1e9


@pytest.mark.benchmark(timer=runner_clock)
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(
    "target", [pytest.param(name, marks=getattr(pytest.mark, runtime)) for name, runtime in TARGETS.items()]
)
@pytest.mark.parametrize("model", MODELS)
def test_run(benchmark: BenchmarkFixture, measured: Table, model: str, target: str, run: str) -> None:
    """Replay the times of one run of a case; its estimate and interval, over processes, are in ``extra_info``."""
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
    REPLAY.start(rounds)
    benchmark.pedantic(REPLAY.advance, rounds=len(rounds))  # type: ignore[no-untyped-call]
