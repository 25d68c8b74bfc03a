"""The CPU quota of this process's control group, which may be below the number of cores that it may run on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_OWN_GROUPS = Path("/proc/self/cgroup")
_MOUNTS = Path("/sys/fs/cgroup")


def cpu_quota(own_groups: Path = _OWN_GROUPS, mounts: Path = _MOUNTS) -> float | None:
    """Return the quota in cores, such as 1.5: the smallest of the control group (version 1 or 2) and those above it.

    None: no quota, or none that this process can see. Without a control group namespace, the paths in `own_groups` may
    not exist below `mounts`; a container's own group is then the top of what is mounted.
    """
    try:
        lines = own_groups.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    groups = (line.split(":", 2) for line in lines)
    return min((quota for _, controllers, path in groups for quota in _quotas(controllers, path, mounts)), default=None)


def _quotas(controllers: str, path: str, mounts: Path) -> Iterator[float]:
    """Yield the quotas of a group and those above it; version 2 has no names of controllers."""
    if controllers and "cpu" not in controllers.split(","):
        return
    tops = (mounts / controllers, mounts / "cpu") if controllers else (mounts, mounts / "unified")
    parts = [part for part in path.split("/") if part]
    for top in dict.fromkeys(tops):
        for depth in range(len(parts), -1, -1):
            quota = _read(top.joinpath(*parts[:depth]), version=1 if controllers else 2)
            if quota:
                yield quota


def _read(group: Path, version: int) -> float | None:
    """Return the quota of one group: microseconds of CPU time per period of microseconds."""
    try:
        if version == 1:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            quota, period = (int((group / name).read_text(encoding="ascii")) for name in names)
        else:
            quota, period = map(int, (group / "cpu.max").read_text(encoding="ascii").split())
    except (OSError, ValueError):  # no such file, or "max": no quota
        return None
    return quota / period if quota > 0 and period > 0 else None
