"""Descriptions of machines in ``run.json``: their one-line form, and which machines are comparable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

VNNI = frozenset({"avx512_vnni", "avx_vnni"})
"""x86-64: products of 8 bits are added up in 32 bits, by one instruction."""
INSTRUCTIONS = (
    *("avx2", "avx512f", *sorted(VNNI), "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16", "amx_fp16"),
    *("asimddp", "i8mm", "bf16", "asimdhp"),
)
"""Of x86-64 and Arm, by Linux's names: those that decide how fast 8 and 16 bits are."""


def instructions(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str] | None:
    """Return those of `INSTRUCTIONS` that this CPU has; None if the system does not list them."""
    try:
        text = cpuinfo.read_text(encoding="utf-8")
    except OSError:
        return None
    lines = (line.partition(":") for line in text.splitlines())
    found = next((set(words.split()) for name, _, words in lines if name.strip() in ("flags", "Features")), None)
    return None if found is None else [name for name in INSTRUCTIONS if name in found]


def same_machine(one: dict[str, Any] | None, other: dict[str, Any] | None) -> bool:
    """Return whether times of the two machines are comparable; those of an unknown one are not."""
    return one is not None and other is not None and machine_key(one) == machine_key(other)


def machine_key(machine: dict[str, Any]) -> str:
    """Return a key that is equal for machines with comparable times."""
    return ", ".join(str(machine.get(name)) for name in ("cpu", "cores_allowed", "architecture", "kernel"))


def headline(machine: dict[str, Any]) -> str:
    """Return the machine in one line."""
    cores = machine["cores_allowed"]
    virtual = ", virtual" if machine["virtualised"] else ""
    virtual += f", in a container ({machine['container']})" if machine.get("container") else ""
    counted = f"{cores} core" if cores == 1 else f"{cores} cores"
    return f"{machine['cpu']}, {counted}{virtual}, {machine['system']} {machine['kernel']}"


def limits(machine: dict[str, Any]) -> list[str]:
    """Return a line for a CPU quota below the affinity, and one for the variables that runners do not get."""
    lines = []
    quota, affinity = machine.get("cpu_quota"), machine.get("cores_in_affinity")
    if quota is not None and quota < affinity:
        cores = machine["cores_allowed"]
        lines.append(f'CPU quota {quota:g} of {affinity} cores: threads = "all" is {cores}')
    removed = machine.get("removed_variables")
    if removed:
        named = ", ".join(f"{key}={value}" for key, value in removed.items())
        lines.append(f"removed from the environment of all runners, since they resize or steer threads: {named}")
    return lines
