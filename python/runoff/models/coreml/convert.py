"""From a PyTorch network to a CoreML package, on any system."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import coremltools as ct
import numpy as np
import torch

from runoff.models.formats import INPUT, OUTPUT, plain_attention
from runoff.plan.coreml_packages import LARGEST_BATCH

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.plan.coreml_packages import PackageKind

OLDEST = ct.target.macOS13
"""The oldest system that can run the packages."""


def write_package(network: torch.nn.Module, kind: PackageKind, image: torch.Tensor, path: Path) -> None:
    """Convert `network` and save it as the package at `path`.

    Inputs, outputs and their types are named: newer systems would make them float16, with names of their own.
    `network` is in evaluation mode, `image` float32 [1, 3, H, W], and the name of `path` ends in ``.mlpackage``.
    """
    precision = ct.precision.FLOAT32 if kind.precision == "fp32" else ct.precision.FLOAT16
    converted = ct.convert(
        _traced(network, image, flexible=kind.flexible),
        inputs=[ct.TensorType(INPUT, shape=_shape(kind, image), dtype=np.float32)],
        outputs=[ct.TensorType(OUTPUT, dtype=np.float32)],
        convert_to="mlprogram",
        compute_precision=precision,
        minimum_deployment_target=OLDEST,
        skip_model_load=True,
    )
    converted.save(str(path))
    for part in path.rglob("*"):
        # coremltools lets none but its user read the program and the weights
        part.chmod(part.stat().st_mode | (0o055 if part.is_dir() else 0o044))


def _traced(network: torch.nn.Module, image: torch.Tensor, *, flexible: bool) -> torch.jit.ScriptModule:
    """Return what `network` does with one image, or with two, so that no batch of one is written into it."""
    batch = torch.cat([image, image]) if flexible else image
    with torch.no_grad(), plain_attention(), warnings.catch_warnings():
        # coremltools reads what torch.export gives only in part
        warnings.filterwarnings("ignore", r"`torch\.jit\.", FutureWarning)
        traced: torch.jit.ScriptModule = torch.jit.trace(network, batch, check_trace=False)
    return traced


def _shape(kind: PackageKind, image: torch.Tensor) -> Any:  # noqa: ANN401 (of coremltools)
    if not kind.flexible:
        return ct.Shape(tuple(image.shape))
    return ct.Shape((ct.RangeDim(1, LARGEST_BATCH, default=1), *image.shape[1:]))
