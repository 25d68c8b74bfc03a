"""What every path of `segment` reports: the names of its outputs, and the times of its parts. Standard library only."""

from __future__ import annotations

from time import monotonic_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


EMBEDDINGS, SCORES = "image_embeddings", "iou_predictions"
"""Outputs that are compared with the reference."""
FILTERS = (
    *("points_per_side", "points_per_batch", "pred_iou_thresh", "stability_score_thresh", "stability_score_offset"),
    *("box_nms_thresh", "crop_n_layers", "crop_nms_thresh", "crop_overlap_ratio", "crop_n_points_downscale_factor"),
    "min_mask_region_area",
)
"""Fields of the request's `segment` that are arguments of ``SamAutomaticMaskGenerator``."""


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
