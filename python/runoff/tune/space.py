"""The settings that a target has on this machine, and the values worth trying: the default first, by its absence.

Sources: https://onnxruntime.ai/docs/performance/tune-performance/threading.html (threads, spinning, execution),
graph-optimizations.html (levels), memory.html (arena), and ``docs/best-practice.md`` for what a process itself can do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runoff.records.protocol import Settings

_OF_PROCESS = ("prepared", "overlap", "teardown")
"""Settings that change the beginning and the end of a process, not its warm inferences."""
_SPINNING = ("spinning", "spin_duration_us", "spin_backoff_max")
_BATCHES = (2, 4, 8, 16, 32)


class Change(Struct, frozen=True):
    """Values of settings that differ from the default's, as pairs; those of one change only make sense together."""

    values: tuple[tuple[str, Any], ...]

    @property
    def settings(self) -> frozenset[str]:
        """Names of the settings."""
        return frozenset(name for name, _ in self.values)

    def __str__(self) -> str:
        return ", ".join(f"{name} = {toml(value)}" for name, value in self.values)


Candidate = tuple[Change, ...]
"""Changes in the order in which they were found; none of them share a setting."""


def change(**values: Any) -> Change:
    """Return the change of settings to `values`."""
    return Change(tuple(values.items()))


def toml(value: Any) -> str:  # noqa: ANN401 (a value of any setting)
    """Return a setting's value as TOML."""
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def changes(known: Iterable[str], *, cores: int, images: bool, process: bool, batches: bool) -> list[Change]:
    """Return the single changes from the default that a target can apply.

    Parameters
    ----------
    known
        The settings that the target has (`runoff.records.protocol.Capabilities.settings`).
    cores
        Cores that its process may use: no change has more threads.
    images
        Whether the workload reads images.
    process
        Whether the objective is of a process from start to exit.
    batches
        Whether the number of items per inference may change.
    """
    counts = [count for count in dict.fromkeys((2, 4, 8, 16, 32, 64, cores)) if 1 < count <= cores]
    levels = ("disable", "basic", "extended")
    found = [
        change(prepared=True),
        change(teardown="skip"),
        *([change(overlap=True)] if images else []),
        *(change(optimization=level) for level in levels),
        change(arena=False),
        change(prepacking=False),
        *(change(threads=count) for count in counts),
        change(spinning=False),
        change(spin_duration_us=100),
        change(spin_backoff_max=8),
        *([change(execution="parallel", inter_threads=min(2, cores))] if counts else []),
        *(change(batch=size) for size in _BATCHES if batches),
    ]
    able = {*known, *(["batch"] if batches else [])}
    return [one for one in found if one.settings <= able and (process or not one.settings & {*_OF_PROCESS})]


def applied(candidate: Candidate, default: Settings) -> Settings:
    """Return the settings of `candidate`: those of `default` with its changes."""
    return msgspec.structs.replace(default, **{name: value for one in candidate for name, value in one.values})


def profile_in(space: Iterable[Change], profile: Mapping[str, Any]) -> Candidate:
    """Return the changes among `space` that a profile makes, as far as they have an effect beside each other."""
    made: Candidate = ()
    for one in space:
        if all(profile.get(name) == value for name, value in one.values) and extended(made, one):
            made = (*made, one)
    return made


def extended(candidate: Candidate, *changes: Change) -> bool:
    """Return whether all of `changes` can be added: their settings have no value yet, and they would have an effect."""
    return all(_fits(candidate, one) for one in changes)


def _fits(candidate: Candidate, one: Change) -> bool:
    values = {name: value for other in candidate for name, value in other.values}
    # nobody waits for work, and so nobody spins, if there is one thread; a prepared model is optimised already
    alone = values.get("threads", 1) == 1 and "inter_threads" not in values
    idle = one.settings & {*_SPINNING} and (alone or values.keys() & {*_SPINNING})
    useless = "optimization" in one.settings and "prepared" in values
    return not (one.settings & values.keys() or idle or useless)


def name_of(target: str, candidate: Candidate) -> str:
    """Return a name for the target with the changes of `candidate`, usable in file names."""
    words = [_word(name, value) for one in candidate for name, value in one.values]
    return "+".join((target, *sorted(words)))


def _word(name: str, value: Any) -> str:  # noqa: ANN401 (a value of any setting)
    if isinstance(value, bool):
        return name if value else f"no-{name}"
    return f"{name}-{value}"
