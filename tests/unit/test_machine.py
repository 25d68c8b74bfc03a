"""The machine's description: known values are correct, unknown values are None."""

from __future__ import annotations

import json
import os
import platform
from typing import TYPE_CHECKING, Any

import pytest

from runoff.measure.machine import describe_machine
from runoff.records.machine import headline, limits, same_machine

if TYPE_CHECKING:
    from pathlib import Path


def test_known_values_are_correct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("SECRET_TOKEN", "hush")
    monkeypatch.setenv("container", "podman")
    machine = describe_machine()
    assert machine["container"] == "podman"
    assert machine["cores_in_affinity"] == len(os.sched_getaffinity(0))
    assert 1 <= machine["cores_allowed"] <= machine["cores_in_affinity"] <= machine["cores"]
    assert machine["kernel"] == platform.release()
    assert machine["memory_bytes"] > 2**28
    assert machine["environment"]["OMP_NUM_THREADS"] == "3"
    assert machine["removed_variables"] == {"OMP_NUM_THREADS": "3"}
    assert "hush" not in json.dumps(machine)


def test_unreported_values_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(*_: object, **__: object) -> str:
        raise FileNotFoundError(tmp_path)

    monkeypatch.setattr("pathlib.Path.read_text", unreadable)
    monkeypatch.delenv("container", raising=False)
    machine = describe_machine()
    unknown = {key for key, value in machine.items() if value is None}
    limits = {"cpu_quota", "cgroup_cpu_max", "cgroup_memory_max"}
    assert unknown == {"instructions", "governor", "turbo", "virtualised", "container", *limits}
    assert machine["cpu"]


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"load_1min": 99}, True),
        ({"cpu": "other"}, False),
        ({"cores_allowed": 0}, False),
        ({"kernel": "1"}, False),
    ],
)
def test_comparable_machines(changes: dict[str, Any], same: bool) -> None:  # noqa: FBT001 (a parameter)
    machine = describe_machine()
    assert same_machine(machine, {**machine, **changes}) is same


def test_the_headline() -> None:
    machine = {"cpu": "Abacus 3", "cores_allowed": 1, "virtualised": None, "system": "Linux", "kernel": "6"}
    assert headline(machine) == "Abacus 3, 1 core, Linux 6"
    assert headline({**machine, "cores_allowed": 2, "virtualised": True}) == "Abacus 3, 2 cores, virtual, Linux 6"
    assert headline({**machine, "container": "docker"}) == "Abacus 3, 1 core, in a container (docker), Linux 6"


def test_a_quota_and_removed_variables_are_reported() -> None:
    machine = {"cores_allowed": 2, "cores_in_affinity": 8, "cpu_quota": 1.5, "removed_variables": {"OMP_DYNAMIC": "1"}}
    quota, removed = limits(machine)
    assert quota == 'CPU quota 1.5 of 8 cores: threads = "all" is 2'
    assert removed.endswith("threads: OMP_DYNAMIC=1")
    assert limits({**machine, "cpu_quota": 8.0, "removed_variables": {}}) == limits({}) == []
