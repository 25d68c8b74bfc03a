"""A network of segment_anything that works in seconds, and pictures for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from runoff_runners.request import check_request
from runoff_runners.torch_builders import sam_tiny

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 256
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def network(seed: int = 0) -> Any:
    """Return a network with random weights, whose masks are of all sizes."""
    torch.manual_seed(seed)
    made: Any = sam_tiny()
    with torch.no_grad():
        for parameter in made.mask_decoder.output_hypernetworks_mlps.parameters():
            parameter.mul_(3.0)
    return made


def picture_file(folder: Path, width: int, height: int) -> Path:
    """Write a picture of smooth noise."""
    rng = np.random.default_rng(width * height)
    small = rng.integers(0, 256, (height // 20 + 2, width // 20 + 2, 3), np.uint8)
    path = folder / f"{width}x{height}.png"
    Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path


def request(image: Path, prompts: list[dict[str, Any]] | None = None, **filters: Any) -> Any:
    """Return a checked request with one item; without filters, most masks are kept."""
    lenient = {"pred_iou_thresh": -10.0, "stability_score_thresh": 0.4, "points_per_side": 5, "points_per_batch": 7}
    port = {"name": "a", "dtype": "float32", "shape": [1]}
    document = {
        "case": "c",
        "workload": "segment",
        "model": {"name": "m", "path": "p", "format": "onnx", "sha256": "", "inputs": [port], "outputs": [port]},
        "inputs": [{"image": str(image), "prompts": prompts}],
        "segment": {"size": SIZE, "mean": MEAN, "std": STD, **lenient, **filters},
        "outputs_dir": "out",
    }
    return check_request(document)
