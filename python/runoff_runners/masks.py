"""Masks: run-length encoding, boxes, and pictures of them. NumPy only; runoff's reports use it too."""

from __future__ import annotations

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]

_COLOURS = np.array(
    [[213, 94, 0], [0, 114, 178], [0, 158, 115], [204, 121, 167], [230, 159, 0], [86, 180, 233], [240, 228, 66]], float
)
"""Okabe and Ito's scheme, RGB."""
_OPACITY = 0.55


def encode(mask: Bools) -> list[int]:
    """Return COCO's uncompressed run lengths of a mask, bool [height, width]: column by column, outside first."""
    flat = np.ravel(mask, order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(edges, prepend=0, append=flat.size)
    counts: list[int] = lengths.tolist()
    return [0, *counts] if flat.size and flat[0] else counts


def decode(counts: Sequence[int], size: Sequence[int]) -> Bools:
    """Return the mask, bool [height, width], of run lengths that `encode` made; `size` is height and width.

    Raises
    ------
    ValueError
        If the lengths do not add up to the size.
    """
    height, width = size
    if sum(counts) != height * width:
        raise ValueError(f"run lengths add up to {sum(counts)}, the image has {height * width} pixels")
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(width, height).T


def box_of(mask: Bools) -> tuple[int, int, int, int]:
    """Return the first and last column and row of a mask, as x0, y0, x1, y1; zeros if it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def intersection_over_union(one: Bools, other: Bools) -> float:
    """Return the intersection of two masks of one size over their union; 1 if both are empty."""
    union = np.count_nonzero(one | other)
    return float(np.count_nonzero(one & other) / union) if union else 1.0


def overlay(pixels: NDArray[np.uint8], masks: Sequence[Bools]) -> NDArray[np.uint8]:
    """Return a picture, uint8 [height, width, 3], with the masks drawn over it, the largest first.

    Masks of another size are sampled at the nearest pixels.
    """
    height, width, _ = pixels.shape
    drawn = pixels.astype(float)
    places = sorted(range(len(masks)), key=lambda place: -np.count_nonzero(masks[place]) / masks[place].size)
    for place in places:
        mask = masks[place]
        rows = (np.arange(height) + 0.5) * mask.shape[0] / height
        columns = (np.arange(width) + 0.5) * mask.shape[1] / width
        inside = mask[rows.astype(int)][:, columns.astype(int)]
        colour = _COLOURS[place % len(_COLOURS)]
        drawn[inside] = (1 - _OPACITY) * pixels[inside] + _OPACITY * colour
        drawn[inside & ~_eroded(inside)] = colour
    shown: NDArray[np.uint8] = drawn.round().astype(np.uint8)
    return shown


def _eroded(mask: Bools) -> Bools:
    """Return a mask without the pixels at its edge."""
    padded = np.pad(mask, 1)
    return mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
