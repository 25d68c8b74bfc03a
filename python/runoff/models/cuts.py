"""What `runoff.models.cut` is asked for, and what it makes."""

from __future__ import annotations

from msgspec import Struct

from runoff.records.protocol import TensorFile  # noqa: TC001 (msgspec evaluates the annotations)

CUTS = "cuts.json"
"""Name of the file with the `Cuts`."""
VERSION = "version"
"""Name of the folder with the segments of the other version."""


class Request(Struct, frozen=True, kw_only=True):
    """The model to cut."""

    model: str
    """Path of the ONNX file."""
    examples: tuple[dict[str, TensorFile], ...]
    """The inputs of each example by name; their shapes become those of the model."""
    version: str = ""
    """Path of another version of the model, which is cut at the same tensors; empty for none."""
    segments: int
    """Most segments."""


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
