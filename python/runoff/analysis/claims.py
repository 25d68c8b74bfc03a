"""Claims as data, and whether a run bears them out: decided on the interval of a ratio, never on an estimate alone.

A claim names the ratios for which it is true. It holds if the 95% interval of the measured ratio lies within them, does
not hold if the interval lies outside, and cannot be told otherwise: each bound is wrong in at most 2.5% of runs. As in
every verdict of a report, the estimate must also lie beyond the bound by the noise floor.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf, isfinite, isnan, nan
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from runoff.analysis.comparisons import noise_floor
from runoff.analysis.measurements import Measurements  # noqa: TC001 (msgspec evaluates the annotations)
from runoff.analysis.metric_samples import Metric, pair
from runoff.analysis.precision import FULL
from runoff.analysis.verdict import ALIKE, Verdict, not_comparable
from runoff.plan.cases import case_id, settings_words
from runoff.plan.settings import resolve
from runoff.records.protocol import Workload  # noqa: TC001
from runoff.records.reason import Reason, ReasonError
from runoff.records.schema import Footprint, RunInfo
from runoff.statistics import paired

if TYPE_CHECKING:
    from runoff.analysis.measurements import Member
    from runoff.analysis.metric_samples import MetricSamples
    from runoff.records.schema import Case

Outcome = Literal["holds", "does not hold", "cannot be told"]
NOT_MEASURED = "not measured"
FOOTPRINT = "footprint"
"""In place of a probe: bytes on disk, which are exact."""


class Span(Struct, frozen=True):
    """Ratios from `low` to `high`."""

    low: float = 0.0
    high: float = inf


class Quantity(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A number of a case."""

    model: str
    metric: str
    """``PROBE.NAME`` as in ``summary.csv``, or ``footprint.model``."""
    target: str = ""
    workload: Workload = "tensor"
    settings: dict[str, Any] = {}
    """As in a suite, one value each; ``threads = "all"`` means the cores of the run's machine."""
    example: str = ""
    """For `segment`: the only example."""
    per_item: bool = False
    """Whether it is divided by the batch."""

    @property
    def probe(self) -> str:
        """The probe that measures it."""
        return self.metric.partition(".")[0]

    @property
    def as_metric(self) -> Metric:
        """Its metric."""
        probe, _, cell = self.metric.partition(".")
        return Metric(probe, cell)

    def case(self, cores: int) -> str:
        """Return the id of its case on a machine with `cores`."""
        every = {"threads": cores} if self.settings.get("threads") == "all" else {}
        words = (
            *settings_words(resolve(self.settings | every)),
            *([f"example-{self.example}"] if self.example else []),
        )
        return case_id(self.model, self.workload, self.target, words)


class Claim(Struct, frozen=True, kw_only=True):
    """A statement about `over` / `under`, or about the predictions of all paths."""

    over: Quantity | None = None
    under: Quantity | None = None
    same: Quantity | None = None
    """Without a target: 1 for each image that a path classifies as the reference does, on all paths in fp32."""
    true: Span = Span()
    """The ratios for which it is true."""

    @property
    def quantities(self) -> list[Quantity]:
        """What must be measured."""
        return [one for one in (self.over, self.under, self.same) if one]


class Answer(Struct, frozen=True):
    """The outcome of a claim, and the measured ratio that it rests on."""

    outcome: Outcome
    measured: Verdict = Verdict()
    """Only its numbers; an exact ratio has an interval without width."""
    reason: str = ""
    """Reason if it cannot be told; for predictions, what was counted."""


class MeasuredRun(Struct, frozen=True):
    """A run to check claims against."""

    info: RunInfo
    data: Measurements

    @property
    def cores(self) -> int:
        """Cores that its processes could use."""
        return int(self.info.machine["cores_allowed"])


def decide(measured: Verdict, true: Span, stated: Span | None = None) -> Answer:
    """Return whether a claim that is true for the ratios `true` holds.

    `measured` has the ratio, its interval and the noise floor. Outside `stated`, by default `true`, the claim does not
    hold: a report that states "1.5x faster (1.4 to 1.6)" is right about the direction above 1, and wrong below 1.4.
    """
    stated = stated or true
    if isnan(measured.low):
        return Answer("cannot be told", measured, measured.reason or NOT_MEASURED)
    if _above(measured, true.low) and _below(measured, true.high):
        return Answer("holds", measured)
    if _below(measured, stated.low) or _above(measured, stated.high):
        return Answer("does not hold", measured)
    limits = dict.fromkeys((stated.low, true.low, true.high, stated.high))
    within = [limit for limit in limits if measured.low <= limit <= measured.high]
    why = f"the interval includes {within[0]:.4g}" if within else "the difference is within the noise floor"
    return Answer("cannot be told", measured, why)


def _above(measured: Verdict, limit: float) -> bool:
    return measured.low >= limit and measured.ratio >= limit * (1 + _noise(measured))


def _below(measured: Verdict, limit: float) -> bool:
    return measured.high <= limit and measured.ratio * (1 + _noise(measured)) <= limit


def _noise(measured: Verdict) -> float:
    """Return the noise floor; none is known without an A/A control."""
    return measured.floor if isfinite(measured.floor) else 0.0


def spans(verdict: Verdict) -> tuple[Span, Span] | None:
    """Return the ratios for which a report's verdict is right, and those that it states; None if it states nothing.

    A difference is right if its direction is. "No difference" is right up to 10%, or up to its noise floor.
    """
    if verdict.kind == "better":
        return Span(low=1.0), Span(low=verdict.low)
    if verdict.kind == "worse":
        return Span(high=1.0), Span(high=verdict.high)
    if verdict.kind == "no difference":
        most = max(ALIKE, 1 + _noise(verdict))
        return Span(1 / most, most), Span(1 / most, most)
    return None


def check(claim: Claim, run: MeasuredRun) -> Answer:
    """Return whether `claim` holds in `run`."""
    try:
        if claim.same:
            return _same(claim.same, run)
        if claim.over is None or claim.under is None:
            return Answer("cannot be told", reason=NOT_MEASURED)
        return decide(_ratio(claim.over, claim.under, run), claim.true)
    except ReasonError as error:
        reason = str(error.reason)
        return Answer("cannot be told", not_comparable(reason), reason)


def _ratio(over: Quantity, under: Quantity, run: MeasuredRun) -> Verdict:
    """Return over / under, paired by block: every block measures all cases."""
    if FOOTPRINT == over.probe == under.probe:
        exact = _bytes(over, run) / _bytes(under, run)
        return Verdict("", exact, exact, exact)
    (one, theirs), (other, mine) = _samples(over, run), _samples(under, run)
    interleaved = over.metric == under.metric and one.comparison == other.comparison  # as in a report
    logs = pair(mine, theirs, run.data.together(one) & run.data.together(other) if interleaved else ())
    if not logs:
        raise _missing(f"no block has values above zero of both {one.case} and {other.case}")
    ratio = paired(logs)
    if isnan(ratio.low):
        raise _missing(f"{ratio.n} block gives no interval (2 are needed); the ratio is {ratio.value:.2f}")
    floor = noise_floor(run.data, one.comparison, over.as_metric) if interleaved else None
    return Verdict("", ratio.value, ratio.low, ratio.high, floor=nan if floor is None else floor)


def _samples(quantity: Quantity, run: MeasuredRun) -> tuple[Member, MetricSamples]:
    """Return the case of a quantity and its samples; raise `ReasonError` if it was not measured."""
    case = _case(quantity, run)
    member = next(member for member in run.data.members if member.case == case.id)
    failure = member.failures.get(quantity.probe)
    samples = None if failure else run.data.cell(member, quantity.as_metric)
    if samples is None:
        unknown = f"{quantity.metric} has no value" if quantity.probe in case.probes else NOT_MEASURED
        raise _missing(failure or unknown)
    items = case.settings.batch if quantity.per_item else 1
    return member, replace(samples, processes=tuple(values / items for values in samples.processes))


def _case(quantity: Quantity, run: MeasuredRun) -> Case:
    name = quantity.case(run.cores)
    case = next((case for case in run.info.cases if case.id == name), None)
    if case is None:
        raise _missing(NOT_MEASURED)
    if case.skipped:
        raise ReasonError(case.skipped)
    return case


def _bytes(quantity: Quantity, run: MeasuredRun) -> int:
    case, part = _case(quantity, run), quantity.metric.partition(".")[2]
    size = run.info.footprints.get(case.id, Footprint()).parts.get(part)
    if not size:
        raise _missing(NOT_MEASURED)
    return size


def _same(quantity: Quantity, run: MeasuredRun) -> Answer:
    """Return whether `quantity` is 1 for every image on every path in fp32; images are counted, so it is exact."""
    cases = {case.id for case in run.info.cases if case.settings.precision == FULL and case.control_of is None}
    samples = [
        samples.processes[0]
        for member in run.data.members
        if member.case in cases and member.computes and member.case.startswith(f"{quantity.model}.{quantity.workload}.")
        if (samples := run.data.cell(member, quantity.as_metric)) is not None
    ]
    if len(samples) < 2:  # noqa: PLR2004 (one path agrees with itself)
        raise _missing(NOT_MEASURED)
    images, differ = len(samples[0]), int(sum((path != 1).sum() for path in samples))
    text = f"{len(samples)} paths, {images} images each: {differ} predictions differ from the reference"
    return Answer("does not hold" if differ else "holds", reason=text)


def _missing(reason: str) -> ReasonError:
    return ReasonError(Reason("not-measured", reason))
