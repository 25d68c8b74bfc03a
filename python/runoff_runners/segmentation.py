"""What every path of `segment` reports: names of outputs, masks, and times of the parts. Standard library only."""

from __future__ import annotations

from math import isnan
from time import monotonic_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runoff_runners.interfaces import Fields


EMBEDDINGS, SCORES = "image_embeddings", "iou_predictions"
"""Outputs that are compared with the reference."""


def mask_record(
    counts: list[int],
    size: Sequence[int],
    box: list[int],
    crop: list[int],
    quality: tuple[float, float],
    points: Sequence[list[float]] = (),
) -> Fields:
    """Return `runoff.records.protocol.Mask`; `quality` is its predicted intersection over union and its stability.

    Of an empty mask, segment_anything's stability is not a number.
    """
    return {
        "size": [*size],
        "counts": counts,
        "area": sum(counts[1::2]),
        "bbox": box,
        "predicted_iou": quality[0],
        "stability_score": 0.0 if isnan(quality[1]) else quality[1],
        "point_coords": [*points],
        "crop_box": crop,
    }


class Stopwatch:
    """The time of the parts of each inference.

    Parameters
    ----------
    wait
        Waits for the device; by default, there is nothing to wait for.
    """

    def __init__(self, wait: Callable[[], None] | None = None) -> None:
        self.parts: dict[str, list[int]] = {"encode": [], "decode": [], "postprocess": []}
        self._wait = wait
        self.begin()

    def begin(self) -> None:
        """Begin an inference."""
        self._spent = dict.fromkeys(self.parts, 0)
        self._at = monotonic_ns()

    def lap(self, part: str) -> None:
        """Add the time since the last call to `part`."""
        if self._wait:
            self._wait()
        now = monotonic_ns()
        self._spent[part] += now - self._at
        self._at = now

    def end(self) -> None:
        """End the inference; what is left of it is ``postprocess``."""
        self.lap("postprocess")
        for part, ns in self._spent.items():
            self.parts[part].append(ns)
