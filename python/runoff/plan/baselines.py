"""The baselines of a comparison, and the A/A control that gives its noise floor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SUFFIX = "-again"
"""Ends the name of an A/A control."""


class Peer(Protocol):
    """A case, as far as choosing a baseline needs."""

    @property
    def target(self) -> str:
        """Name of its target."""

    @property
    def control_of(self) -> str | None:
        """Name of the target that an A/A control repeats; None for any other case."""


P = TypeVar("P", bound=Peer)


def control_name(target: str) -> str:
    """Return the name of the A/A control of `target`."""
    return target + _SUFFIX


def repeated_target(name: str) -> str | None:
    """Return the target that the A/A control called `name` repeats; None if `name` is not that of a control."""
    return name.removesuffix(_SUFFIX) if name.endswith(_SUFFIX) else None


def find_control(peers: Iterable[P]) -> P | None:
    """Return the A/A control among the cases of a comparison; None if there is none."""
    return next((peer for peer in peers if peer.control_of is not None), None)


def baselines_of(peers: Sequence[P], names: Iterable[str]) -> list[P]:
    """Return the baselines of a comparison, the one that its A/A control repeats last.

    `peers` are its cases, the A/A control included; `names` the targets that others are compared with, in order.
    """
    by_target = {peer.target: peer for peer in peers}
    control = find_control(peers)
    repeated = control.control_of if control else None
    order = [*(name for name in names if name != repeated), *([repeated] if repeated else [])]
    return [by_target[name] for name in order if name in by_target]


def baseline_of(peers: Sequence[P], names: Iterable[str]) -> P | None:
    """Return the last of `baselines_of`, which the noise floor belongs to; without one, the first case, if any."""
    first = next((peer for peer in peers if peer.control_of is None), None)
    return next(reversed(baselines_of(peers, names)), first)
