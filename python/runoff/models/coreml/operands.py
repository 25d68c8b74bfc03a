"""The inputs of an operation of an ML program: computed tensors and constants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Operands:
    """The inputs of one operation.

    Floating-point numbers are float32, whatever the program declares: results are rounded to the declared type
    afterwards. `inputs` has variables of `coremltools`, or lists of them, by parameter; `computed` has the results so
    far, by name of variable.
    """

    def __init__(self, inputs: Mapping[str, Any], computed: Mapping[str, torch.Tensor]) -> None:
        self._inputs = inputs
        self._computed = computed

    def tensor(self, name: str) -> torch.Tensor:
        """Return a tensor."""
        return self._tensor(self._inputs[name])

    def tensor_or_none(self, name: str) -> torch.Tensor | None:
        """Return a tensor, or None if it is omitted."""
        return None if self._inputs.get(name) is None else self.tensor(name)

    def tensors(self, name: str) -> list[torch.Tensor]:
        """Return the tensors of a parameter that takes several."""
        return [self._tensor(var) for var in self._inputs[name]]

    def value(self, name: str) -> Any:  # noqa: ANN401 (what the parameter's type is)
        """Return a number, a word, or a list of numbers; None if it is omitted."""
        var = self._inputs.get(name)
        if var is None:
            return None
        value = var.val if _is_constant(var) else self._computed[var.name]
        return value.tolist() if isinstance(value, (np.ndarray, np.generic, torch.Tensor)) else value

    def _tensor(self, var: Any) -> torch.Tensor:  # noqa: ANN401 (a variable of coremltools)
        return constant(var.val) if _is_constant(var) else self._computed[var.name]


Operation: TypeAlias = "Callable[[Operands], torch.Tensor | tuple[torch.Tensor, ...]]"
"""Computes the result of an operation from its inputs."""


def constant(value: Any) -> torch.Tensor:  # noqa: ANN401 (a number or an array of any type)
    """Return a constant as a tensor; floating-point numbers become float32."""
    array = np.asarray(value)
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
    elif array.dtype.kind in "iu":
        array = array.astype(np.int32)
    return torch.from_numpy(np.array(array))


def _is_constant(var: Any) -> bool:  # noqa: ANN401 (a variable of coremltools)
    return var.op is not None and var.op.op_type == "const"
