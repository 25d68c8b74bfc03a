"""The masks of a segmentation, compared with those that segment_anything made when the model was stored."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from runoff.records.protocol import Segmentation
from runoff.records.reason import Reason
from runoff.records.tensors import read
from runoff_runners import masks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from runoff.models.store import StoredModel
    from runoff.records.protocol import Mask, Result
    from runoff.records.schema import Case

LEAST_IOU = 0.999
"""Smallest intersection over union, of each mask with the reference's at its place, that counts as the same mask."""
SCORE = 1e-3
"""Largest difference of the best mask's predicted quality."""
_MOST_PIXELS = 4 * 178_956_970
"""Of all masks together, each of which takes a byte a pixel: a hostile result of a few lines could ask for more."""


def compare_masks(
    case: Case, model: StoredModel, order: Sequence[int], result: Result, *, draw: bool
) -> tuple[int, dict[str, Any], Reason | None]:
    """Compare the masks of a result's last item with the reference.

    Parameters
    ----------
    order
        The examples of the request.
    draw
        Whether a picture of the masks is kept.

    Returns
    -------
    tuple
        The example. ``masks_raw``, ``masks_kept``; if the case has the filters of the reference also ``mask_iou`` (the
        smallest, of masks at the same place) and ``score_diff`` (of the first mask); if drawn ``overlay``, a ``data:``
        URL. And the reason why the case is excluded, if any.

    Raises
    ------
    ValueError
        If there are none, or the masks are not of one image.
    """
    if not result.segmentations or not result.outputs:
        raise ValueError("the result has no segmentations")
    example, found = order[result.outputs[-1].items[-1]], result.segmentations[-1]
    if sum(height * width for height, width in (mask.size for mask in found.masks)) > _MOST_PIXELS:
        raise ValueError(f"{len(found.masks)} masks have more than {_MOST_PIXELS:,} pixels")
    ours = [_decoded(mask, found.masks[0].size) for mask in found.masks]
    row: dict[str, Any] = {"masks_raw": found.raw, "masks_kept": len(found.masks)}
    if draw:
        row |= _drawn(model, example, ours)
    wanted = _reference(model, example)
    if wanted is None or case.segment:
        return example, row, None
    name = model.manifest.examples[example].name
    if len(found.masks) != len(wanted.masks):
        message = f"{len(found.masks)} masks for the example {name}, the reference has {len(wanted.masks)}"
        return example, row, Reason("outputs-differ", message)
    theirs = [_decoded(mask, mask.size) for mask in wanted.masks]
    row |= {"mask_iou": 1.0, "score_diff": 0.0}
    if not theirs:
        return example, row, None
    if ours[0].shape != theirs[0].shape:
        raise ValueError(f"masks have {ours[0].shape[::-1]} pixels, the image {theirs[0].shape[::-1]}")
    overlaps = [masks.intersection_over_union(a, b) for a, b in zip(ours, theirs, strict=True)]
    row["mask_iou"] = min(overlaps)
    row["score_diff"] = abs(found.masks[0].predicted_iou - wanted.masks[0].predicted_iou)
    return example, row, _difference(name, ours, theirs, row)


def png_url(pixels: NDArray[np.uint8]) -> str:
    """Return a picture, uint8 [height, width, 3], as a PNG file (ISO/IEC 15948) in a ``data:`` URL."""
    return f"data:image/png;base64,{base64.b64encode(png(pixels)).decode()}"


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a picture, uint8 [height, width, 3], as a PNG file (ISO/IEC 15948)."""
    height, width, _ = pixels.shape
    # each line begins with its filter: none
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def _difference(
    name: str, ours: Sequence[masks.Bools], theirs: Sequence[masks.Bools], row: dict[str, Any]
) -> Reason | None:
    """Return the reason if masks or scores differ; masks that are only in another order are named as such."""
    if row["mask_iou"] < LEAST_IOU:
        best = min(max(masks.intersection_over_union(mask, other) for other in ours) for mask in theirs)
        what = "are in another order than" if best >= LEAST_IOU else "differ from"
        message = f"masks of the example {name} {what} the reference: smallest overlap {row['mask_iou']:.4f}"
        return Reason("outputs-differ", f"{message} (limit {LEAST_IOU})")
    if row["score_diff"] > SCORE:
        message = f"the best mask of the example {name} has a score {row['score_diff']:.2g} from the reference"
        return Reason("outputs-differ", f"{message} (limit {SCORE:g})")
    return None


def _reference(model: StoredModel, example: int) -> Segmentation | None:
    stored = model.manifest.examples[example].masks
    return msgspec.json.decode((model.folder / stored.path).read_bytes(), type=Segmentation) if stored else None


def _decoded(mask: Mask, size: tuple[int, int]) -> masks.Bools:
    if mask.size != size or min(size) < 1:
        raise ValueError(f"a mask has the size {list(mask.size)}")
    return masks.decode(mask.counts, mask.size)


def _drawn(model: StoredModel, example: int, ours: Sequence[masks.Bools]) -> dict[str, str]:
    """Return the masks over the stored thumbnail."""
    stored = model.manifest.examples[example]
    if stored.thumbnail is None:
        return {}
    file = model.thumbnail(example)
    pixels = read(file).reshape(file.shape)
    return {"overlay": png_url(masks.overlay(pixels, ours))}
