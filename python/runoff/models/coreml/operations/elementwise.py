"""Operations on each element, and reductions."""

from __future__ import annotations

from math import pi, sqrt
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from runoff.models.coreml.operands import Operands, Operation

    Function = Callable[..., torch.Tensor]


def _unary(function: Function) -> Operation:
    return lambda given: function(given.tensor("x"))


def _binary(function: Function) -> Operation:
    return lambda given: function(given.tensor("x"), given.tensor("y"))


def _with_epsilon(function: Function) -> Operation:
    """Return an operation of ``x + epsilon``."""
    return lambda given: function(given.tensor("x") + given.value("epsilon"))


def _reduced(function: Function) -> Operation:
    def operation(given: Operands) -> torch.Tensor:
        x, axes = given.tensor("x"), given.value("axes")
        return function(x, dim=tuple(range(x.dim()) if axes is None else axes), keepdim=given.value("keep_dims"))

    return operation


def _divide(given: Operands) -> torch.Tensor:
    x, y = given.tensor("x"), given.tensor("y")
    return torch.div(x, y) if x.is_floating_point() else torch.div(x, y, rounding_mode="floor")


def _gelu(given: Operands) -> torch.Tensor:
    x, mode = given.tensor("x"), given.value("mode")
    if mode == "TANH_APPROXIMATION":
        return 0.5 * x * (1 + torch.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    return 0.5 * x * (1 + torch.erf(x / sqrt(2)))


def _cast(given: Operands) -> torch.Tensor:
    """Return the tensor converted to another type; the evaluator rounds to float16."""
    types = {"fp32": torch.float32, "fp16": torch.float32, "int32": torch.int32, "bool": torch.bool}
    return given.tensor("x").to(types[given.value("dtype")])


OPERATIONS: dict[str, Operation] = {
    "abs": _unary(torch.abs),
    "add": _binary(torch.add),
    "cast": _cast,
    "clip": lambda given: given.tensor("x").clamp(given.value("alpha"), given.value("beta")),
    "elu": lambda given: functional.elu(given.tensor("x"), given.value("alpha")),
    "equal": _binary(torch.eq),
    "erf": _unary(torch.erf),
    "exp": _unary(torch.exp),
    "floor_div": _binary(torch.floor_divide),
    "gelu": _gelu,
    "greater": _binary(torch.gt),
    "identity": _unary(torch.clone),
    "inverse": _with_epsilon(torch.reciprocal),
    "leaky_relu": lambda given: functional.leaky_relu(given.tensor("x"), given.value("alpha")),
    "less": _binary(torch.lt),
    "log": _with_epsilon(torch.log),
    "maximum": _binary(torch.maximum),
    "minimum": _binary(torch.minimum),
    "mul": _binary(torch.mul),
    "pow": _binary(torch.pow),
    "prelu": lambda given: functional.prelu(given.tensor("x"), given.tensor("alpha")),
    "real_div": _divide,
    "reduce_max": _reduced(torch.amax),
    "reduce_mean": _reduced(torch.mean),
    "reduce_min": _reduced(torch.amin),
    "reduce_sum": _reduced(torch.sum),
    "relu": _unary(torch.relu),
    "relu6": _unary(functional.relu6),
    "rsqrt": _with_epsilon(torch.rsqrt),
    "select": lambda given: torch.where(given.tensor("cond"), given.tensor("a"), given.tensor("b")),
    "sigmoid": _unary(torch.sigmoid),
    "sigmoid_hard": lambda given: (given.value("alpha") * given.tensor("x") + given.value("beta")).clamp(0, 1),
    "silu": _unary(functional.silu),
    "softmax": lambda given: torch.softmax(given.tensor("x"), dim=given.value("axis")),
    "softplus": _unary(functional.softplus),
    "sqrt": _unary(torch.sqrt),
    "square": _unary(torch.square),
    "sub": _binary(torch.sub),
    "tanh": _unary(torch.tanh),
}
