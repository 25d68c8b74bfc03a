"""The operations that the evaluator knows: those of the zoo and of common vision models.

Each is a function of the operation's `Operands`; what it does is what the operation's documentation in coremltools
(``converters/mil/mil/ops/defs``) says, written with PyTorch's functions in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff.models.coreml.operations import elementwise, layers, shapes

if TYPE_CHECKING:
    from runoff.models.coreml.operands import Operation

OPERATIONS: dict[str, Operation] = {**elementwise.OPERATIONS, **layers.OPERATIONS, **shapes.OPERATIONS}
"""By the name that a program calls it."""
