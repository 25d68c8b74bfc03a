"""Predictions on labelled examples, which the record of the probe ``accuracy`` keeps image by image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from runoff.measure.masks import png_url
from runoff.measure.parity import read_rows
from runoff.records.tensors import read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from runoff.models.store import StoredModel
    from runoff.records.protocol import Preprocess, TensorFile, WrittenTensor

TOP = 5
"""Classes that are kept, best first."""
_MOST_PICTURES = 12
_LARGEST_PICTURE = 96
"""Pixels of a side, approximately."""


def prediction(model: StoredModel, example: int, row: NDArray[Any], reference: TensorFile) -> dict[str, Any]:
    """Return what a record keeps of the output `row` of a labelled example; empty for other examples and outputs.

    The keys are ``name``, ``label`` (the true class), ``top5`` and ``reference_top1``; classes are indices. Ties go to
    the lower index, as in the runners.
    """
    stored, first = model.manifest.examples[example], model.manifest.outputs[0].name
    if stored.label is None or reference != model.references(example)[first]:
        return {}
    best = np.argsort(-row.astype(np.float64), kind="stable")[:TOP]
    return {
        "name": stored.name,
        "label": stored.label,
        "top5": best.tolist(),
        "reference_top1": int(read(reference).argmax()),
    }


def add_pictures(
    parity: Sequence[dict[str, Any]], model: StoredModel, order: Sequence[int], tensors: Sequence[WrittenTensor]
) -> None:
    """Add ``image`` to the rows with another best class than the reference's, at most a dozen.

    It is what went into the model, as a PNG in a ``data:`` URL, so a report needs neither the model nor the images.
    """
    wanted = {row["item"]: row for row in parity if "top5" in row and row["top5"][0] != row["reference_top1"]}
    preprocess = model.manifest.preprocess
    if not wanted or preprocess is None:
        return
    stored = next(filter(None, map(model.inputs, order)))
    for place, pixels, _ in read_rows(tensors, [stored] * len(order)):
        row = wanted.pop(order[place], None)
        if row is not None:
            row["image"] = png_url(_pixels(pixels, preprocess))
        if not wanted or sum("image" in one for one in parity) == _MOST_PICTURES:
            return


def _pixels(tensor: NDArray[Any], preprocess: Preprocess) -> NDArray[np.uint8]:
    """Return an input tensor as a small picture, uint8 [H, W, 3]."""
    step = max(1, preprocess.crop // _LARGEST_PICTURE)
    side = tensor.astype(np.float64).reshape(3, preprocess.crop, preprocess.crop)[:, ::step, ::step]
    values = side.transpose(1, 2, 0) * preprocess.std + np.array(preprocess.mean)
    pixels: NDArray[np.uint8] = np.nan_to_num(values).clip(0, 255).round().astype(np.uint8)
    return pixels
