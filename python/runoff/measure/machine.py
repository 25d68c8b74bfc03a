"""The machine is part of the result: its hardware, system and state. Only reads; starts nothing."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from runoff.plan.cpu_quota import cpu_quota
from runoff.plan.settings import cores_allowed, cores_in_affinity
from runoff.plan.target import removed_variables
from runoff.records.machine import instructions

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLES = (
    *("OMP_", "MKL_", "OPENBLAS_", "KMP_", "GOMP_", "ORT_", "CUDA_", "NVIDIA_"),
    *("LD_PRELOAD", "LD_LIBRARY_PATH", "MALLOC_", "MIMALLOC_", "GLIBC_TUNABLES"),
)
"""Prefixes of environment variables that change what is measured."""


def describe_machine() -> dict[str, Any]:
    """Return the facts that a reader needs to judge the numbers; ``None`` if the system does not report one."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "cores_allowed": cores_allowed(),
        "cores_in_affinity": cores_in_affinity(),
        "cpu_quota": cpu_quota(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": platform.system(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "instructions": instructions(),
        "python": platform.python_version(),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "turbo": _turbo(),
        "virtualised": _virtualised(),
        # the convention of systemd and podman, which runoff's images follow
        "container": os.environ.get("container"),  # noqa: SIM112
        "cgroup_cpu_max": _cgroup("cpu.max", "cpu/cpu.cfs_quota_us"),
        "cgroup_memory_max": _cgroup("memory.max", "memory/memory.limit_in_bytes"),
        "load_1min": round(os.getloadavg()[0], 2),
        "environment": variables_that_matter(os.environ),
        "removed_variables": removed_variables(os.environ),
    }


def variables_that_matter(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of `environment` that change what is measured."""
    return {key: value for key, value in sorted(environment.items()) if key.startswith(VARIABLES)}


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _cpu_model() -> str:
    info = _read("/proc/cpuinfo") or ""
    names = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _turbo() -> bool | None:
    boost = _read("/sys/devices/system/cpu/cpufreq/boost")
    no_turbo = _read("/sys/devices/system/cpu/intel_pstate/no_turbo")
    if boost is not None:
        return boost == "1"
    return no_turbo == "0" if no_turbo is not None else None


def _virtualised() -> bool | None:
    info = _read("/proc/cpuinfo")
    return None if info is None else " hypervisor" in info


def memory_limit() -> float:
    """Return the limit of this process's memory in bytes; infinity if there is none."""
    text = _cgroup("memory.max", "memory/memory.limit_in_bytes") or ""
    return float(text) if text.isdecimal() else math.inf


def _cgroup(second: str, first: str) -> str | None:
    """Return a limit of the control group, version 2 or 1; in the system's notation, e.g. ``max``."""
    return _read(f"/sys/fs/cgroup/{second}") or _read(f"/sys/fs/cgroup/{first}")
