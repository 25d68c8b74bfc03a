"""Audit of the work: the same weights, input and output, and how many outputs were checked."""

from __future__ import annotations

from math import expm1, log
from typing import TYPE_CHECKING

from runoff.analysis.audit.group import Found, not_compared
from runoff.analysis.validity import disagreements, say
from runoff.analysis.wording import percent
from runoff.models.store import PREPARED, prepared_in
from runoff.plan.coreml_packages import COMPILED

if TYPE_CHECKING:
    from runoff.analysis.audit.group import AuditGroup, Outcome

MOST_STEPS = 2.0
"""Inputs may differ by two steps of 255: right decoders and resizers may each round a pixel differently."""
CONFIDENCE = 0.95


def model(group: AuditGroup) -> Found:
    """Return whether all read the same weights; a prepared model is named by its source."""
    name = group.cases[0].model
    stored = group.run.info.models.get(name, {})
    hashes = stored.get("sha256") or {}
    if not hashes:
        return Found("unknown", f"run.json has no SHA-256 of {name}")
    read = {case.made_from or case.format for case in group.cases}
    # packages and variants that no case of the comparison reads do not matter
    kinds = sorted(kind for kind in hashes if kind in read or not kind.startswith(("mlpackage", "onnx:")))
    detail = [f"{kind} {hashes[kind][:12]}" for kind in kinds]
    outcome: Outcome = "ok"
    made = {
        (case.format, case.made_from) for case in group.cases if case.made_from or case.format in (PREPARED, COMPILED)
    }
    for form, source in sorted(made):
        prepared = prepared_in(stored, form, source)
        if prepared is not None:
            made_from = str(prepared["key"].get("model_sha256"))
            outcome = outcome if made_from in hashes.values() else "differs"
            detail.append(f"{form} {prepared['sha256'][:12]} prepared from {made_from[:12]}")
    return Found(outcome, ", ".join(detail))


def inputs(group: AuditGroup) -> Found:
    """Return whether the input tensors are the same: their largest difference after preprocessing."""
    if group.cases[0].workload == "tensor":
        return Found("ok", "all read the same tensor files")
    worst: dict[str, float] = {}
    for case in group.cases:
        for record in group.records[case.id]:
            differences = [
                check["input_max_diff"] for check in record.parity if check.get("input_max_diff") is not None
            ]
            if differences:
                worst[case.target] = max(worst.get(case.target, 0.0), *differences)
    if not worst:
        return Found("unknown", "no accuracy probe compared the input tensors")
    outcome: Outcome = "ok" if max(worst.values()) <= MOST_STEPS else "differs"
    blind = sorted({case.target for case in group.cases} - worst.keys())
    if blind and outcome == "ok":
        outcome = "unknown"
    detail = ", ".join(f"{target} {value:.3g}" for target, value in worst.items())
    return Found(outcome, f"largest difference in steps of 1/255: {detail}" + not_compared(blind))


def outputs(group: AuditGroup) -> Found:
    """Return whether all outputs agree, as far as they were compared."""
    wrong = disagreements(group.run)
    differing = [f"{case.target}: {say(wrong[case.id])}" for case in group.cases if case.id in wrong]
    if differing:
        return Found("differs", "; ".join(differing))
    worst = {
        case.target: max(check["max_rel_diff"] for record in group.records[case.id] for check in record.parity)
        for case in group.cases
        if any(record.parity for record in group.records[case.id])
    }
    blind = sorted({case.target for case in group.cases} - worst.keys())
    detail = ", ".join(f"{target} {value:.1e}" for target, value in worst.items()) or "none compared"
    not_read = group.run.info.models.get(group.cases[0].model, {}).get("not_read") or {}
    others = "".join(
        f"; output {name} is {kind}: computed, neither read nor compared" for name, kind in not_read.items()
    )
    return Found("unknown" if blind else "ok", f"largest relative difference: {detail}" + not_compared(blind) + others)


def checked(group: AuditGroup) -> Found:
    """Return the number of compared outputs of the timed runs, and the error rate that this would detect."""
    counts = {}
    for case in group.cases:
        turned = group.turned(case)
        # of a server under load, every response is compared
        responses = [record.load.responses for record in group.records[case.id] if record.load]
        if turned or responses:
            counts[case.target] = sum(responses) + sum(live.checked for live in turned if live is not None)
    if not counts:
        return Found("unknown", "no case has a record of a live process, or of a server under load")
    checks = [f"{target} {count:,}" for target, count in counts.items() if count]
    blind = [target for target, count in counts.items() if not count]
    few = f"{', '.join(blind)}: only the first and the last of each process" if blind else ""
    if not checks:
        return Found("unknown", few)
    least = min(count for count in counts.values() if count)
    shown = f"an error rate of {percent(rarest(least))} would be detected with 95% confidence"
    return Found("unknown" if blind else "ok", "; ".join(filter(None, (", ".join(checks), shown, few))))


def rarest(n: int) -> float:
    """Return the smallest error rate that checking `n` outputs detects with 95% confidence.

    ``1 - 0.05 ** (1 / n)``, of which the rule of three (3 / n) is the first term; 0 to 1.
    """
    return -expm1(log(1 - CONFIDENCE) / n)
