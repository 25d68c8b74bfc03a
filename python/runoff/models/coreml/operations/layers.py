"""Convolution, pooling, matrices and normalisation."""

from __future__ import annotations

from itertools import chain
from math import sqrt
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from runoff.records.errors import RunoffError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runoff.models.coreml.operands import Operands, Operation

_CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
_MAXIMA = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
_MEANS = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def _conv(given: Operands) -> torch.Tensor:
    x, weight = given.tensor("x"), given.tensor("weight")
    strides, dilations = given.value("strides"), given.value("dilations")
    reach = [(size - 1) * step + 1 for size, step in zip(weight.shape[2:], dilations, strict=True)]
    padded = functional.pad(x, _around(_padding(given, x, reach, strides)))
    convolve = _CONVOLUTIONS[x.dim() - 2]
    bias = given.tensor_or_none("bias")
    return convolve(padded, weight, bias, stride=strides, dilation=dilations, groups=given.value("groups"))


def _conv_transpose(given: Operands) -> torch.Tensor:
    """Return the transposed convolution, cut at its edges by `pad`, or to `output_shape`."""
    x, weight, bias = given.tensor("x"), given.tensor("weight"), given.tensor_or_none("bias")
    strides, dilations, groups = given.value("strides"), given.value("dilations"), given.value("groups")
    kind = given.value("pad_type")
    if kind not in ("valid", "custom"):
        raise _refused("conv_transpose", f"pad_type {kind!r}")
    pad = given.value("pad") if kind == "custom" else [0] * 2 * len(strides)
    result = _TRANSPOSED[x.dim() - 2](x, weight, bias, stride=strides, dilation=dilations, groups=groups)
    requested = given.value("output_shape")
    sizes = (
        requested[2:]
        if requested
        else [size - a - b for size, a, b in zip(result.shape[2:], pad[::2], pad[1::2], strict=True)]
    )
    for axis, (begin, size) in enumerate(zip(pad[::2], sizes, strict=True), start=2):
        shortfall = begin + size - result.shape[axis]
        if shortfall > 0:
            raise _refused("conv_transpose", "an output_shape beyond what the kernel reaches")
        result = result.narrow(axis, begin, size)
    return result


def _padding(given: Operands, x: torch.Tensor, reach: Sequence[int], strides: Sequence[int]) -> list[int]:
    """Return the padding before and after each spatial dimension, from the first to the last."""
    kind = given.value("pad_type")
    if kind == "valid":
        return [0] * 2 * len(reach)
    if kind == "custom":
        return [int(size) for size in given.value("pad")]
    needed = [
        max(0, (-(-size // stride) - 1) * stride + span - size)
        for size, stride, span in zip(x.shape[2:], strides, reach, strict=True)
    ]
    # an odd element goes after, or with same_lower before
    smaller, larger = [size // 2 for size in needed], [size - size // 2 for size in needed]
    return list(chain(*zip(*((smaller, larger) if kind == "same" else (larger, smaller)), strict=True)))


def _around(padding: Sequence[int]) -> list[int]:
    """Return padding in PyTorch's order: the last dimension first."""
    pairs = list(zip(padding[::2], padding[1::2], strict=True))
    return list(chain(*reversed(pairs)))


def _max_pool(given: Operands) -> torch.Tensor:
    x, padding = _pooled(given)
    padded = functional.pad(x, _around(padding), value=-torch.inf)
    kernel, strides = given.value("kernel_sizes"), given.value("strides")
    return _MAXIMA[x.dim() - 2](padded, kernel, strides, ceil_mode=given.value("ceil_mode"))


def _avg_pool(given: Operands) -> torch.Tensor:
    """Return the mean of each window: the sum of the padded window over the number of elements that count."""
    x, padding = _pooled(given)
    kernel, strides, ceil_mode = given.value("kernel_sizes"), given.value("strides"), given.value("ceil_mode")
    pool, around = _MEANS[x.dim() - 2], _around(padding)
    mean = pool(functional.pad(x, around), kernel, strides, ceil_mode=ceil_mode)
    if not given.value("exclude_padding_from_average"):
        return mean
    share = pool(functional.pad(torch.ones_like(x), around), kernel, strides, ceil_mode=ceil_mode)
    return mean / share


def _pooled(given: Operands) -> tuple[torch.Tensor, list[int]]:
    x, kernel, strides = given.tensor("x"), given.value("kernel_sizes"), given.value("strides")
    padding = _padding(given, x, kernel, strides)
    if given.value("ceil_mode") and any(padding):
        raise _refused("a pool", "ceil_mode together with padding")
    return x, padding


def _matmul(given: Operands) -> torch.Tensor:
    x, y = given.tensor("x"), given.tensor("y")
    x = x.transpose(-1, -2) if given.value("transpose_x") else x
    y = y.transpose(-1, -2) if given.value("transpose_y") else y
    return x @ y


def _attention(given: Operands) -> torch.Tensor:
    query, key = given.tensor("query"), given.tensor("key")
    scores = query @ key.transpose(-1, -2) / sqrt(query.shape[-1])
    mask = given.tensor_or_none("attn_mask")
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return torch.softmax(scores, dim=-1) @ given.tensor("value")


def _batch_norm(given: Operands) -> torch.Tensor:
    names = ("mean", "variance", "gamma", "beta")
    mean, variance, gamma, beta = (given.tensor_or_none(name) for name in names)
    return functional.batch_norm(given.tensor("x"), mean, variance, gamma, beta, eps=given.value("epsilon"))


def _instance_norm(given: Operands) -> torch.Tensor:
    gamma, beta = given.tensor_or_none("gamma"), given.tensor_or_none("beta")
    return functional.instance_norm(given.tensor("x"), weight=gamma, bias=beta, eps=given.value("epsilon"))


def _layer_norm(given: Operands) -> torch.Tensor:
    """Return ``gamma * (x - mean) / sqrt(variance + epsilon) + beta`` over the axes; gamma's axes are the last."""
    x, axes = given.tensor("x"), given.value("axes")
    axes = list(range(x.dim())) if axes is None else [axis % x.dim() for axis in axes]
    if axes != list(range(x.dim() - len(axes), x.dim())):
        raise _refused("layer_norm", f"axes {axes} that are not the last")
    shape = [x.shape[axis] for axis in axes]
    gamma, beta = given.tensor_or_none("gamma"), given.tensor_or_none("beta")
    return functional.layer_norm(x, shape, gamma, beta, eps=given.value("epsilon"))


def _refused(operation: str, what: str) -> RunoffError:
    return RunoffError(f"the evaluator does not support {operation} with {what}", "only a Mac can check it")


OPERATIONS: dict[str, Operation] = {
    "avg_pool": _avg_pool,
    "batch_norm": _batch_norm,
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "instance_norm": _instance_norm,
    "layer_norm": _layer_norm,
    "linear": lambda given: functional.linear(given.tensor("x"), given.tensor("weight"), given.tensor_or_none("bias")),
    "matmul": _matmul,
    "max_pool": _max_pool,
    "scaled_dot_product_attention": _attention,
}
