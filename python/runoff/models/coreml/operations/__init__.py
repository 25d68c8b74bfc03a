"""The operations that the evaluator supports: those of the zoo and of common vision models.

Each is a function of the operation's `Operands` that implements its documentation in coremltools
(``converters/mil/mil/ops/defs``) with PyTorch's functions in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff.models.coreml.operations import elementwise, layers, shapes

if TYPE_CHECKING:
    from runoff.models.coreml.operands import Operation

OPERATIONS: dict[str, Operation] = {**elementwise.OPERATIONS, **layers.OPERATIONS, **shapes.OPERATIONS}
"""By name in ML programs."""
