"""The limits of a gate: ``latency.median > +5%``, one by one or in a TOML file."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from runoff.analysis.verdict import BETTER_WORSE
from runoff.compare.metrics import parse_metric
from runoff.records.errors import RunoffError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runoff.analysis.measurements import Member
    from runoff.analysis.metric_samples import Metric

GRAMMAR = (
    "a limit is PROBE.NAME, > or <, and a change from the baseline with its sign (+5%, -10%) "
    "or a value with its unit (20ms, 1.5s, 120MB, 50mJ, 1e-3): 'latency.median > +5%'; "
    "the ratio of two targets is limited by a number: 'process.wall of TARGET / TARGET < 2'"
)
_LIMIT = re.compile(
    r"\s*(?P<metric>[\w.-]+)(?:\s+of\s+(?P<over>[\w.-]+)\s*/\s*(?P<under>[\w.-]+))?\s*(?P<operator>[<>])\s*(?P<sign>[+-]?)(?P<value>\d+\.?\d*(?:[eE][+-]?\d+)?)\s*(?P<unit>%|[A-Za-zµ]*)\s*"
)
UNITS = {
    "ns": ("ns", 1.0),
    "us": ("ns", 1e3),
    "µs": ("ns", 1e3),
    "ms": ("ns", 1e6),
    "s": ("ns", 1e9),
    "B": ("bytes", 1.0),
    "KB": ("bytes", 1e3),
    "MB": ("bytes", 1e6),
    "GB": ("bytes", 1e9),
    "KiB": ("bytes", 2.0**10),
    "MiB": ("bytes", 2.0**20),
    "GiB": ("bytes", 2.0**30),
    "mJ": ("J", 1e-3),
    "J": ("J", 1.0),
    "": ("", 1.0),
}
"""Units of limits: the unit of ``summary.csv``, and the factor to it."""

_NEEDED = {"ns": "a time, such as 20ms", "bytes": "a size, such as 120MB", "J": "an energy, such as 50mJ"}
"""Limits that fit each unit of a metric."""


class Limit(Struct, frozen=True, kw_only=True):
    """One limit and the cases that it covers; empty `targets`, `cases` or `models` match all."""

    text: str
    metric: Metric
    above: bool
    """Whether it is exceeded above `value`, not below."""
    value: float
    """A change (0.05 is 5% more), a value in `unit`, or a ratio."""
    relative: bool
    unit: str = ""
    over: str = ""
    under: str = ""
    """The ratio of these two targets is limited; empty for a limit on one target."""
    targets: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    """Names of cases, with ``*`` for any part."""
    models: tuple[str, ...] = ()

    def beyond(self, value: float) -> bool:
        """Return whether `value` is beyond the limit."""
        return value > self.value if self.above else value < self.value

    def covers(self, member: Member) -> bool:
        """Return whether the limit covers a case."""
        targets = (self.over,) if self.over else self.targets
        if targets and member.target not in targets:
            return False
        if self.models and member.model not in self.models:
            return False
        return not self.cases or any(fnmatchcase(member.case, name) for name in self.cases)

    def check_unit(self, unit: str) -> None:
        """Raise if the limit does not fit the unit of its metric."""
        if self.relative and unit not in BETTER_WORSE:
            raise RunoffError(f"limit {self.text!r}: {self.metric} takes a value, not a change", GRAMMAR)
        if self.over or self.relative or self.unit == (unit if unit in _NEEDED else ""):
            return
        need = _NEEDED.get(unit, "a number without a unit")
        raise RunoffError(f"limit {self.text!r}: {self.metric} needs {need}", GRAMMAR)


def parse_limit(text: str, targets: Sequence[str] = (), cases: Sequence[str] = (), models: Sequence[str] = ()) -> Limit:
    """Return the limit in `text`.

    Raises
    ------
    RunoffError
        If it is not a limit; the message contains it, and the hint gives the syntax.
    """
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise RunoffError(f"limit {text!r} is not valid", GRAMMAR)
    relative, value = match["unit"] == "%", float(match["value"])
    if relative and not match["sign"]:
        raise RunoffError(f"limit {text!r}: a change needs a sign: +{match['value']}% or -{match['value']}%", GRAMMAR)
    if match["sign"] and not relative:
        raise RunoffError(f"limit {text!r}: only a change in % takes a sign", GRAMMAR)
    if not relative and match["unit"] not in UNITS:
        raise RunoffError(
            f"limit {text!r}: unit {match['unit']!r} is not one of {', '.join(filter(None, UNITS))}", GRAMMAR
        )
    if match["over"] and (match["unit"] or targets):
        raise RunoffError(f"limit {text!r}: a ratio names both of its targets and has no unit", GRAMMAR)
    unit, scale = ("", 0.01) if relative else UNITS[match["unit"]]
    sign = -1.0 if match["sign"] == "-" else 1.0
    try:
        metric = parse_metric(match["metric"])
    except RunoffError as error:
        raise RunoffError(f"limit {text!r}: {error}", GRAMMAR) from error
    return Limit(
        text=" ".join(text.split()),
        metric=metric,
        above=match["operator"] == ">",
        value=sign * value * scale,
        relative=relative,
        unit=unit,
        over=match["over"] or "",
        under=match["under"] or "",
        targets=tuple(targets),
        cases=tuple(cases),
        models=tuple(models),
    )


class _Table(Struct, forbid_unknown_fields=True):
    fail_on: str
    targets: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    models: tuple[str, ...] = ()


class _File(Struct, forbid_unknown_fields=True):
    limit: list[_Table]


def read_limits(path: Path) -> list[Limit]:
    """Return the limits of a TOML file with tables ``[[limit]]``.

    Raises
    ------
    RunoffError
        If it is not TOML, a key is unknown, or a limit is not valid.
    """
    try:
        file = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
    except (OSError, UnicodeDecodeError) as error:
        raise RunoffError(f"--limits {path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise RunoffError(f"--limits {path} is not TOML: {error}") from error
    except msgspec.ValidationError as error:
        where = str(error).replace("`$.", "`").replace("`$`", "the top level")
        raise RunoffError(f"--limits {path}: {where}", "[[limit]] with fail_on, targets, cases, models") from error
    try:
        return [parse_limit(one.fail_on, one.targets, one.cases, one.models) for one in file.limit]
    except RunoffError as error:
        raise RunoffError(f"--limits {path}: {error.message}", error.hint) from error
