"""The runner's clock compared with runoff's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runoff.measure.live_process import check_clock, check_first, check_outputs, check_parts

if TYPE_CHECKING:
    from runoff.records.protocol import Workload

MS = 1_000_000


def turns(untold_ms: float, seed: int, count: int = 60) -> tuple[list[int], list[int], list[int]]:
    """Return round trips, the unaccounted part of each, and empty turns, on a machine with wake-up delays."""
    rng = np.random.default_rng(seed)
    late = rng.exponential(0.4 * MS, count) + 0.05 * MS
    inference = rng.lognormal(0, 0.1, count) * 8 * MS
    untold = late + untold_ms * MS
    empty = rng.exponential(0.4 * MS, 12) + 0.05 * MS
    return (inference + untold).astype(int).tolist(), untold.astype(int).tolist(), empty.astype(int).tolist()


@given(st.integers(0, 10_000))
def test_an_unmodified_runner_is_accepted(seed: int) -> None:
    assert check_clock(*turns(0.1, seed), batch=1) is None


@given(st.integers(0, 10_000))
def test_a_runner_that_omits_a_fifth_is_rejected(seed: int) -> None:
    doubt = check_clock(*turns(2.0, seed), batch=1)
    assert doubt is not None
    assert doubt.kind == "clock"
    assert "longer than the runner reports" in doubt.message


def test_batch_assembly_is_accepted_and_half_of_the_time_is_rejected() -> None:
    assert check_clock(*turns(1.5, 1), batch=8) is None
    assert check_clock(*turns(8.0, 1), batch=8) is not None


def test_few_turns_that_woke_late_are_no_reason_and_half_of_the_time_is() -> None:
    empty = [MS // 10, MS // 5, MS // 2, MS, MS]
    assert check_clock([3 * MS, 3 * MS], [MS, 6 * MS // 5], empty, 1) is None
    assert check_clock([3 * MS, 3 * MS], [3 * MS // 2, 3 * MS // 2], [MS // 10] * 5, 1) is not None
    # of ten, some are on time
    assert check_clock([3 * MS] * 10, [MS] * 10, empty * 2, 1) is not None
    # 64 short inferences: the loop between them takes time too
    assert check_clock([3 * MS] * 10, [MS // 2] * 10, [0] * 10, 1, 64) is None
    assert check_clock([3 * MS] * 10, [MS] * 10, [0] * 10, 1, 64) is not None


@pytest.mark.parametrize("batch", [1, 8])
def test_no_turns_give_no_verdict(batch: int) -> None:
    assert check_clock([], [], [], batch) is None


@pytest.mark.parametrize(
    ("parts", "fine"),
    [
        ({}, True),
        ({"copy_in": [1, 2], "compute": [8, 7], "copy_out": [1, 1]}, True),
        ({"compute": [11, 9]}, False),
        ({"copy_in": [1, 2], "compute": [8, 7], "copy_out": [1, 2]}, False),
    ],
)
def test_parts_of_an_inference_lie_within_it(parts: dict[str, list[int]], *, fine: bool) -> None:
    doubt = check_parts({"inference": [10, 10], "preprocess": [50, 50], **parts}, "classify")
    assert (doubt is None) == fine


@pytest.mark.parametrize(("workload", "part"), [("tensor", "preprocess"), ("tensor", "rest"), ("classify", "rest")])
def test_time_of_a_part_that_the_workload_does_not_have_is_refused(workload: Workload, part: str) -> None:
    doubt = check_parts({"inference": [10], part: [50]}, workload)
    assert doubt is not None
    assert (doubt.kind, doubt.message) == ("garbage", f"the workload {workload} has no part {part!r}")


def exchanges(later_ms: float, writing_ms: float, seed: int, count: int = 20) -> tuple[list[int], list[int]]:
    """Return the requests of outputs, and empty turns, of a runner that computes for `later_ms` when it is asked."""
    rng = np.random.default_rng(seed)
    late = rng.exponential(0.4 * MS, (2, count)) + 0.05 * MS
    return (late[0] + (later_ms + 1.5 * writing_ms) * MS).astype(int).tolist(), late[1].astype(int).tolist()


@pytest.mark.parametrize(("writing_ms", "inference_ms"), [(0.1, 0.02), (0.1, 8.0), (30.0, 8.0)])
@given(seed=st.integers(0, 10_000))
def test_outputs_that_are_only_written_are_accepted_whatever_their_size(
    writing_ms: float, inference_ms: float, seed: int
) -> None:
    assert check_outputs(*exchanges(0.0, writing_ms, seed), writing_ms * MS, inference_ms * MS) is None


@pytest.mark.parametrize(("writing_ms", "inference_ms"), [(0.1, 0.002), (0.1, 4.0), (1.0, 0.002)])
@given(seed=st.integers(0, 10_000))
def test_outputs_that_are_computed_when_they_are_requested_are_rejected(
    writing_ms: float, inference_ms: float, seed: int
) -> None:
    doubt = check_outputs(*exchanges(8.0, writing_ms, seed), writing_ms * MS, inference_ms * MS)
    assert doubt is not None
    assert doubt.kind == "clock"
    assert "when they were requested" in doubt.message


def test_slow_exchanges_on_a_busy_machine_are_no_reason() -> None:
    assert check_outputs([7 * MS] * 15, [4 * MS] * 5, 0.0, 1000) is None
    assert check_outputs([*[9 * MS] * 14, MS], [MS // 5] * 5, 0.1 * MS, 1000) is None


@pytest.mark.parametrize(
    ("single", "first", "fine"),
    [
        ([100, 105, 110], [90, 250, 100, 95], True),
        ([100, 105, 110], [4, 5, 6, 5], False),
        ([900, 905, 910], [880, 870, 40, 40, 40, 40], True),
        ([], [5], True),
        ([100], [], True),
    ],
    ids=["the same", "left out", "compiled in stages", "no warm-up", "no turns"],
)
def test_the_first_of_several_inferences_takes_as_long_as_one_alone(
    single: list[int], first: list[int], *, fine: bool
) -> None:
    assert (check_first(single, first) is None) == fine
