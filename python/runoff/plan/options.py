"""What a suite varies besides settings: grid, filters and example of the workload `segment`, and the load."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import msgspec

from runoff.records.errors import RunoffError, did_you_mean
from runoff.records.protocol import Load, Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

EXAMPLE = "example"
_FIXED = ("size", "mean", "std")
"""Fields that the network decides."""
_PLAIN = Segment(size=1, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
_LOAD_KEYS = tuple(name for name in Load.__struct_fields__ if name != "warmup")
_KEYS = (EXAMPLE, *(name for name in Segment.__struct_fields__ if name not in _FIXED))


def combinations(table: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one table for each combination of the values in `table`, which may be lists."""
    values = [value if isinstance(value, list) else [value] for value in table.values()]
    return [dict(zip(table, row, strict=True)) for row in itertools.product(*values)]


def check_segment(table: dict[str, Any], name: str) -> None:
    """Check the keys and values of a group's `segment`; `name` is that of the suite's file.

    Raises
    ------
    RunoffError
        If a key is unknown or a value is not of its type.
    """

    def convert(options: dict[str, Any]) -> None:
        fields = {key: value for key, value in options.items() if key != EXAMPLE}
        msgspec.convert({**msgspec.to_builtins(_PLAIN), **fields}, Segment)
        msgspec.convert(options.get(EXAMPLE, ""), str)

    _check(table, f"{name}: segment", _KEYS, convert)


def check_load(table: dict[str, Any], name: str) -> None:
    """Check the keys and values of a group's `load`; `name` is that of the suite's file.

    Raises
    ------
    RunoffError
        If a key is unknown or a value is not of its type, or the queue is too short for a batch of each worker.
    """

    def convert(options: dict[str, Any]) -> None:
        load = msgspec.convert({"kind": "load", "transport": "pipe", "warmup": 0, **options}, Load)
        if load.max_queue < load.workers * load.max_batch:
            # the probe could never keep all workers busy
            raise msgspec.ValidationError("max_queue is less than workers x max_batch")

    _check(table, f"{name}: load", _LOAD_KEYS, convert)


def _check(table: dict[str, Any], where: str, keys: Collection[str], convert: Callable[[dict[str, Any]], None]) -> None:
    for key in table:
        if key not in keys:
            raise RunoffError(f"{where}: unknown key {key!r}", did_you_mean(key, keys))
    for options in combinations(table):
        try:
            convert(options)
        except msgspec.ValidationError as error:
            raise RunoffError(f"{where}: {str(error).replace('$.', '')}") from error
