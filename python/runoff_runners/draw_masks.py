"""Draws masks: ``python draw_masks.py IMAGE MASKS.json FOLDER`` writes ``overlay.png`` and ``mask-000.png`` and so on.

MASKS.json has a list of `runoff.records.protocol.Mask`. It runs in the environment of ort-python, which has Pillow. A
failure is a line on stderr.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from runoff_runners import masks
from runoff_runners.preprocess import read_image
from runoff_runners.protocol import RunnerError


def main(image: str, file: str, folder: str) -> int:
    """Draw the masks; return the exit code."""
    try:
        pixels = np.asarray(read_image(image, lambda upright: upright))
        found = json.loads(Path(file).read_text(encoding="utf-8"))
        decoded = [masks.decode(one["counts"], one["size"]) for one in found]
        _save(masks.overlay(pixels, decoded), Path(folder, "overlay.png"))
        for number, mask in enumerate(decoded):
            _save(mask.astype(np.uint8) * 255, Path(folder, f"mask-{number:03}.png"))
    except (RunnerError, OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _save(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], path: Path) -> None:
    Image.fromarray(pixels).save(path)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
