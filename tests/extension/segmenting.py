"""Small encoders and decoders, and the masks of a grid of points computed with NumPy, step by step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from both import save
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIZE, LOW, GRID, MASKS = 64, 16, 4, 3
"""Sides of the encoder's input and of the logits, points along a side, masks of a prompt."""
F32 = np.float32


def tensor(name: str, *shape: int | str) -> Any:
    """Describe a float32 tensor."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def save_model(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], **weights: Any) -> Path:
    """Save a model of the nodes."""
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "segmenting", inputs, outputs, initializers)
    return save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def encoder(path: Path) -> Path:
    """Save an encoder whose embeddings are the means of 4 x 4 parts of the picture."""
    part = SIZE // 4
    node = helper.make_node("AveragePool", ["image"], ["means"], kernel_shape=[part, part], strides=[part, part])
    return save_model(path, [node], [tensor("image", 1, 3, SIZE, SIZE)], [tensor("means", 1, 3, 4, 4)])


INPUTS = {
    "image_embeddings": (1, 3, 4, 4),
    "point_coords": ("n", "p", 2),
    "point_labels": ("n", "p"),
    "mask_input": ("n", 1, LOW, LOW),
    "has_mask_input": ("n",),
}


def inputs(*names: str) -> list[Any]:
    """Describe inputs of a decoder; without names, all of them."""
    return [tensor(name, *INPUTS[name]) for name in names or INPUTS]


def lookup(path: Path, low: NDArray[np.float32], ious: NDArray[np.float32]) -> Path:
    """Save a decoder that looks up the masks of the cell, of GRID x GRID, that the first point is in."""
    nodes = [
        helper.make_node("Gather", ["point_coords", "first"], ["point"], axis=1),
        helper.make_node("Mul", ["point", "scale"], ["place"]),
        helper.make_node("Floor", ["place"], ["floor"]),
        helper.make_node("Cast", ["floor"], ["cell"], to=TensorProto.INT64),
        helper.make_node("Mul", ["cell", "stride"], ["steps"]),
        helper.make_node("ReduceSum", ["steps", "axis"], ["index"], keepdims=0),
        helper.make_node("Gather", ["low", "index"], ["low_res_masks"]),
        helper.make_node("Gather", ["ious", "index"], ["iou_predictions"]),
    ]
    outputs = [tensor("low_res_masks", "n", MASKS, LOW, LOW), tensor("iou_predictions", "n", MASKS)]
    constants = {"first": 0, "scale": F32(GRID / SIZE), "stride": np.array([1, GRID]), "axis": np.array([1])}
    return save_model(path, nodes, inputs(), outputs, low=low, ious=ious, **constants)


def blobs(seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return round masks of random places and sizes, three for each cell of the grid, and predicted IoUs."""
    random = np.random.default_rng(seed)
    count = (GRID * GRID, MASKS, 1, 1)
    y, x = np.mgrid[:LOW, :LOW]
    left, top, radius = random.uniform(0, LOW, count), random.uniform(0, LOW, count), random.uniform(1, LOW / 2, count)
    distance = np.hypot(x - left, y - top)
    steep = random.uniform(2, 40, count)
    noise = random.normal(0, 0.3, (GRID * GRID, MASKS, LOW, LOW))
    return ((radius - distance) * steep + noise).astype(F32), random.uniform(0.7, 1, count[:2]).astype(F32)


def taps(source: int, target: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float32]]:
    """Return the two positions of each target position, and the weight of the second, as torch's interpolation does."""
    if source == target:
        place = np.arange(target, dtype=F32)
    else:
        place = np.maximum(F32(source) / F32(target) * (np.arange(target, dtype=F32) + F32(0.5)) - F32(0.5), 0)
    low = place.astype(int)
    return low, np.minimum(low + 1, source - 1), (place - low).astype(F32)


def interpolate(masks: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Scale masks, bilinear, without anti-aliasing."""
    low, high, weight = taps(masks.shape[-1], width)
    across = masks[..., low] * (1 - weight) + masks[..., high] * weight
    low, high, weight = taps(masks.shape[-2], height)
    column: Any = weight[:, None]
    down: NDArray[np.float32] = across[..., low, :] * (1 - column) + across[..., high, :] * column
    return down


def scaled(height: int, width: int) -> tuple[int, int]:
    """Return the sides of a picture whose longer side becomes SIZE."""
    scale = SIZE / max(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)


def upscale(low: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Scale logits to a picture."""
    rows, columns = scaled(height, width)
    return interpolate(interpolate(low, SIZE, SIZE)[..., :rows, :columns], height, width)


def box_of(mask: NDArray[np.bool_]) -> list[int]:
    """Return the first and last column and row of a mask."""
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    return [columns[0], rows[0], columns[-1], rows[-1]] if rows.size else [0, 0, 0, 0]


def suppress(boxes: list[list[int]], scores: list[float], threshold: float) -> list[int]:
    """Return the indices of boxes that are no duplicates, the best first."""
    order = sorted(range(len(boxes)), key=lambda index: -scores[index])
    kept: list[int] = []
    for index in order:
        left, top, right, bottom = map(F32, boxes[index])
        for other in kept:
            own = [F32(edge) for edge in boxes[other]]
            across = max(F32(0), min(right, own[2]) - max(left, own[0]))
            down = max(F32(0), min(bottom, own[3]) - max(top, own[1]))
            areas = (own[2] - own[0]) * (own[3] - own[1]) + (right - left) * (bottom - top)
            union = areas - across * down
            if union and float(across * down / union) > threshold:
                break
        else:
            kept.append(index)
    return kept


def crops(height: int, width: int, layers: int) -> list[tuple[int, int, int, int]]:
    """Return left, top, right and bottom of the picture and of its crops, which overlap by 512 / 1500."""
    boxes = [(0, 0, width, height)]
    for layer in range(1, layers + 1):
        count = 2**layer
        overlap = int(512 / 1500 * min(height, width) * (2 / count))
        sides = [math.ceil((overlap * (count - 1) + side) / count) for side in (width, height)]
        starts = [[(side - overlap) * index for index in range(count)] for side in sides]
        boxes += [(x, y, min(x + sides[0], width), min(y + sides[1], height)) for x in starts[0] for y in starts[1]]
    return boxes


def small_regions(mask: NDArray[np.bool_], least: int) -> tuple[NDArray[np.bool_], bool]:
    """Fill small holes and remove small islands with OpenCV; return whether there were any."""
    import cv2

    changed = False
    for holes in (True, False):
        _, regions, stats, _ = cv2.connectedComponentsWithStats((holes ^ mask).astype(np.uint8), connectivity=8)
        areas = stats[1:, -1]
        small = [index + 1 for index, area in enumerate(areas) if area < least]
        if small:
            large = [index + 1 for index, area in enumerate(areas) if area >= least] or [int(areas.argmax()) + 1]
            mask, changed = np.isin(regions, [0, *small] if holes else large), True
    return mask, changed


def generate(
    low: NDArray[np.float32], ious: NDArray[np.float32], height: int, width: int, layers: int = 0, least: int = 0
) -> list[dict[str, Any]]:
    """Return the masks of the decoder `lookup`, as ``Segmenter.generate`` does with its default filters."""
    boxes = crops(height, width, layers)
    found: list[dict[str, Any]] = []
    for box in boxes:
        own = in_crop(low, ious, box, height, width)
        kept = suppress([record["box"] for record in own], [record["predicted_iou"] for record in own], 0.7)
        found += [own[index] for index in kept]
    if layers:
        areas = [(right - left) * (bottom - top) for left, top, right, bottom in (record["crop"] for record in found)]
        kept = suppress([record["box"] for record in found], [float(F32(1) / F32(area)) for area in areas], 0.7)
        found = [found[index] for index in kept]
    if least:
        scores = []
        for record in found:
            record["segmentation"], changed = small_regions(record["segmentation"], least)
            record["box"] = box_of(record["segmentation"]) if changed else record["box"]
            scores.append(0.0 if changed else 1.0)
        found = [found[index] for index in suppress([record["box"] for record in found], scores, 0.7)]
    return found


def in_crop(
    low: NDArray[np.float32], ious: NDArray[np.float32], crop: tuple[int, int, int, int], height: int, width: int
) -> list[dict[str, Any]]:
    """Return the masks of the points of a crop that pass the default filters."""
    left, top, right, bottom = crop
    rows, columns = scaled(bottom - top, right - left)
    places = np.linspace(1 / (2 * GRID), 1 - 1 / (2 * GRID), GRID)
    found = []
    for y in places * (bottom - top):
        for x in places * (right - left):
            cell = [F32(x * (columns / (right - left))), F32(y * (rows / (bottom - top)))]
            index = int(cell[0] * F32(GRID / SIZE)) + GRID * int(cell[1] * F32(GRID / SIZE))
            for logits, iou in zip(upscale(low[index], bottom - top, right - left), ious[index], strict=True):
                loose = (logits > -1).sum()
                stability = F32((logits > 1).sum()) / F32(loose) if loose else F32(0)
                mask = np.zeros((height, width), bool)
                mask[top:bottom, left:right] = logits > 0
                box = box_of(mask) if mask.any() else [left, top, left, top]
                near = np.abs(np.subtract(box, crop)) <= 20
                near &= ~(np.abs(np.subtract(box, (0, 0, width, height))) <= 20)
                if iou > F32(0.88) and stability >= F32(0.95) and not near.any():
                    kept = {"segmentation": mask, "box": box, "crop": crop, "predicted_iou": float(iou)}
                    found.append({**kept, "stability_score": float(stability), "point_coords": [[x + left, y + top]]})
    return found
