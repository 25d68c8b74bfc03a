"""Lists of providers with options: order, and every list that cannot be meant."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
import runoff_ort
import runoff_ort.onnxruntime as drop_in
from both import save
from comparing import differences
from generated import any_bits, one_node

if TYPE_CHECKING:
    from pathlib import Path

FLOAT = np.dtype(np.float32)
FEEDS = {"x": any_bits(1, FLOAT, (2, 3)), "z": any_bits(2, FLOAT, (2, 3))}
CPU = "CPUExecutionProvider"


@pytest.fixture
def adding(tmp_path: Path) -> Path:
    return save(one_node("Add", FLOAT, 2), tmp_path / "add.onnx")


def test_the_cpu_alone(adding: Path) -> None:
    expected = runoff_ort.Session(adding).run(FEEDS)
    lists: tuple[Any, ...] = (["cpu"], ("cpu",), [("cpu", {})])
    for providers in lists:
        session = runoff_ort.Session(adding, providers=providers)
        copy = pickle.loads(pickle.dumps(session))  # noqa: S301 (made here)
        for one in (session, copy):
            assert differences(one.run(FEEDS), expected) == []


@pytest.mark.parametrize(
    ("providers", "word"),
    [
        ([], "the list is empty"),
        (["cpu", "cpu"], "'cpu' is named twice"),
        (["cpu", "cuda"], "'cuda' follows 'cpu'"),
        ([("cpu", {"arena": True})], "'cpu' has no options"),
        ([("cuda", {"device_id": "first"})], 'device_id is "first"'),
        ([("cuda", {"device_id": -1}), "cpu"], 'device_id is "-1"'),
        ([("cuda", {"a\0": 1})], "NUL"),
    ],
    ids=str,
)
def test_lists_that_cannot_be_meant(providers: Any, word: str, adding: Path) -> None:
    with pytest.raises(runoff_ort.InvalidValueError) as raised:
        runoff_ort.Session(adding, providers=providers)
    assert word in raised.value.message
    assert raised.value.kind == "bad-request"


@pytest.mark.parametrize("providers", [7, "cpu", [7], [("cpu",)], [("cpu", 7)], [(7, {})], [("cpu", {7: 1})]], ids=str)
def test_what_is_not_a_list_of_providers(providers: Any, adding: Path) -> None:
    with pytest.raises(TypeError, match="providers"):
        runoff_ort.Session(adding, providers=providers)


def test_a_provider_that_is_unavailable_is_an_error_wherever_it_stands(adding: Path) -> None:
    unknown: tuple[Any, ...] = (["none", "cpu"], [("none", {"a": 1})])
    for providers in unknown:
        with pytest.raises(runoff_ort.RunoffOrtError, match='"none" is not in this build') as raised:
            runoff_ort.Session(adding, providers=providers)
        assert raised.value.kind == "provider-unavailable"
    reasons = runoff_ort.unavailable_providers()
    for name, reason in reasons.items():
        lists: tuple[Any, ...] = ([(name, {"device_id": 1}), "cpu"], [name])
        for providers in lists:
            with pytest.raises(runoff_ort.RunoffOrtError) as raised:
                runoff_ort.Session(adding, providers=providers)
            assert raised.value.message == f"settings.provider: {name!r} cannot be used: {reason}"


def test_one_or_several(adding: Path) -> None:
    with pytest.raises(runoff_ort.InvalidValueError, match="provider and providers cannot be combined"):
        runoff_ort.Session(adding, provider="cuda", providers=["cpu"])


def test_options_reach_a_gpu(adding: Path) -> None:
    if "cuda" not in runoff_ort.providers():
        pytest.skip("no GPU")
    expected = runoff_ort.Session(adding).run(FEEDS)
    options = {"device_id": 0, "gpu_mem_limit": 2**30, "arena_extend_strategy": "kSameAsRequested"}
    session = runoff_ort.Session(adding, providers=[("cuda", options), "cpu"])
    assert differences(session.run(FEEDS), expected) == []
    with pytest.raises(runoff_ort.RunoffOrtError, match="no_such_option"):
        runoff_ort.Session(adding, providers=[("cuda", {"no_such_option": 1})])


def test_the_drop_in_keeps_the_order(adding: Path) -> None:
    with pytest.warns(UserWarning, match=f"Duplicate provider '{CPU}'"):
        session = drop_in.InferenceSession(adding, providers=[(CPU, {"use_arena": 0}), CPU])
    assert session.get_providers() == [CPU]
    assert session.get_provider_options() == {CPU: {}}


@pytest.mark.parametrize(
    ("providers", "options"),
    [
        ([7], None),
        ([CPU], []),
        ([CPU], 3),
        ([CPU], [7]),
        ([(CPU, 7)], None),
        ([(CPU, {1: 2})], [{3: 4}]),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore")
def test_both_refuse_the_same_lists(providers: Any, options: Any, adding: Path) -> None:
    for ort in (onnxruntime, drop_in):
        with pytest.raises(ValueError, match="provider"):
            ort.InferenceSession(adding, providers=providers, provider_options=options, enable_fallback=0)
