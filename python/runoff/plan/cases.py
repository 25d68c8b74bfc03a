"""The plan: the cases of a suite, each with the reason if it cannot run on this machine."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from runoff.plan.baselines import baseline_of, control_name
from runoff.plan.coreml_packages import PACKAGES, serves, verified
from runoff.plan.options import EXAMPLE, combinations
from runoff.plan.settings import resolve, sweep
from runoff.probes import PROBES
from runoff.records.errors import RunoffError
from runoff.records.manifest import base_format, variant_precision
from runoff.records.protocol import PROTOCOL_VERSION, Capabilities, Settings, Workload
from runoff.records.reason import Reason
from runoff.records.schema import Case

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from runoff.plan.suite import Group, Suite
    from runoff.plan.target import Target, TargetInfo
    from runoff.records.manifest import Manifest


def make_plan(
    suite: Suite, formats: Mapping[str, Collection[str]], targets: Mapping[str, TargetInfo]
) -> tuple[Case, ...]:
    """Return the cases of `suite` in its order, without duplicates.

    `formats` has the formats in which each model is stored, `targets` each target's capabilities.

    Raises
    ------
    RunoffError
        If two settings profiles of the same file name make indistinguishable cases.
    """
    cases: dict[str, Case] = {}
    for group in suite.groups:
        for case in _cases(group, formats, targets):
            cases[case.id] = _merged(cases.get(case.id, case), case)
    return tuple(cases.values())


def _merged(one: Case, other: Case) -> Case:
    """Return the case of two groups, with the probes of both."""
    if one.settings != other.settings:
        raise RunoffError(
            f"profiles {one.settings.profile} and {other.settings.profile} both produce a case called {one.id}",
            "rename one of the files",
        )
    return msgspec.structs.replace(one, probes=tuple(dict.fromkeys((*one.probes, *other.probes))))


def _cases(group: Group, formats: Mapping[str, Collection[str]], targets: Mapping[str, TargetInfo]) -> Iterator[Case]:
    for model in group.models or ():
        for workload in group.workloads or ():
            segments = combinations(group.segment if workload == "segment" else {})
            loads = combinations(group.load if "load" in (group.probes or ()) else {})
            every = itertools.product(sweep(group.settings, group.sweep or "grid"), segments, loads)
            for settings, segment, load in every:
                for target in group.targets or ():
                    probes, info = group.probes or (), targets[target]
                    yield plan_case(model, workload, settings, probes, formats[model], info, segment, load)


def plan_case(
    model: str,
    workload: Workload,
    settings: Settings,
    probes: tuple[str, ...],
    formats: Collection[str],
    target_info: TargetInfo,
    segment: Mapping[str, Any] = MappingProxyType({}),
    load: Mapping[str, Any] = MappingProxyType({}),
) -> Case:
    """Return one case, with the reason if the target cannot run it.

    `segment` has the options of that workload, `load` those of that probe.
    """
    name = target_info.target.name
    others = _words(f"{key}-{value}" for key, value in (*segment.items(), *load.items()))
    variant = (*settings_words(settings), *others)
    if target_info.target.provider and settings.provider == Settings().provider:
        settings = msgspec.structs.replace(settings, provider=target_info.target.provider)
    known = _readable(target_info, formats)
    named = (form for name in known for form in (name, f"{name}:{settings.precision}"))
    converts = target_info.target.converts
    model_format = next((form for form in named if form in formats and _serves(form, settings, converts)), None)
    return Case(
        id=case_id(model, workload, name, variant),
        model=model,
        workload=workload,
        target=name,
        settings=settings,
        probes=_applicable_probes(probes, target_info),
        format=model_format or "",
        variant=variant,
        segment=tuple((key, value) for key, value in segment.items() if key != EXAMPLE),
        load=tuple(load.items()),
        example=segment.get(EXAMPLE, ""),
        tolerance=target_info.target.tolerance,
        skipped=_obstacle(target_info, workload, settings, model_format, formats),
    )


def with_model_limits(
    cases: Iterable[Case], targets: Mapping[str, TargetInfo], manifests: Mapping[str, Manifest]
) -> tuple[Case, ...]:
    """Return `cases`, with the reason for those that a user's model cannot take part in."""

    def limited(case: Case) -> Case:
        manifest, target = manifests[case.model], targets[case.target].target
        reason = None
        if manifest.graph and (missing := _network(target, manifest)):
            # whatever else is missing, it would not help
            return msgspec.structs.replace(case, skipped=Reason("network", f"{case.target} needs {missing}"))
        if case.workload == "classify" and manifest.preprocess is None:
            reason = Reason(
                "workload", f"the model {case.model!r} has no images", f"set workloads = [{_other(manifest)}]"
            )
        elif bool(manifest.segment) != (case.workload == "segment"):
            reason = Reason("workload", _prompts(case, manifest), f"set workloads = [{_other(manifest)}]")
        elif case.example and case.example not in {example.name for example in manifest.examples}:
            names = ", ".join(example.name for example in manifest.examples)
            reason = Reason("example", f"the model {case.model!r} has no example {case.example!r}", f"it has: {names}")
        elif max(case.settings.batch, dict(case.load).get("max_batch", 1)) > 1 and not manifest.batches:
            reason = Reason("batch", f"examples of the model {case.model!r} cannot be joined to batches")
        return case if case.skipped or reason is None else msgspec.structs.replace(case, skipped=reason)

    return tuple(map(limited, cases))


def _other(manifest: Manifest) -> str:
    """Return the workload that fits a model, in quotes."""
    return '"segment"' if manifest.segment else '"tensor"'


def _prompts(case: Case, manifest: Manifest) -> str:
    takes = "takes prompts" if manifest.segment else "takes no prompts"
    return f"the model {case.model!r} {takes}: workload {case.workload!r} is unsupported"


def _network(target: Target, manifest: Manifest) -> str:
    """Return what a target reads that a user's model does not have; empty if that is an ONNX file, or nothing."""
    found = "a program of torch.export" if "pt2" in manifest.files else "an ONNX file"
    if target.format == "pt2" and target.format not in manifest.files:
        return f"a program of torch.export (.pt2); the model is {'a network' if manifest.builder else found}"
    if not manifest.builder and (target.packages or target.format == "pt"):
        return f"a network in PyTorch; the model is {found}"
    return ""


def with_variant_reasons(cases: Iterable[Case], reasons: Mapping[tuple[str, str], Reason]) -> tuple[Case, ...]:
    """Return `cases`; those without a file in their precision have the reason why it could not be made.

    `reasons` are by model and precision.
    """

    def explained(case: Case) -> Case:
        reason = reasons.get((case.model, case.settings.precision))
        lacks_file = case.skipped is not None and case.skipped.kind == "format"
        return msgspec.structs.replace(case, skipped=reason) if reason and lacks_file else case

    return tuple(map(explained, cases))


def with_verifications(
    cases: Iterable[Case], targets: Mapping[str, TargetInfo], manifests: Mapping[str, Manifest]
) -> tuple[Case, ...]:
    """Return `cases`; if one that reads packages cannot run, its reason begins with how its package was verified."""
    made = []
    for case in cases:
        reason = case.skipped
        if reason and targets[case.target].target.packages and reason.kind != "network":
            verification = verified(manifests[case.model], case.format) or "the store has no package for it"
            reason = Reason(reason.kind, f"{verification}; {reason.message}", reason.hint)
        made.append(msgspec.structs.replace(case, skipped=reason))
    return tuple(made)


def with_controls(
    cases: Sequence[Case], targets: Mapping[str, TargetInfo], baselines: Sequence[str]
) -> tuple[Case, ...]:
    """Return `cases` with an A/A control of the baseline of every comparison; its spread is the noise floor.

    A comparison in which fewer than two cases can run and compute has no control.
    """
    comparisons: dict[tuple[str, ...], list[Case]] = {}
    for case in cases:
        can = targets[case.target].capabilities
        if case.skipped is None and can and can.computes:
            comparisons.setdefault(case.comparison, []).append(case)
    made = list(cases)
    for members in comparisons.values():
        baseline = baseline_of(members, baselines)
        if baseline and len(members) > 1:
            made.insert(made.index(baseline) + 1, control_case(baseline))
    return tuple(made)


def with_control_targets(cases: Iterable[Case], targets: Mapping[str, TargetInfo]) -> dict[str, TargetInfo]:
    """Return `targets` with those of the A/A controls among `cases`, under the names of the controls."""
    return {**targets, **{case.target: targets[case.control_of] for case in cases if case.control_of}}


def _applicable_probes(probes: Iterable[str], target_info: TargetInfo) -> tuple[str, ...]:
    """Return the probes that check outputs, then `probes`, without those that a runner without a model cannot have."""
    checks = [name for name, probe in PROBES.items() if probe.checks_outputs]
    names, can = dict.fromkeys((*checks, *probes)), target_info.capabilities
    if can is None or can.computes:
        return tuple(names)
    return tuple(name for name in names if not PROBES[name].needs_model or set(PROBES[name].kinds) & set(can.measures))


def case_id(model: str, workload: str, target: str, variant: Iterable[str]) -> str:
    """Return the identity of a case; `variant` is from `settings_words`."""
    return ".".join((model, workload, target, *variant))


def renamed(case: Case, target: str, **changes: Any) -> Case:
    """Return a case as that of another target, with `changes` of other fields."""
    changed = msgspec.structs.replace(case, target=target, **changes)
    return msgspec.structs.replace(changed, id=case_id(changed.model, changed.workload, target, changed.variant))


def control_case(baseline: Case) -> Case:
    """Return the A/A control of a case."""
    return renamed(baseline, control_name(baseline.target), control_of=baseline.target)


def settings_words(settings: Settings) -> tuple[str, ...]:
    """Return the settings as text, for `Case.variant`."""
    profile = Path(settings.profile).stem
    usual = resolve({"profile": settings.profile, "threads": settings.threads, "batch": settings.batch})
    fields = msgspec.structs.asdict(settings)
    others = [f"{key}-{value}" for key, value in fields.items() if value != getattr(usual, key)]
    return _words((profile, f"t{settings.threads}", f"b{settings.batch}", *others))


def _words(texts: Iterable[str]) -> tuple[str, ...]:
    """Return texts without characters that file names cannot have."""
    return tuple(re.sub(r"[^A-Za-z0-9._-]", "_", text) for text in texts)


def _readable(target_info: TargetInfo, formats: Collection[str]) -> Collection[str]:
    """Return the formats that a target reads, the best first."""
    target, can = target_info.target, target_info.capabilities
    if can is None:
        return [kind.name for kind in PACKAGES] if target.packages else ()
    # a runner without formats does not read the model
    return (target.format,) if target.format else can.formats or formats


def _serves(form: str, settings: Settings, converts: Collection[str] = ()) -> bool:
    """Return whether a file of this format can be used with the settings.

    An ONNX file is in one precision: ``fp32`` is the model as it is, which a runtime may compute in those of
    `converts`. PyTorch converts its own when it loads them.
    """
    if base_format(form) in ("onnx", "ort"):
        return settings.precision in ((variant_precision(form),) if variant_precision(form) else ("fp32", *converts))
    return serves(form, settings)


def _obstacle(
    target_info: TargetInfo, workload: str, settings: Settings, model_format: str | None, formats: Collection[str]
) -> Reason | None:
    can = target_info.capabilities
    if can is None:
        return target_info.reason
    checks = (
        (PROTOCOL_VERSION in can.protocol, "protocol", f"speaks protocol {can.protocol}, not {PROTOCOL_VERSION}"),
        (workload in can.workloads, "workload", f"workload {workload!r} is unsupported"),
        (settings.precision in can.precisions, "precision", f"precision {settings.precision!r} is unsupported"),
        (model_format, "format", _no_format(settings, can, formats)),
        (
            settings.provider in can.providers or settings.provider in can.unavailable_providers,
            "provider-unavailable",
            f"provider {settings.provider!r} is unavailable (available: {', '.join(can.providers) or 'none'})",
        ),
        (can.max_batch is None or settings.batch <= can.max_batch, "batch", f"the largest batch is {can.max_batch}"),
    )
    failed = (Reason(kind, f"{can.runner}: {message}") for fine, kind, message in checks if not fine)
    return next(failed, _unavailable_provider(settings, can))


def _unavailable_provider(settings: Settings, can: Capabilities) -> Reason | None:
    """Return the reason if the runner cannot use the provider on this machine, worded like a failing session."""
    why = can.unavailable_providers.get(settings.provider)
    if why is None or settings.provider in can.providers:
        return None
    message = f"settings.provider: {settings.provider!r} cannot be used: {why}"
    return Reason("provider-unavailable", message, 'docker run --gpus all ..., or set provider = "cpu"')


def _no_format(settings: Settings, can: Capabilities, formats: Collection[str]) -> str:
    message = f"reads {', '.join(can.formats)}; the store has {', '.join(formats)}"
    if any(name in formats and not _serves(name, settings) for name in can.formats):
        return f"{message}, none of them in {settings.precision} for batch {settings.batch}"
    return message
