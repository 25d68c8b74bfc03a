"""What segment_anything does around its networks, in NumPy: grids and crops, and the filters of masks.

Names, order and ties are those of segment_anything 1.0 and torchvision's ``batched_nms``; tests compare them.
"""

from __future__ import annotations

from itertools import product
from math import ceil

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from runoff_runners.masks import Bools

    Box = tuple[int, int, int, int]

NEAR = 20
"""Pixels from the edge of a crop within which a box may be cut off."""


def point_grid(per_side: int) -> NDArray[np.float64]:
    """Return evenly spaced points, float64 [per_side ** 2, 2] in x, y from 0 to 1, row by row."""
    steps = np.linspace(1 / (2 * per_side), 1 - 1 / (2 * per_side), per_side)
    return np.stack([np.tile(steps, per_side), np.repeat(steps, per_side)], axis=1)


def points_in_layer(per_side: int, layer: int, downscale: int) -> NDArray[np.float64]:
    """Return the grid of a layer of crops; each layer has `downscale` times fewer points a side."""
    return point_grid(int(per_side / downscale**layer))


def crop_boxes(height: int, width: int, layers: int, overlap_ratio: float) -> list[tuple[Box, int]]:
    """Return the crops of a picture (left, upper, right, lower edge) with their layers; the first is all of it.

    Layer i has ``(2 ** i) ** 2`` crops, column by column, that overlap by `overlap_ratio` of the shorter side, the less
    the more there are.
    """
    crops = [((0, 0, width, height), 0)]
    for layer in range(1, layers + 1):
        count = 2**layer
        overlap = int(overlap_ratio * min(height, width) * (2 / count))
        across, down = (ceil((overlap * (count - 1) + side) / count) for side in (width, height))
        for column, row in product(range(count), repeat=2):
            left, upper = (across - overlap) * column, (down - overlap) * row
            crops.append(((left, upper, min(left + across, width), min(upper + down, height)), layer))
    return crops


def is_cut_off(box: Box, crop: Box, height: int, width: int) -> bool:
    """Return whether a box within `crop` comes close to an edge of it that is not close to one of the picture."""
    left, upper, _, _ = crop
    placed = (box[0] + left, box[1] + upper, box[2] + left, box[3] + upper)
    edges = zip(placed, crop, (0, 0, width, height), strict=True)
    return any(abs(one - edge) <= NEAR and abs(one - end) > NEAR for one, edge, end in edges)


def best_boxes(boxes: Sequence[Sequence[float]], scores: Sequence[float], threshold: float) -> list[int]:
    """Return the indices of the boxes that no better one overlaps by more than `threshold`, the best first.

    As torchvision's ``nms``: of equal scores the first is better; areas and overlaps are float32.
    """
    edges = np.array(boxes, np.float32).reshape(-1, 4)
    areas = (edges[:, 2] - edges[:, 0]) * (edges[:, 3] - edges[:, 1])
    left = np.argsort(-np.array(scores, np.float32), kind="stable")
    kept = []
    while left.size:
        best, left = left[0], left[1:]
        kept.append(int(best))
        inner = np.minimum(edges[best, 2:], edges[left, 2:]) - np.maximum(edges[best, :2], edges[left, :2])
        shared = np.prod(np.maximum(inner, 0), axis=1)
        with np.errstate(invalid="ignore"):  # boxes without an area
            overlap = shared / (areas[best] + areas[left] - shared)
        left = left[~(overlap.astype(np.float64) > threshold)]
    return kept


def stability(logits: NDArray[np.float32], threshold: float, offset: float) -> np.float32:
    """Return the share of a mask that stays if its threshold is `offset` higher instead of lower; 0 if it is empty."""
    inner = np.count_nonzero(logits > np.float32(threshold + offset))
    outer = np.count_nonzero(logits > np.float32(threshold - offset))
    return np.float32(inner) / np.float32(outer) if outer else np.float32(0)


def without_small(mask: Bools, least: int, *, holes: bool) -> tuple[Bools, bool]:
    """Return a mask without its `holes`, or else its parts, of less than `least` pixels, and whether that changed it.

    Diagonal neighbours belong together. If every part is small, the largest stays.
    """
    from runoff_runners.opencv import cv2

    count, labels, statistics, _ = cv2.connectedComponentsWithStats((mask != holes).astype(np.uint8), connectivity=8)
    sizes = statistics[1:, cv2.CC_STAT_AREA]
    small = np.flatnonzero(sizes < least) + 1
    if not small.size:
        return mask, False
    if holes:
        return np.isin(labels, [0, *small]), True
    kept = np.setdiff1d(np.arange(1, count), small)
    return np.isin(labels, kept if kept.size else [int(np.argmax(sizes)) + 1]), True
