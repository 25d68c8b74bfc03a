"""Core ML in the plan: selected packages, messages if none can run, and no effect on other cases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from orchestra import capabilities, manifest_of, target_info

from runoff.measure.execute import make_block
from runoff.plan.cases import make_plan, plan_case, with_control_targets, with_controls, with_verifications
from runoff.plan.settings import resolve
from runoff.plan.suite import find_suite, read_suite
from runoff.plan.target import Target, TargetInfo
from runoff.probes import configured_probes
from runoff.records.manifest import Check, Manifest, Package
from runoff.records.reason import Reason

if TYPE_CHECKING:
    from runoff.plan.suite import Suite
    from runoff.records.schema import Case

PACKAGED = ("pt", "onnx", "mlpackage", "mlpackage-fp16", "mlpackage-flexible", "mlpackage-fp16-flexible")
MAC = {"providers": ("cpu", "coreml"), "precisions": ("fp32", "fp16"), "formats": (*PACKAGED[2:], "mlmodelc")}
NEEDS_MACOS = Reason("needs-macos", "execution not run: needs macOS", "run: nox -s bench, on a Mac")


def apple(**changes: Any) -> TargetInfo:
    """Return the target that reads packages; without `changes` it is unavailable."""
    target = Target(name="coreml", command=("python",), packages=True)
    return TargetInfo(target, capabilities(**{**MAC, **changes})) if changes else TargetInfo(target, None, NEEDS_MACOS)


@pytest.mark.parametrize(
    ("requested", "form"),
    [
        ({}, "mlpackage"),
        ({"precision": "fp16"}, "mlpackage-fp16"),
        ({"batch": 8}, "mlpackage-flexible"),
        ({"batch": 8, "precision": "fp16"}, "mlpackage-fp16-flexible"),
    ],
)
@pytest.mark.parametrize("info", [apple(), apple(runner="coreml")], ids=["Linux", "Mac"])
def test_the_package_is_the_one_that_serves_the_settings(
    info: TargetInfo, requested: dict[str, Any], form: str
) -> None:
    case = plan_case("net", "tensor", resolve(requested), ("life",), PACKAGED, info)
    assert case.format == form
    assert (case.skipped is None) == (info.capabilities is not None)


def test_a_missing_package_is_reported_by_precision_and_batch() -> None:
    case = plan_case("net", "tensor", resolve({"batch": 8}), (), PACKAGED[:4], apple(runner="coreml"))
    assert case.skipped is not None
    assert case.skipped.kind == "format"
    assert case.skipped.message.endswith("none of them in fp32 for batch 8")


def manifest(**packages: float) -> Manifest:
    """Return a model with packages, and the difference of each from PyTorch."""
    own = {"path": "p", "sha256": "", "spec_version": 7, "precision": "fp32", "inputs": (), "outputs": (), "parts": ()}
    return manifest_of(
        packages={form: msgspec.convert(own, Package) for form in packages},
        checks=tuple(Check(form, 1, apart, apart) for form, apart in packages.items()),
        made_with={"system": "Linux"},
    )


def test_a_case_that_needs_a_mac_reports_the_check_of_its_package() -> None:
    both = [resolve({"precision": precision}) for precision in ("fp32", "fp16")]
    cases = [plan_case("net", "tensor", settings, (), PACKAGED[:3], apple()) for settings in both]
    cases.append(plan_case("net", "tensor", both[0], (), PACKAGED, target_info("mine", providers=())))
    checked = with_verifications(
        cases, {"coreml": apple(), "mine": target_info("mine")}, {"net": manifest(mlpackage=1.23e-6)}
    )
    words = [case.skipped.message for case in checked if case.skipped]
    needs = "execution not run: needs macOS"
    assert words == [
        f"package verified on Linux by the evaluator (largest difference 1.2e-06 of the largest logit); {needs}",
        f"the store has no package for it; {needs}",
        "mine: provider 'cpu' is unavailable (available: none)",
    ]
    kinds = [case.skipped.kind for case in checked if case.skipped]
    assert kinds == ["needs-macos", "needs-macos", "provider-unavailable"]
    assert [case.id for case in checked] == [case.id for case in cases]


@pytest.mark.parametrize("name", ["quick", "seeds"])
def test_core_ml_in_a_suite_changes_nothing_for_the_others(name: str) -> None:
    """If it is unavailable: the same cases, controls and order of processes as without it."""
    suite, _ = read_suite(find_suite(name))
    targets = {target for group in suite.groups for target in group.targets or ()}
    target_infos = {target: target_info(target, measures=("once", "accuracy", "turns")) for target in targets}
    target_infos["coreml"] = apple()
    formats = {model: PACKAGED for group in suite.groups for model in group.models or ()}

    def measured(kept: Suite) -> tuple[tuple[Case, ...], list[tuple[str, ...]]]:
        cases = with_controls(make_plan(kept, formats, target_infos), target_infos, kept.suite.baselines)
        here, every = tuple(case for case in cases if case.skipped is None), with_control_targets(cases, target_infos)
        jobs = [job for probe in configured_probes(kept.measure) for job in make_block(kept, cases, every, probe, 0)]
        return here, [tuple(case.id for case in job.cases) for job in jobs]

    groups = tuple(_without_core_ml(group) for group in suite.group if "provider" not in group.settings)
    head = _without_core_ml(suite.suite)
    with_it, without = measured(suite), measured(msgspec.structs.replace(suite, suite=head, group=groups))
    assert with_it == without
    assert any(case.target == "coreml" for case in make_plan(suite, formats, target_infos))
    assert any(case.control_of for case in without[0])


def _without_core_ml(choice: Any) -> Any:
    return msgspec.structs.replace(
        choice, targets=choice.targets and tuple(name for name in choice.targets if name != "coreml")
    )


def test_on_a_mac_seeds_has_core_ml_on_all_units_in_both_precisions() -> None:
    suite, _ = read_suite(find_suite("seeds"))
    names = ("cpu", "coreml", "coreml-cpu", "coreml-gpu", "coreml-ne")
    targets = {target for group in suite.groups for target in group.targets or ()}
    target_infos = {target: target_info(target, providers=(*names, "mps")) for target in targets}
    target_infos["coreml"] = apple(providers=names)
    formats = {model: PACKAGED for group in suite.groups for model in group.models or ()}
    cases = make_plan(suite, formats, target_infos)
    assert {case.settings.provider for case in cases if case.skipped} == {"cuda"}
    own = {(case.settings.provider, case.settings.precision) for case in cases if case.target == "coreml"}
    assert {(name, precision) for name in names if name != "coreml-cpu" for precision in ("fp32", "fp16")} <= own
    assert {case.format for case in cases if case.target == "coreml"} == set(PACKAGED[2:])
    for target in ("ort-python", "ort-rust"):
        assert set(names) <= {case.settings.provider for case in cases if case.target == target}
    assert "mps" in {case.settings.provider for case in cases if case.target == "torch"}
