"""What a test writes: ``runoff.case(model=..., target=...).latency().below("5 ms")``.

pytest's tracebacks end at the line of the test: each public method hides its own frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import pytest

from runoff.compare.limits import parse_limit
from runoff.compare.metrics import parse_metric
from runoff.plan.own_suite import is_model, model_name
from runoff.plan.settings import resolve
from runoff.pytest_plugin import PROPERTY, checks
from runoff.pytest_plugin.measuring import ERROR, PlannedCase, max_error
from runoff.records.errors import RunoffError

if TYPE_CHECKING:
    from collections.abc import Callable

    from runoff.analysis.measurements import Measurements
    from runoff.analysis.metric_samples import Metric
    from runoff.compare.limits import Limit
    from runoff.pytest_plugin.checks import Check
    from runoff.pytest_plugin.measuring import Measuring
    from runoff.records.protocol import Workload

P = ParamSpec("P")
R = TypeVar("R")
Model = str | Path | Mapping[str, Any]


def _reported(method: Callable[P, R]) -> Callable[P, R]:
    """Let a failure of runoff fail the test with its message and hint, without a traceback."""

    @wraps(method)
    def reporting(*args: P.args, **kwargs: P.kwargs) -> R:
        __tracebackhide__ = True
        try:
            return method(*args, **kwargs)
        except RunoffError as error:
            failure = f"runoff: {error}"
        pytest.fail(failure)

    return reporting


@dataclass(frozen=True)
class Runoff:
    """The fixture ``runoff``."""

    measuring: Measuring
    test: pytest.Item

    @_reported
    def case(
        self, model: Model, target: str | Mapping[str, Any], *, workload: Workload = "tensor", **settings: Any
    ) -> Case:
        """Return a case; it is measured by its checks.

        Parameters
        ----------
        model
            An ONNX file (relative paths start at pytest's rootdir), a model of the zoo or the store, or the keys of a
            suite's ``[models.NAME]``, optionally with a ``name``: ``{"path": "net.onnx", "inputs": {"x": "1,128"}}``.
        target
            A target of ``runoff list targets``, or ``name`` and the keys of a suite's ``[targets.NAME]``:
            ``{"name": "mine", "command": ["./my-runner"]}``.
        workload
            ``tensor``, or ``classify`` for a model of images.
        settings
            As in a suite's ``[settings]``: ``threads=1``, ``profile="cold"``.
        """
        resolve(settings)  # a wrong setting is reported before anything is measured
        return Case(self, PlannedCase(*_model(model), *_target(target), workload, settings))


@dataclass(frozen=True)
class Case:
    """One thing to measure: a model on a target, with settings."""

    fixture: Runoff
    planned: PlannedCase

    def latency(self, statistic: str = "median") -> Quantity:
        """Return the time of a warm inference: its ``median``, ``mean``, ``p90``, ``p95``, ``p99`` or ``p99.9``."""
        return self.metric(f"latency.{statistic}")

    def process(self) -> Quantity:
        """Return the time of a process, from start to exit."""
        return self.metric("process.wall")

    def memory(self) -> Quantity:
        """Return the peak resident memory of a process."""
        return self.metric("memory.peak")

    @_reported
    def metric(self, name: str) -> Quantity:
        """Return any metric of ``summary.csv``, such as ``life.load`` or ``latency.inference.first``."""
        return Quantity(self, parse_metric(name))


@dataclass(frozen=True)
class Quantity:
    """A metric of a case."""

    case: Case
    metric: Metric

    @_reported
    def below(self, limit: str) -> None:
        """Check that the value is at most `limit`, such as ``5 ms``, ``120 MB`` or ``50 mJ``. The estimate decides."""
        __tracebackhide__ = True
        parsed = _limit(self.metric, limit)
        self._conclude(checks.below(self._measure(None, ERROR), self.case.planned, self.metric, parsed))

    @_reported
    def faster_than(self, other: Case, by: str = "0%") -> None:
        """Check that the case is faster than `other`, by `by` or more: ``10%`` is 1.1 times as fast.

        The difference must be distinguishable from noise, and its estimate at least `by`.
        """
        __tracebackhide__ = True
        limit = _limit(self.metric, f"+{by}")
        data = self._measure(other, max_error(limit.value))
        self._conclude(checks.faster(data, other.planned, self.case.planned, self.metric, limit))

    @_reported
    def not_slower_than(self, other: Case | Path | str, margin: str = "5%", *, relative_to: Case | None = None) -> None:
        """Check that the case is at most `margin` slower than `other`: a case, or a baseline file.

        The check fails if the estimate is beyond the margin, and the difference is distinguishable from noise.

        With a file, `relative_to` is the same case on another target. It is measured next to this one, also when the
        file is saved, and ratios to it are compared: a machine that became slower cancels out.
        """
        __tracebackhide__ = True
        mine, limit = self.case.planned, _limit(self.metric, f"+{margin}")
        data = self._measure(other if isinstance(other, Case) else relative_to, max_error(limit.value))
        measuring = self.case.fixture.measuring
        if isinstance(other, Case):
            self._conclude(checks.not_slower(data, other.planned, mine, self.metric, limit))
        elif measuring.save:
            measuring.save_baseline(data, Path(other))
            self._conclude(checks.saved_as(data, mine, self.metric, Path(other).name))
        else:
            earlier = measuring.load_baseline(data, Path(other))
            self._conclude(checks.not_slower_than_saved(data, (earlier, Path(other).name), mine, self.metric, limit))

    def _measure(self, other: Case | None, error: float) -> Measurements:
        """Return the measurements of this case, and of `other` as its baseline."""
        cases, fixture = [*([other.planned] if other else []), self.case.planned], self.case.fixture
        return fixture.measuring.measure(cases, self.metric, error, fixture.test.name)

    def _conclude(self, check: Check) -> None:
        """Add the check to the test's report; fail if it did not pass."""
        __tracebackhide__ = True
        self.case.fixture.test.user_properties.append((PROPERTY, check.text))
        if not check.passed:
            pytest.fail(check.text)


def _limit(metric: Metric, text: str) -> Limit:
    """Return the limit in `text`: a value, or the sign and the percentage of a change."""
    try:
        return parse_limit(f"{metric} > {text}")
    except RunoffError as error:
        raise RunoffError(error.message, 'below takes "5 ms" or "120 MB"; by and margin take "5%"') from error


def _model(model: Model) -> tuple[str, dict[str, Any] | None]:
    """Return the name of a model, and its table unless it is in the zoo or the store."""
    if not isinstance(model, Mapping):
        path = str(model)
        if not is_model(path):
            return path, None
        model = {"program" if path.endswith(".pt2") else "path": path}
    table = dict(model)
    source = table.get("factory") or table.get("program") or table.get("path") or ""
    return str(table.pop("name", None) or model_name(str(source))), table


def _target(target: str | Mapping[str, Any]) -> tuple[str, dict[str, Any] | None]:
    """Return the name of a target, and its table unless it is built in."""
    if isinstance(target, str):
        return target, None
    table = dict(target)
    if "name" not in table:
        raise RunoffError(f"the target {table} has no name", 'add for example: "name": "mine"')
    return str(table.pop("name")), table
