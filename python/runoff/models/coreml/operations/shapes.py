"""Operations that move elements and change shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from runoff.records.errors import RunoffError

if TYPE_CHECKING:
    from runoff.models.coreml.operands import Operands, Operation


def _reshape(given: Operands) -> torch.Tensor:
    """Return the elements in another shape; a 0 keeps the size of its dimension, counted from the end."""
    x, shape = given.tensor("x"), given.value("shape")
    offset = x.dim() - len(shape)
    sizes = [x.shape[place + offset] if size == 0 else size for place, size in enumerate(shape)]
    return x.reshape(sizes)


def _expand_dims(given: Operands) -> torch.Tensor:
    x, axes = given.tensor("x"), given.value("axes")
    for axis in sorted(axis % (x.dim() + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _squeeze(given: Operands) -> torch.Tensor:
    x, axes = given.tensor("x"), given.value("axes")
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


def _concat(given: Operands) -> torch.Tensor:
    if given.value("interleave"):
        raise RunoffError("the evaluator does not support concat with interleave", "only a Mac can check it")
    # single numbers become a list
    parts = [part.reshape(1) if part.dim() == 0 else part for part in given.tensors("values")]
    return torch.cat(parts, dim=given.value("axis"))


def _split(given: Operands) -> tuple[torch.Tensor, ...]:
    x, axis, sizes = given.tensor("x"), given.value("axis"), given.value("split_sizes")
    parts: tuple[torch.Tensor, ...] = x.split(sizes, axis) if sizes else x.chunk(given.value("num_splits"), axis)
    return parts


def _slice_by_index(given: Operands) -> torch.Tensor:
    x = given.tensor("x")
    begin, end = given.value("begin"), given.value("end")
    rank, steps = x.dim(), given.value("stride") or [1] * x.dim()
    masks = [given.value(name) or [False] * rank for name in ("begin_mask", "end_mask", "squeeze_mask")]
    for axis, (first, last, step, from_start, to_end, single) in reversed(
        list(enumerate(zip(begin, end, steps, *masks, strict=True)))
    ):
        if single:
            x = x.select(axis, first)
            continue
        places = range(x.shape[axis])[slice(None if from_start else first, None if to_end else last, step)]
        x = x.index_select(axis, torch.tensor(list(places), dtype=torch.long))
    return x


def _slice_by_size(given: Operands) -> torch.Tensor:
    x = given.tensor("x")
    for axis, (first, size) in enumerate(zip(given.value("begin"), given.value("size"), strict=True)):
        x = x.narrow(axis, first, x.shape[axis] - first if size == -1 else size)
    return x


def _gather(given: Operands) -> torch.Tensor:
    """Return the slices along an axis at the indices; their shape replaces the axis."""
    x, indices, axis = given.tensor("x"), given.tensor("indices").long(), given.value("axis")
    if given.value("batch_dims"):
        raise RunoffError("the evaluator does not support gather with batch_dims", "only a Mac can check it")
    axis %= x.dim()
    places = indices % x.shape[axis]
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    return x.index_select(axis, places.reshape(-1)).reshape(shape)


def _pad(given: Operands) -> torch.Tensor:
    """Return the tensor padded at its last dimensions; the pairs are in the order of the dimensions."""
    x, sizes, mode = given.tensor("x"), given.value("pad"), given.value("mode")
    pairs = list(zip(sizes[::2], sizes[1::2], strict=True))
    around = [size for pair in reversed(pairs) for size in pair]
    if mode == "constant":
        return functional.pad(x, around, value=given.value("constant_val"))
    while around[-2:] == [0, 0]:
        # PyTorch reflects and replicates spatial dimensions only
        around = around[:-2]
    return functional.pad(x, around, mode=mode) if around else x


def _nearest(given: Operands) -> torch.Tensor:
    scale = (given.value("scale_factor_height"), given.value("scale_factor_width"))
    return functional.interpolate(given.tensor("x"), scale_factor=scale, mode="nearest")


def _bilinear(given: Operands) -> torch.Tensor:
    x = given.tensor("x")
    scales = (given.value("scale_factor_height"), given.value("scale_factor_width"))
    size = [int(side * scale) for side, scale in zip(x.shape[-2:], scales, strict=True)]
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=given.value("align_corners"))


OPERATIONS: dict[str, Operation] = {
    "concat": _concat,
    "expand_dims": _expand_dims,
    "fill": lambda given: torch.full(given.value("shape"), given.value("value")),
    "gather": _gather,
    "pad": _pad,
    "reshape": _reshape,
    "shape": lambda given: torch.tensor(given.tensor("x").shape, dtype=torch.int32),
    "slice_by_index": _slice_by_index,
    "slice_by_size": _slice_by_size,
    "split": _split,
    "squeeze": _squeeze,
    "stack": lambda given: torch.stack(given.tensors("values"), dim=given.value("axis")),
    "tile": lambda given: given.tensor("x").tile(given.value("reps")),
    "transpose": lambda given: given.tensor("x").permute(given.value("perm")),
    "upsample_bilinear": _bilinear,
    "upsample_nearest_neighbor": _nearest,
}
