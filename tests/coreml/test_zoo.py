"""The networks of the zoo as CoreML packages, saved and read back: outputs equal PyTorch's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from machine import FULL
from runoff.models.coreml.convert import write_package
from runoff.models.coreml.evaluate import check_package
from runoff.models.coreml.package import read_package
from runoff.plan.coreml_packages import LARGEST_BATCH, PACKAGES
from runoff.records.protocol import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from packages import Subject

    from runoff.plan.coreml_packages import PackageKind

# the others are made of the same operations; tests/integration converts regnet_x_400mf, test_faults mobilenet_v2
NETWORKS = ("efficientnet-lite0", "vit_tiny", *(("regnet_x_400mf", "mobilenet_v2", "efficientnet_b0") if FULL else ()))
FIXED, FLEXIBLE = PACKAGES[0], PACKAGES[-1]


@pytest.mark.parametrize("kind", [FIXED, FLEXIBLE], ids=lambda kind: kind.name)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_package_computes_the_same_as_pytorch(
    name: str, kind: PackageKind, subject: Callable[[str], Subject], package: Path
) -> None:
    given = subject(name)
    write_package(given.network, kind, torch.from_numpy(given.photos[:1]), package)
    # other users read the store too
    assert {part.stat().st_mode & 0o044 for part in package.rglob("*")} == {0o044}
    program = read_package(package)
    checks = check_package(program, kind, given.photos, given.references)
    assert [check.batch for check in checks] == ([1, 4] if kind.flexible else [1])
    assert all(0 < check.max_rel_diff <= kind.tolerance for check in checks)
    batch = None if kind.flexible else 1
    assert program.inputs == (TensorSpec("input", "float32", (batch, 3, 224, 224)),)
    assert program.outputs == (TensorSpec("logits", "float32", (batch, 1000)),)
    assert program.sizes["input"][0] == ((1, LARGEST_BATCH) if kind.flexible else (1, 1))
    assert program.spec_version == 7


def test_real_weights_classify_the_photos(subject: Callable[[str], Subject]) -> None:
    best = subject("efficientnet-lite0").references.argmax(axis=1)
    assert len(np.unique(best)) >= 6
