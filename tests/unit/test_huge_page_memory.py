"""Memory in huge pages: requested by glibc's tunable, and read back from the system."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from runoff.measure.huge_pages import huge_bytes, with_huge_pages
from runoff.plan.target import Target

if TYPE_CHECKING:
    import pytest

TARGET = Target(name="mine", command=("/bin/true",), env={"A": "1"})


def test_the_tunable_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    assert with_huge_pages(TARGET).env == {
        "A": "1",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        "MIMALLOC_ALLOW_THP": "1",
    }


def test_tunables_of_the_caller_or_of_the_target_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=1")
    both = "glibc.malloc.check=1:glibc.malloc.hugetlb=1"
    assert with_huge_pages(TARGET).environment()["GLIBC_TUNABLES"] == both
    own = msgspec.structs.replace(TARGET, env={"GLIBC_TUNABLES": "glibc.malloc.arena_max=1"})
    assert with_huge_pages(own).env["GLIBC_TUNABLES"] == "glibc.malloc.arena_max=1:glibc.malloc.hugetlb=1"


def test_an_unreported_value_means_no_huge_pages() -> None:
    assert huge_bytes(os.getpid()) >= 0
    assert huge_bytes(2**30) == 0
