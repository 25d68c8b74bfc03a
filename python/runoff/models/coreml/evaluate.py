"""Evaluator of saved CoreML packages without a Mac: it runs the ML program operation by operation.

Each operation is computed in float32 and rounded to the type that the program declares for it, which is what Core ML
does on a CPU up to the order of additions. Unknown operations are refused, never guessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from coremltools.converters.mil.mil.types import builtin_to_string
from coremltools.converters.mil.mil.types.symbolic import is_symbolic

from runoff.models.coreml.operands import Operands, constant
from runoff.models.coreml.operations import OPERATIONS
from runoff.models.formats import CHECKED_BATCHES, INPUT, OUTPUT, VERSIONS_HINT, compare
from runoff.records.errors import RunoffError
from runoff.records.manifest import Check

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from runoff.models.coreml.package import Program
    from runoff.models.formats import Batch
    from runoff.plan.coreml_packages import PackageKind

_CONSTANT = "const"
_TYPES = {"fp32": torch.float32, "fp16": torch.float16, "int32": torch.int32, "bool": torch.bool}
_HINT = "convert the model again"


def check_package(program: Program, kind: PackageKind, photos: Batch, references: Batch) -> tuple[Check, ...]:
    """Compare the package with PyTorch: all photos one by one, and if its batch is flexible also as one batch.

    `photos` are float32 [N, 3, H, W]; `references` are PyTorch's outputs, float32 [N, classes].

    Raises
    ------
    RunoffError
        If its outputs differ by more than `PackageKind.tolerance`, or in the top class of a photo.
    """
    batches = CHECKED_BATCHES if kind.flexible else CHECKED_BATCHES[:1]
    return tuple(_check(program, kind, photos, references, batch) for batch in batches)


def _check(program: Program, kind: PackageKind, photos: Batch, references: Batch, batch: int) -> Check:
    count = len(photos) // batch * batch
    parts = [evaluate(program, {INPUT: photos[begin : begin + batch]})[OUTPUT] for begin in range(0, count, batch)]
    outputs, wanted = np.concatenate(parts), references[:count]
    what = f"the {kind.name} package"
    differences = compare(what, outputs, wanted, batch, kind.tolerance)
    if (outputs.argmax(axis=1) != wanted.argmax(axis=1)).any():
        raise RunoffError(f"{what} predicts a different class than PyTorch for a photo", VERSIONS_HINT)
    return Check(kind.name, batch, *differences)


def evaluate(program: Program, feed: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
    """Run the program on `feed`: by input, an array of its shape and type. Return the outputs by name.

    Raises
    ------
    RunoffError
        If `feed` does not fit, an operation is not supported, or a result does not have the shape that the program
        declares.
    """
    _check_feed(program, feed)
    computing = (operation for operation in program.function.operations if operation.op_type != _CONSTANT)
    computed = {name: constant(array) for name, array in feed.items()}
    with torch.no_grad():
        for operation in computing:
            results = _results(operation, computed)
            for var, tensor in zip(operation.outputs, results, strict=True):
                computed[var.name] = _declared(var, tensor, operation.op_type)
    return {var.name: computed[var.name].numpy() for var in program.function.outputs}


def _results(operation: Any, computed: Mapping[str, torch.Tensor]) -> Sequence[torch.Tensor]:  # noqa: ANN401 (of coremltools)
    if operation.op_type not in OPERATIONS:
        known = f"{len(OPERATIONS)} operations are supported"
        raise RunoffError(
            f"the evaluator does not support the operation {operation.op_type!r}; {known}", "only a Mac can check it"
        )
    result: Any = OPERATIONS[operation.op_type](Operands(operation.inputs, computed))
    return result if isinstance(result, tuple) else (result,)


def _declared(var: Any, tensor: torch.Tensor, name: str) -> torch.Tensor:  # noqa: ANN401 (a variable of coremltools)
    """Return `tensor` rounded to the type of `var`; it must have the shape of `var`."""
    shape = tuple(None if is_symbolic(size) else int(size) for size in var.shape)
    fits = len(shape) == tensor.dim() and all(
        size in (None, real) for size, real in zip(shape, tensor.shape, strict=True)
    )
    if not fits:
        raise RunoffError(f"{name} {var.name!r} gives shape {tuple(tensor.shape)}; the program declares {shape}", _HINT)
    wanted = _TYPES[builtin_to_string(var.dtype)]
    if wanted.is_floating_point != tensor.is_floating_point():
        raise RunoffError(f"{name} {var.name!r} gives {tensor.dtype}; the program declares {wanted}", _HINT)
    return tensor.to(wanted).float() if wanted.is_floating_point else tensor.to(wanted)


def _check_feed(program: Program, feed: Mapping[str, NDArray[np.float32]]) -> None:
    names = {spec.name for spec in program.inputs}
    if feed.keys() != names:
        raise RunoffError(f"the package takes {', '.join(sorted(names))}, given: {', '.join(sorted(feed))}", _HINT)
    for spec in program.inputs:
        array, bounds = feed[spec.name], program.sizes[spec.name]
        fits = array.ndim == len(bounds) and all(
            least <= size and (size <= largest or largest < 0)
            for size, (least, largest) in zip(array.shape, bounds, strict=True)
        )
        if not fits or array.dtype != spec.dtype:
            given = f"{array.dtype} {list(array.shape)}"
            raise RunoffError(f"input {spec.name} takes {spec.dtype} within {list(bounds)}, given: {given}", _HINT)
