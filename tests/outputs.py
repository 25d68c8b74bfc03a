"""Outputs that a runner wrote, compared with the references of their items, as runoff does it in a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runoff.measure.parity import read_rows
from runoff.records.tensors import difference, read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runoff.records.protocol import TensorFile, WrittenTensor


def compare_outputs(
    outputs: Sequence[WrittenTensor], references: Sequence[Mapping[str, TensorFile]]
) -> list[dict[str, Any]]:
    """Return the difference of each row of `outputs` from the reference of its item."""
    return [
        {"item": item, **difference(row, read(reference))} for item, row, reference in read_rows(outputs, references)
    ]
