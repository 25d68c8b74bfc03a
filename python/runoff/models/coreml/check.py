"""The gate after a conversion: a saved package has to compute what PyTorch computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from runoff.models.coreml.evaluate import evaluate
from runoff.models.formats import CHECKED_BATCHES, INPUT, OUTPUT
from runoff.records.errors import RunoffError
from runoff.records.manifest import Check

if TYPE_CHECKING:
    from runoff.models.coreml.package import Program
    from runoff.models.formats import Batch
    from runoff.plan.coreml_packages import PackageKind


def check_package(program: Program, kind: PackageKind, photos: Batch, references: Batch) -> tuple[Check, ...]:
    """Compare the package with PyTorch: all photos one by one, and where its batch is flexible together too.

    Parameters
    ----------
    program
        The package, read from its files.
    kind
        What it is meant to be; says how far it may be from PyTorch.
    photos
        float32 [N, 3, H, W].
    references
        float32 [N, classes], PyTorch's answers.

    Raises
    ------
    RunoffError
        When its outputs differ by more than `PackageKind.tolerance`, or in the best class of a photo.
    """
    batches = CHECKED_BATCHES if kind.flexible else CHECKED_BATCHES[:1]
    return tuple(_check(program, kind, photos, references, batch) for batch in batches)


def _check(program: Program, kind: PackageKind, photos: Batch, references: Batch, batch: int) -> Check:
    count = len(photos) // batch * batch
    parts = [evaluate(program, {INPUT: photos[begin : begin + batch]})[OUTPUT] for begin in range(0, count, batch)]
    answers, wanted = np.concatenate(parts), references[:count]
    if answers.shape != wanted.shape:
        raise _differs(kind, f"answers with shape {answers.shape}, PyTorch with {wanted.shape}")
    absolute = float(abs(answers - wanted).max())
    relative = absolute / float(abs(wanted).max())
    if not relative <= kind.tolerance:
        far = f"differs from PyTorch by {relative:.1e} of the largest logit (batch {batch})"
        raise _differs(kind, f"{far}; at most {kind.tolerance:.0e} is stored")
    if (answers.argmax(axis=1) != wanted.argmax(axis=1)).any():
        raise _differs(kind, "sees another class than PyTorch in a photo")
    return Check(kind.name, batch, absolute, relative)


def _differs(kind: PackageKind, message: str) -> RunoffError:
    return RunoffError(
        f"the {kind.name} package {message}",
        "make the export environment from requirements/export.txt: these versions were tried together",
    )
