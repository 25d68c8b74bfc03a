"""A node of an ONNX graph that becomes operations of pywebnn's graph builder."""

from __future__ import annotations

import numpy as np
from onnx import helper

from runoff_runners.protocol import RunnerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn, TypeAlias

    from runoff_runners.interfaces import Array

    Operand: TypeAlias = Any  # webnn.MLOperand


class Node:
    """A node of the ONNX graph, with its inputs: arrays are constants, the others operands of the builder.

    Parameters
    ----------
    proto
        The ``onnx.NodeProto``.
    builder
        pywebnn's graph builder.
    inputs
        By place; None for an input that is left out.
    as_operand
        Makes an operand of a constant.
    opset
        Version of ONNX's operators.
    """

    def __init__(
        self,
        proto: Any,  # noqa: ANN401 (onnx has no types here)
        builder: Any,  # noqa: ANN401 (as above)
        inputs: Sequence[Operand | Array | None],
        as_operand: Callable[[Operand | Array], Operand],
        opset: int,
    ) -> None:
        self.op: str = proto.op_type
        self.name: str = proto.name
        self.outputs = len([name for name in proto.output if name])
        self.builder = builder
        self.inputs = inputs
        self.opset = opset
        self._as_operand = as_operand
        self._attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in proto.attribute}

    def attribute(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 (any attribute)
        """Return the value of an attribute."""
        value = self._attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def has(self, place: int) -> bool:
        """Return whether the optional input `place` is given."""
        return place < len(self.inputs) and self.inputs[place] is not None

    def operand(self, place: int) -> Operand:
        """Return the input `place` as an operand."""
        return self._as_operand(self.inputs[place])

    def optional(self, place: int) -> Operand | None:
        """Return the input `place` as an operand; None if it is left out."""
        return self.operand(place) if self.has(place) else None

    def shape(self, place: int = 0) -> list[int]:
        """Return the shape of the input `place`."""
        given: Operand = self.inputs[place]
        return [*map(int, given.shape)]

    def constant(self, place: int, attribute: str = "") -> Array | None:
        """Return the constant input `place`, or the attribute that it was before; None if it is left out."""
        if attribute and self.attribute(attribute) is not None:
            return np.asarray(self.attribute(attribute))
        if not self.has(place):
            return None
        value = self.inputs[place]
        if not isinstance(value, np.ndarray):
            self.refuse(f"its input {place} is not a constant")
        return value

    def numbers(self, place: int, attribute: str = "") -> list[int]:
        """Return the whole numbers of the constant input `place`, or of the attribute that it was before."""
        value = self.constant(place, attribute)
        if value is None:
            self.refuse(f"its input {place} is left out")
        return [*map(int, value)]

    def refuse(self, reason: str) -> NoReturn:
        """Raise the failure for a node that has no equivalent in WebNN.

        Raises
        ------
        RunnerError
            ``model-unsupported``.
        """
        message = f"operator {self.op} (node {self.name!r}) has no equivalent in WebNN: {reason}"
        raise RunnerError("model-unsupported", message, "use the target ort-python; docs/webnn.md lists the operators")
