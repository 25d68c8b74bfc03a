"""What the precisions of a model cost and gain: each compared with fp32 on the same target, and where its time goes."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec import Struct

from runoff.analysis.comparisons import adjusted, within
from runoff.analysis.metric_samples import Metric
from runoff.analysis.verdict import Verdict
from runoff.plan.suite import MAX_LOSS
from runoff.probes.operators import OPERATORS
from runoff.records.manifest import Loss, variant_format
from runoff.records.nodes import CONTROL_FLOW, NodeClass, node_class

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runoff.analysis.measurements import Measurements
    from runoff.records.schema import Case, Record, Run

WARM = Metric("latency", "inference.warm")
FULL = "fp32"
"""The precision that others are compared with: the model as it is."""


class ClassTime(Struct, frozen=True, kw_only=True):
    """The nodes of one class of a case, and their time in an inference."""

    name: NodeClass
    nodes: int
    ns: float
    """Sum over its nodes of each one's mean over the middle half of the inferences."""
    share: float
    """Of the time of all nodes, 0 to 1."""
    operators: dict[str, int]
    """Number of nodes by operator, those with the most time first."""


class Precision(Struct, frozen=True, kw_only=True):
    """A case in one of several precisions of a target."""

    case: str
    target: str
    precision: str
    group: str
    """The cases of one group differ in target and precision only."""
    bytes: int | None
    """Of the file that it loads."""
    warm: Verdict
    """Of a warm inference against fp32 on this target, paired if they were interleaved. Empty for fp32 itself."""
    paired: bool
    loss: Loss | None
    """Against the references of the model in fp32. None if unknown, and for fp32 itself."""
    limit: float | None
    """Largest `Loss.max_rel_diff` that is not marked."""
    classes: tuple[ClassTime, ...] = ()
    """The classes with the most time first; empty without the probe ``operators``."""

    @property
    def above(self) -> bool:
        """Whether it loses more than its limit."""
        return self.loss is not None and self.limit is not None and not self.loss.max_rel_diff <= self.limit


def precisions(run: Run, data: Measurements) -> list[Precision]:
    """Return the cases of the targets that were measured, or requested, in a precision other than fp32."""
    groups: defaultdict[tuple[str, ...], list[Case]] = defaultdict(list)
    for case in run.info.cases:
        if case.control_of is None and case.skipped is None:
            groups[(*case.interleaving, case.target)].append(case)
    found = [cases for cases in groups.values() if any(case.settings.precision != FULL for case in cases)]
    verdicts = _verdicts(data, found)
    records = run.by_case()
    return [
        _precision(run, case, records[case.id], *verdicts.get(case.id, (Verdict(), False)))
        for cases in found
        for case in cases
    ]


def _verdicts(data: Measurements, groups: Iterable[Sequence[Case]]) -> dict[str, tuple[Verdict, bool]]:
    """Return the verdict on a warm inference against fp32, and whether it is paired, by case.

    All are one family: each is one of several precisions that a reader chooses from.
    """
    members = {member.case: member for member in data.members}
    lines = {}
    for cases in groups:
        full = next((case for case in cases if case.settings.precision == FULL), None)
        for case in cases:
            if full and case is not full and WARM.probe in case.probes and WARM.probe in full.probes:
                line = within(data, members[full.id], members[case.id], WARM, case.id)
                lines[case.id] = msgspec.structs.replace(line, family="precision")
    compared = zip(lines, adjusted(lines.values()), strict=True)
    return {case: (line.verdict, line.paired) for case, line in compared}


def _precision(run: Run, case: Case, records: Sequence[Record], warm: Verdict, paired: bool) -> Precision:  # noqa: FBT001
    precision, limits = case.settings.precision, run.info.suite.get("measure", {}).get("max_loss", {})
    footprint = run.info.footprints.get(case.id)
    return Precision(
        case=case.id,
        target=case.target,
        precision=precision,
        group=".".join(case.interleaving),
        bytes=footprint.parts.get("model") if footprint else None,
        warm=warm,
        paired=paired,
        loss=None if precision == FULL else _loss(run, case, records),
        limit={**MAX_LOSS, **limits}.get(precision),
        classes=class_times([record for record in records if record.probe == OPERATORS.name and record.status == "ok"]),
    )


def _loss(run: Run, case: Case, records: Iterable[Record]) -> Loss | None:
    """Return the loss of the variant that the case loads; if it converts the model itself, that of its outputs."""
    precision = case.settings.precision
    stored: dict[str, Any] = run.info.models.get(case.model, {}).get("variants") or {}
    if (case.made_from or case.format) == variant_format(precision):
        loss = stored.get(precision, {}).get("loss")
        return msgspec.convert(loss, Loss) if loss else None
    rows = [row for record in records if record.probe == "accuracy" for row in record.parity]
    agree = [row["top1_agrees"] for row in rows if row["top1_agrees"] is not None]
    if not rows:
        return None
    return Loss(
        max_rel_diff=max(row["max_rel_diff"] for row in rows),
        cosine=min(row["cosine"] for row in rows),
        top1_agrees=float(np.mean(agree)) if agree else None,
    )


def class_times(records: Iterable[Record]) -> tuple[ClassTime, ...]:
    """Return the classes of nodes in the runtime's own profile, those with the most time first."""
    samples: defaultdict[tuple[str, str, tuple[str, ...]], list[int]] = defaultdict(list)
    for record in records:
        for node in record.result.nodes if record.result else ():
            if node.operator not in CONTROL_FLOW:
                samples[node.name, node.operator, node.inputs] += node.kernel_ns
    times: defaultdict[NodeClass, list[tuple[str, float]]] = defaultdict(list)
    for (_, operator, inputs), values in samples.items():
        times[node_class(operator, inputs)].append((operator, _middle_mean(values)))
    total = sum(ns for nodes in times.values() for _, ns in nodes)
    made = [_class_time(name, nodes, total) for name, nodes in times.items()]
    return tuple(sorted(made, key=lambda one: -one.ns))


def _class_time(name: NodeClass, nodes: Sequence[tuple[str, float]], total: float) -> ClassTime:
    spent: defaultdict[str, float] = defaultdict(float)
    counts: defaultdict[str, int] = defaultdict(int)
    for operator, ns in nodes:
        spent[operator] += ns
        counts[operator] += 1
    ns = sum(spent.values())
    order = sorted(spent, key=lambda operator: -spent[operator])
    operators = {operator: counts[operator] for operator in order}
    return ClassTime(name=name, nodes=len(nodes), ns=ns, share=ns / total if total else 0.0, operators=operators)


def _middle_mean(values: Sequence[int]) -> float:
    """Return the mean of the middle half: a profile counts microseconds, and a disturbed inference is far outside."""
    ordered, cut = np.sort(np.asarray(values, dtype=np.float64)), len(values) // 4
    return float(ordered[cut : len(ordered) - cut].mean())
