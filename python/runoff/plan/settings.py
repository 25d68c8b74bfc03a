"""From a suite's table to the settings of sessions: profiles give defaults, lists are swept."""

from __future__ import annotations

import math
import os
import tomllib
from typing import Any, Literal

import msgspec

from runoff import paths
from runoff.plan.cpu_quota import cpu_quota
from runoff.plan.options import combinations
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
    profile = str(wanted.get("profile", "default"))
    given, known = read_profile(profile), Settings.__struct_fields__
    for where, key in (*(("", key) for key in wanted), *((f"settings profile {profile}: ", key) for key in given)):
        if key not in known:
            raise RunoffError(f"{where}unknown setting {key!r}", did_you_mean(key, known))
    merged = {**given, **wanted}
    if merged.get("threads") == "all":
        merged["threads"] = cores_allowed()
    try:
        return msgspec.convert(merged, Settings)
    except msgspec.ValidationError as error:
        message = str(error).replace("$.", "")
        where = "settings" if any(f"`{key}`" in message for key in wanted) else f"settings profile {profile}"
        raise RunoffError(
            f"{where}: {message}", 'threads may also be "all"' if "`threads`" in message else ""
        ) from error


Sweep = Literal["grid", "one-at-a-time"]
"""How lists of values are combined."""


def sweep(table: dict[str, Any], how: Sweep = "grid") -> list[Settings]:
    """Return one `Settings` for each combination of a ``[settings]`` table, in which values may be lists.

    ``grid`` combines all values with all others. ``one-at-a-time`` varies one key and keeps the others at
    their first value.
    """
    values = {key: value if isinstance(value, list) else [value] for key, value in table.items()}
    if how == "grid" or not all(values.values()):
        rows = combinations(table)
    else:
        first = {key: own[0] for key, own in values.items()}
        rows = [first, *({**first, key: value} for key, own in values.items() for value in own[1:])]
    return list(dict.fromkeys(resolve(row) for row in rows))


def parse_assignments(texts: tuple[str, ...]) -> dict[str, Any]:
    """Return the settings of ``--set key=value``; values are TOML, a bare word is a string."""
    settings = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise RunoffError(f"--set {text}: no value", "write it as --set threads=2")
        settings[key.strip()] = _toml_value(value.strip())
    return settings


def parse_lists(texts: tuple[str, ...]) -> dict[str, list[Any]]:
    """Return the lists of values of ``--set key=value,value``, each as `parse_assignments` reads it."""
    return {
        key: [_toml_value(word.strip()) for word in text.partition("=")[2].split(",")]
        for text in texts
        for key in parse_assignments((text,))
    }


def _toml_value(text: str) -> Any:  # noqa: ANN401 (whatever TOML holds)
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
