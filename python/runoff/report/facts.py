"""The machine and the versions of everything, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runoff.records.schema import RunInfo

_BYTES = ("memory_bytes", "cgroup_memory_max")
"""Facts of the machine in bytes."""
_UNLIMITED = 2**62
"""cgroup v1 encodes "no limit" as the largest signed 64-bit integer, rounded to pages."""
_NO_ENGINE = "none"
"""The runtime of the null runners."""


def facts(info: RunInfo) -> list[tuple[str, str]]:
    """Return the machine, the versions of everything and the source of each model, by name and as text."""
    run = {"seed": info.seed, "started": info.started, "finished": info.finished}
    known: dict[str, object] = {**info.machine, **run}
    known |= {f"{name} version": version or "missing" for name, version in info.tools.items()}
    for name, capabilities in info.capabilities.items():
        engine = f"{capabilities.runtime} {capabilities.version} {capabilities.build or ''}".strip()
        known[f"{name} runtime"] = "no engine" if capabilities.runtime == _NO_ENGINE else engine
    for name, model in info.models.items():
        known[f"model {name}"] = f"{model.get('source', 'source unknown')}, weights {model.get('weights', 'unknown')}"
    return [(name.removesuffix("_bytes").replace("_", " "), _fact(name, value)) for name, value in known.items()]


def _fact(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.startswith("cgroup_") and _unlimited(str(value)):
        return "no limit"
    if name in _BYTES and str(value).isdecimal():
        return f"{int(str(value)) / 1e9:.1f} GB"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key}={word}" for key, word in value.items()) or "none"
    return "unknown" if value is None else str(value)


def _unlimited(value: str) -> bool:
    """Return whether a cgroup's limit means "no limit"."""
    return value in ("max", "-1") or (value.isdecimal() and int(value) >= _UNLIMITED)
