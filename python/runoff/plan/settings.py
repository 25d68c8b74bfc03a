"""From a suite's table to the settings of sessions: profiles give defaults, lists are swept."""

from __future__ import annotations

import itertools
import math
import os
import tomllib
from typing import Any

import msgspec

from runoff import paths
from runoff.plan.cpu_quota import cpu_quota
from runoff.records.errors import RunoffError, did_you_mean
from runoff.records.protocol import Settings


def cores_allowed() -> int:
    """Return the number of cores that this process may use: its affinity, or its CPU quota rounded up if smaller."""
    quota = cpu_quota()
    return cores_in_affinity() if quota is None else min(cores_in_affinity(), math.ceil(quota))


def cores_in_affinity() -> int:
    """Return the number of cores that this process may run on, whatever share of their time it may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_profile(name: str) -> dict[str, Any]:
    """Return the settings of a profile, by name or path.

    Raises
    ------
    RunoffError
        If the profile does not exist or is not TOML.
    """
    path = paths.profile(name)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = [file.stem for file in paths.profile("default").parent.glob("*.toml")]
        raise RunoffError(f"unknown settings profile {name!r}", did_you_mean(name, known)) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RunoffError(f"cannot read settings profile {path}: {error}") from error


def resolve(wanted: dict[str, Any]) -> Settings:
    """Return the settings in `wanted` (one value per key), completed from its profile.

    Raises
    ------
    RunoffError
        If a key or a value is unknown.
    """
    for key in wanted:
        if key not in Settings.__struct_fields__:
            raise RunoffError(f"unknown setting {key!r}", did_you_mean(key, Settings.__struct_fields__))
    merged = {**read_profile(str(wanted.get("profile", "default"))), **wanted}
    if merged.get("threads") == "all":
        merged["threads"] = cores_allowed()
    try:
        return msgspec.convert(merged, Settings)
    except msgspec.ValidationError as error:
        raise RunoffError(f"settings: {str(error).replace('$.', '')}", 'threads may also be "all"') from error


def sweep(table: dict[str, Any]) -> list[Settings]:
    """Return one `Settings` for each combination of a ``[settings]`` table, in which values may be lists."""
    values = [value if isinstance(value, list) else [value] for value in table.values()]
    combinations = [resolve(dict(zip(table, row, strict=True))) for row in itertools.product(*values)]
    return list(dict.fromkeys(combinations))


def parse_assignments(texts: tuple[str, ...]) -> dict[str, Any]:
    """Return the settings of ``--set key=value``; values are TOML, a bare word is a string."""
    settings = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise RunoffError(f"--set {text}: no value", "write it as --set threads=2")
        settings[key.strip()] = _toml_value(value.strip())
    return settings


def _toml_value(text: str) -> Any:  # noqa: ANN401 (whatever TOML holds)
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
