"""The runner's clock compared with runoff's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runoff.measure.live_process import check_clock, check_parts

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
