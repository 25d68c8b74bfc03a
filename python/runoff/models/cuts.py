"""What `runoff.models.cut` is asked for, and what it makes."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from runoff.records.protocol import ModelFile, TensorFile  # noqa: TC001 (msgspec evaluates the annotations)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_Value = TypeVar("_Value", bound=Hashable)

FORM = 3
"""Number that changes with what is written, for folders made before."""
CUTS = "cuts.json"
"""Name of the file with the `Cuts`."""
VERSION = "version"
"""Name of the folder with the segments of the other version."""
WEIGHTS, PROGRAM = "pt", "pt2"
"""Formats of networks in PyTorch: a state dict, with the code of the network; a program of `torch.export`."""
WHOLE_PROCESS = "explain the whole process instead: --metric cold"
"""Hint if a model cannot be cut."""


class Request(Struct, frozen=True, kw_only=True):
    """The model to cut."""

    model: str
    """Path of the ONNX file."""
    examples: tuple[dict[str, TensorFile], ...]
    """The inputs of each example by name; their shapes become those of the model."""
    version: str = ""
    """Path of another version of the model, which is cut at the same tensors; empty for none."""
    networks: tuple[ModelFile, ...] = ()
    """The model in PyTorch, in each format that a side reads; it is cut at the same tensors."""
    segments: int
    """Most segments."""


class Work(Struct, frozen=True, kw_only=True):
    """A node of the folded graph, and its work in one inference."""

    name: str
    """That of its first output, if it has none."""
    operator: str
    """With the form of a convolution: ``depthwise Conv``, ``3x3 Conv``."""
    inputs: tuple[str, ...]
    """Weights included."""
    outputs: tuple[str, ...]
    shape: tuple[int, ...] = ()
    """Of its first output; empty if not known."""
    flops: int | None = None
    """Floating-point operations; None if a shape is not known."""


class Segment(Struct, frozen=True, kw_only=True):
    """Consecutive nodes of the folded graph."""

    operators: dict[str, int]
    """Number of nodes by operator, the most frequent first."""
    nodes: tuple[str, ...]
    """Names."""
    share: float
    """Of the time of all nodes, if they are computed one by one without optimisation."""


class Cuts(Struct, frozen=True, kw_only=True):
    """The segments of a model, in their order, and the cuts between them: segment 1, cut 1, segment 2, ..."""

    segments: tuple[Segment, ...]
    cuts: tuple[tuple[str, ...], ...]
    """The names of the tensors that cross each cut."""
    graph: tuple[Work, ...] = ()
    """All nodes of the segments, in the order of the file."""
    sizes: dict[str, int] = {}
    """Bytes of each tensor, weights included, if known."""
    calls: tuple[tuple[str, str], ...] = ()
    """Of the network in PyTorch: each operator that it calls, and the first tensor of the file that it leads to."""


class Peak(Struct, frozen=True, kw_only=True):
    """The most that this machine does with a number of threads, as `runoff.models.peak` measures it."""

    flops_per_s: float = 0.0
    """In float32."""
    bytes_per_s: float = 0.0
    """Read from memory and written to it."""

    def best(self, other: Peak) -> Peak:
        """Return the larger values of both."""
        flops_per_s = max(self.flops_per_s, other.flops_per_s)
        return Peak(flops_per_s=flops_per_s, bytes_per_s=max(self.bytes_per_s, other.bytes_per_s))

    def shortest_ns(self, flops: int, size: int) -> float:
        """Return the time of work with so many operations and bytes at the peak: whichever of both takes longer."""
        return 1e9 * max(flops / self.flops_per_s, size / self.bytes_per_s)


def crossings(
    inputs: Iterable[_Value],
    used: Sequence[Iterable[_Value]],
    made: Sequence[Iterable[_Value]],
    outputs: Iterable[_Value],
) -> list[tuple[int, tuple[_Value, ...]]]:
    """Return the places between two nodes, as the number of nodes before, with the tensors that cross each.

    `used` and `made` have the tensors that each node reads and computes.
    """
    last = dict.fromkeys(outputs, len(used))
    for place, values in enumerate(used):
        last |= {value: max(place, last.get(value, 0)) for value in values}
    live = dict.fromkeys(inputs)
    found = []
    for place, values in enumerate(made[:-1], 1):
        live |= dict.fromkeys(values)
        live = {value: None for value in live if last.get(value, -1) >= place}
        found.append((place, tuple(live)))
    return found


def builder_of(name: str) -> str:
    """Return the builder of the part `name` of a network; its module is in the folder of the parts."""
    return f"{name.replace('-', '_')}:Network"
