"""The plan: cases, their ids, and reasons for unavailable cases."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestra import HEAD, capabilities, suite_of, target_info

from runoff.plan.baselines import baseline_of
from runoff.plan.cases import make_plan, plan_case, with_control_targets, with_controls
from runoff.plan.settings import resolve
from runoff.plan.target import Target, TargetInfo
from runoff.records.errors import RunoffError
from runoff.records.protocol import Settings
from runoff.records.reason import Reason

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.records.schema import Case

FORMATS = {"net": ("onnx", "pt")}
WORDS = st.text(alphabet='abcxyz09 ./\\:*?"<>|-_\n', min_size=1, max_size=12)


def plan_one(info: TargetInfo, **settings: object) -> Case:
    return plan_case("net", "classify", resolve(settings), ("life",), FORMATS["net"], info)


@pytest.mark.parametrize(
    ("changes", "requested", "kind", "words"),
    [
        ({"protocol": (2,)}, {}, "protocol", "protocol"),
        ({"workloads": ("tensor",)}, {}, "workload", "'classify'"),
        ({"formats": ("mlpackage",)}, {}, "format", "reads mlpackage; the store has onnx, pt"),
        ({}, {"provider": "cuda"}, "provider-unavailable", "'cuda' is unavailable (available: cpu)"),
        (
            {"unavailable_providers": {"cuda": "no NVIDIA driver here"}},
            {"provider": "cuda"},
            "provider-unavailable",
            "settings.provider: 'cuda' cannot be used: no NVIDIA driver here (docker run --gpus all ...",
        ),
        (
            {"unavailable_providers": {"cuda": "no GPU"}},
            {"provider": "mps"},
            "provider-unavailable",
            "mine: provider 'mps' is unavailable",
        ),
        ({"max_batch": 4}, {"batch": 5}, "batch", "the largest batch is 4"),
        ({}, {"precision": "fp16"}, "precision", "'fp16'"),
    ],
)
def test_reasons_for_unavailable_cases(
    changes: dict[str, Any], requested: dict[str, Any], kind: str, words: str
) -> None:
    case = plan_one(target_info(**changes), **requested)
    assert case.skipped is not None
    assert case.skipped.kind == kind
    assert words in str(case.skipped)


def test_a_case_that_can_run() -> None:
    case = plan_one(target_info(max_batch=4), batch=4)
    assert case.skipped is None
    assert case.format == "onnx"
    assert case.probes == ("accuracy", "life")


def test_an_available_provider_has_no_reason() -> None:
    assert (
        plan_one(target_info(providers=("cuda",), unavailable_providers={"cuda": "stale"}), provider="cuda").skipped
        is None
    )


def test_a_target_that_could_not_be_queried_keeps_its_reason() -> None:
    reason = Reason("not-installed", "environment not found", "run: nox -s torch")
    case = plan_one(TargetInfo(Target(name="torch", command=("python",)), None, reason))
    assert case.skipped == reason
    assert str(reason) == "environment not found (run: nox -s torch)"


def test_the_format_is_the_targets_or_the_first_that_the_store_has() -> None:
    assert plan_one(target_info(formats=("ort", "pt", "onnx"))).format == "pt"
    assert plan_one(target_info(formats=("pt", "onnx"), model_format="onnx")).format == "onnx"
    skipped = plan_one(target_info(formats=("pt",), model_format="pt2")).skipped
    assert skipped is not None
    assert skipped.kind == "format"
    assert plan_one(target_info(formats=())).format == "onnx"


SETTINGS = st.builds(
    Settings,
    threads=st.integers(1, 64),
    batch=st.integers(1, 64),
    arena=st.none() | st.booleans(),
    optimization=st.none() | st.sampled_from(["disable", "all"]),
    provider=st.sampled_from(["cpu", "cuda", "x"]),
    precision=st.sampled_from(["fp32", "fp16"]),
    profile=st.sampled_from(["default", "cold"]),
)


@given(SETTINGS, SETTINGS)
def test_cases_that_differ_have_different_ids(one: Settings, other: Settings) -> None:
    ids = [plan_case("net", "classify", made, (), ("onnx",), target_info()).id for made in (one, other)]
    assert (ids[0] == ids[1]) == (one == other)


@given(WORDS, WORDS)
def test_ids_are_legal_file_names(provider: str, precision: str) -> None:
    case = plan_one(target_info(providers=(provider,)), provider=provider, precision=precision)
    assert re.fullmatch(r"[A-Za-z0-9._-]+", case.id)


def plan_of(text: str, **targets: TargetInfo) -> tuple[Case, ...]:
    return make_plan(suite_of(text), {"net": FORMATS["net"], "b": ("pt",)}, {"mine": target_info(), **targets})


def test_a_plan_is_the_product_in_the_order_of_the_suite() -> None:
    text = HEAD.replace('["net"]', '["net", "b"]').replace('["mine"]', '["mine", "yours"]')
    cases = plan_of(
        text + 'workloads = ["classify", "tensor"]\n[settings]\nthreads = [1, 2]\n', yours=target_info("yours")
    )
    assert len(cases) == len({case.id for case in cases}) == 2 * 2 * 2 * 2
    assert [case.target for case in cases[:4]] == ["mine", "yours", "mine", "yours"]
    assert [case.model for case in cases] == ["net"] * 8 + ["b"] * 8
    assert {case.skipped.kind for case in cases if case.skipped} == {"format"}


def test_groups_with_a_common_case_combine_their_probes() -> None:
    groups = '[[group]]\nprobes = ["life"]\n[[group]]\nprobes = ["memory", "life"]\n'
    (case,) = plan_of(HEAD + groups)
    assert case.probes == ("accuracy", "life", "memory")


def test_two_profiles_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder, arena in (("a", "true"), ("b", "false")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "fast.toml").write_text(f"arena = {arena}\n")
    text = f'{HEAD}[settings]\nprofile = ["{tmp_path}/a/fast.toml", "{tmp_path}/b/fast.toml"]\n'
    with pytest.raises(RunoffError, match="fast"):
        plan_of(text)


def test_compared_cases_differ_only_in_the_target() -> None:
    mine, yours = plan_one(target_info("mine")), plan_one(target_info("yours"))
    assert mine.comparison == yours.comparison
    assert mine.comparison != plan_one(target_info("mine"), threads=2).comparison


def test_optional_capabilities_have_the_defaults_of_the_protocol() -> None:
    can = capabilities()
    assert (can.computes, can.max_batch, can.precisions) == (True, None, ("fp32",))


def planned(*names: str, baselines: tuple[str, ...] = ("torch", "ort-python"), **changes: Any) -> tuple[Case, ...]:
    targets = {name: target_info(name, **changes) for name in names}
    cases = [plan_one(info) for info in targets.values()]
    return with_controls(cases, targets, baselines)


def test_the_last_baseline_is_followed_by_its_control() -> None:
    cases = planned("torch", "ort-python", "ort-rust")
    assert [case.target for case in cases] == ["torch", "ort-python", "ort-python-again", "ort-rust"]
    original, control = cases[1], cases[2]
    assert control.control_of == "ort-python"
    assert control.comparison == original.comparison
    assert (control.settings, control.probes, control.format) == (original.settings, original.probes, original.format)
    assert len({case.id for case in cases}) == 4


def test_without_a_baseline_the_first_target_has_the_control() -> None:
    assert [case.target for case in planned("mine", "ort-rust")] == ["mine", "mine-again", "ort-rust"]
    assert [case.target for case in planned("mine", "yours", baselines=("yours",))] == ["mine", "yours", "yours-again"]


def test_a_single_case_or_a_null_runner_has_no_control() -> None:
    assert [case.control_of for case in planned("torch")] == [None]
    assert [case.control_of for case in planned("torch", "mine", computes=False)] == [None, None]


def test_a_control_has_the_capabilities_of_its_original() -> None:
    cases = planned("torch", "mine")
    targets = with_control_targets(cases, {"torch": target_info("torch"), "mine": target_info("mine")})
    assert targets["torch-again"].target.name == "torch"


def test_no_cases_have_no_baseline() -> None:
    assert baseline_of([], ("torch",)) is None
