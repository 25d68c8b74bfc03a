"""The injected faults, and the check whether a run caught them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from runoff.analysis.audit import audit
from runoff.analysis.validity import excluded
from runoff.selftest.injected import UNAVAILABLE
from runoff.selftest.suites import UNMODIFIED, Plan, pick_model, runner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runoff.analysis.audit import AuditPoint
    from runoff.records.schema import Run


class Fault(Struct, frozen=True, kw_only=True):
    """A fault of `runoff.selftest.injected`, and the failures that count as caught."""

    name: str
    what: str
    kinds: tuple[str, ...] = ()
    """Kinds of failure."""
    point: str = ""
    """Point of the fairness audit; a difference there counts too."""
    provider: str = "cpu"
    """Provider that its case requests."""

    @property
    def target(self) -> str:
        """Name of its target."""
        return f"injected-{self.name}"


class Outcome(Struct, frozen=True, kw_only=True):
    """Whether a fault was caught, and what the run reported."""

    fault: str
    what: str
    caught: bool
    reported: str = field(name="said")


FAULTS = (
    Fault(name="wrong", what="one output in a hundred is wrong", kinds=("outputs-differ",)),
    Fault(name="cached", what="repeats the first output", kinds=("outputs-differ",)),
    Fault(name="late", what="returns the output of the previous input", kinds=("outputs-differ",)),
    Fault(
        name="fallback",
        what="runs on the CPU in place of the requested provider",
        kinds=("provider-unavailable", "provider-fallback"),
        point="provider",
        provider=UNAVAILABLE,
    ),
    Fault(
        name="fallback-claimed",
        what="declares a provider that it does not have, and runs on the CPU",
        kinds=("provider-unavailable", "provider-fallback"),
        point="provider",
        provider=UNAVAILABLE,
    ),
    Fault(name="threads", what="uses two threads and reports one", kinds=("threads",), point="threads"),
    Fault(name="deferred", what="computes only when its output is requested", kinds=("clock",)),
    Fault(name="clock", what="reports half of the elapsed time", kinds=("clock",)),
    Fault(name="clock-fast", what="reports 3% less than the elapsed time", kinds=("clock",)),
    Fault(name="clock-phases", what="stamps phases with a clock that is an hour ahead", kinds=("clock",)),
    Fault(name="crash", what="crashes during a turn", kinds=("crashed",)),
)
SAMPLES, SETS = 208, 5
"""Inferences per set, enough to catch one wrong output in 101; and sets, to catch 3% of a time.

The output of a turn's last inference is checked. A turn has two inferences if one takes 3 to 6 ms: of 202, one checked
output is wrong. Most faults are caught in the first set, and not measured again.
"""


def plan_faults(faults: Sequence[Fault] = FAULTS, samples: int = SAMPLES) -> Plan:
    """Return the suite with an unmodified runner and `faults`; each set has at least `samples` samples."""
    targets = {UNMODIFIED: runner("none")} | {fault.target: runner(fault.name) for fault in faults}
    providers = dict.fromkeys(["cpu", *(fault.provider for fault in faults)])
    groups = []
    for provider in providers:
        chosen = [fault.target for fault in faults if fault.provider == provider]
        groups.append(((UNMODIFIED, *chosen) if provider == "cpu" else tuple(chosen), {"provider": provider}))
    measure: dict[str, Any] = {
        "blocks": {"latency": SETS},
        "latency": {"min_samples": samples, "min_time_s": 0, "warmup_time_s": 1.0},
        "timeout_s": 120,
    }
    name = "selftest-faults"
    return Plan(name=name, model=pick_model(), targets=targets, probe="latency", groups=tuple(groups), measure=measure)


def judge_faults(run: Run) -> list[Outcome]:
    """Return the outcome of the unmodified runner and of each fault that is injected in `run`.

    A fault is caught if its case failed with one of the fault's kinds, or if its point of the fairness audit differs.
    The unmodified runner must have neither: anything caught there is a false alarm.
    """
    points, failures = audit(run), _failures(run)
    targets = {case.target for case in run.info.cases}
    included = [fault for fault in FAULTS if fault.target in targets]
    return [_unmodified(failures, points), *(_outcome(fault, failures, points) for fault in included)]


def _failures(run: Run) -> dict[str, tuple[str, str]]:
    """Return, by target, the kind and the text of the first failure."""
    targets = {case.id: case.target for case in run.info.cases}
    failures = {case.target: (case.skipped.kind, str(case.skipped)) for case in run.info.cases if case.skipped}
    for record in run.records:
        if record.status != "ok" and record.reason is not None:
            failures.setdefault(targets[record.case], (record.reason.kind, str(record.reason)))
    for case, reason in excluded(run).items():
        failures.setdefault(targets[case], (reason.kind, str(reason)))
    return failures


def _outcome(fault: Fault, failures: Mapping[str, tuple[str, str]], points: list[AuditPoint]) -> Outcome:
    kind, words = failures.get(fault.target, ("", ""))
    differs = _differing(fault.target, [point for point in points if point.point == fault.point])
    caught = kind in fault.kinds or bool(differs)
    reported = f"{kind}: {words}" if kind else differs or "nothing was reported"
    return Outcome(fault=fault.name, what=fault.what, caught=caught, reported=reported)


def _unmodified(failures: Mapping[str, tuple[str, str]], points: list[AuditPoint]) -> Outcome:
    kind, words = failures.get(UNMODIFIED, ("", ""))
    reported = f"{kind}: {words}" if kind else _differing(UNMODIFIED, points)
    return Outcome(
        fault="none", what="unmodified runner", caught=not reported, reported=reported or "no failure, as expected"
    )


def _differing(target: str, points: list[AuditPoint]) -> str:
    """Return the details of those `points` of the audit that blame `target`, as text."""
    return "; ".join(f"audit, {point.point}: {point.detail}" for point in points if target in point.blamed)
