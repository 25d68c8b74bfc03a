"""CPU quotas: control groups of both versions, and the number of threads that follows from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runoff.plan import settings
from runoff.plan.cpu_quota import cpu_quota

if TYPE_CHECKING:
    from pathlib import Path


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def quota(root: Path, groups: str, files: dict[str, str]) -> float | None:
    write(root, {"own": groups, **{f"mounts/{name}": text for name, text in files.items()}})
    return cpu_quota(root / "own", root / "mounts")


def first(group: str, quota_us: int) -> dict[str, str]:
    return {f"{group}/cpu.cfs_quota_us": f"{quota_us}\n", f"{group}/cpu.cfs_period_us": "100000\n"}


def test_version_2(tmp_path: Path) -> None:
    assert quota(tmp_path, "0::/a/b\n", {"a/b/cpu.max": "150000 100000\n", "a/cpu.max": "max 100000\n"}) == 1.5


def test_version_1_with_joined_controllers(tmp_path: Path) -> None:
    groups = "3:cpuset:/x\n2:cpu,cpuacct:/docker/1\n0::/\n"
    assert quota(tmp_path, groups, first("cpu,cpuacct/docker/1", 200_000)) == 2
    assert quota(tmp_path, groups, first("cpu/docker", 50_000)) == 0.5


def test_the_smallest_of_all_groups_above_counts(tmp_path: Path) -> None:
    files = {"a/cpu.max": "100000 100000\n", "a/b/cpu.max": "400000 100000\n"}
    assert quota(tmp_path, "0::/a/b\n", files) == 1


def test_a_container_sees_its_own_group_at_the_top(tmp_path: Path) -> None:
    assert quota(tmp_path, "0::/system.slice/docker-1.scope\n", {"cpu.max": "300000 100000\n"}) == 3


def test_no_quota(tmp_path: Path) -> None:
    assert quota(tmp_path, "0::/\n", {"cpu.max": "max 100000\n"}) is None
    assert quota(tmp_path, "1:cpu:/\n", first("cpu", -1)) is None
    assert cpu_quota(tmp_path / "missing", tmp_path) is None


@pytest.mark.parametrize(("cores", "allowed"), [(None, 4), (0.5, 1), (1.5, 2), (3.0, 3), (64.0, 4)])
def test_threads_follow_the_smaller_of_affinity_and_quota(
    cores: float | None, allowed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "cpu_quota", lambda: cores)
    monkeypatch.setattr(settings, "cores_in_affinity", lambda: 4)
    assert settings.cores_allowed() == settings.resolve({"threads": "all"}).threads == allowed
