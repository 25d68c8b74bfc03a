"""Segmentation around an encoder and a decoder that any runtime computes, with NumPy and OpenCV, never PyTorch.

The steps are those of segment_anything's ``SamPredictor`` and ``SamAutomaticMaskGenerator``, with its results. Unlike
there, masks are filtered by their predicted quality before they are scaled up, one at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from runoff_runners import grid, masks
from runoff_runners.opencv import cv2
from runoff_runners.pictures import in_frame, part_of, prompt_points
from runoff_runners.segmentation import EMBEDDINGS, SCORES, Stopwatch, mask_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from runoff_runners.grid import Box
    from runoff_runners.interfaces import Feed, Fields, Segment
    from runoff_runners.masks import Bools
    from runoff_runners.pictures import Floats, Picture

_BOTH = 4
"""Masks of a decoder that has one for an unambiguous prompt, then those for an ambiguous one."""


class Decoded(NamedTuple):
    """What a decoder gives for n prompts of m masks each."""

    low: Floats
    """[n, m, s, s]: logits, of which the lower and right parts may be padding."""
    scores: Floats
    """[n, m]: predicted intersection over union."""
    full: Floats | None = None
    """[n, m, height, width]: logits at the size of the picture, if the decoder scales them up."""


class Candidate(NamedTuple):
    """A mask of a picture."""

    counts: list[int]
    box: Box
    """First and last column and row."""
    score: float
    stability: float
    points: list[list[float]]
    crop: Box


class Segmenter:
    """A promptable model.

    Parameters
    ----------
    spec
        The request's `segment`.
    encode
        From float32 [1, 3, size, size] to the embedding, float32 [1, c, e, e].
    decode
        From the embedding, points [n, p, 2] in the frame, labels [n, p], the logits of an earlier mask ([1, s, s], or
        None) and height and width of the picture.
    """

    def __init__(
        self,
        spec: Segment,
        encode: Callable[[Floats], Floats],
        decode: Callable[[Floats, Floats, Floats, Floats | None, tuple[int, int]], Decoded],
    ) -> None:
        self._spec = spec
        self._encode = encode
        self._decode = decode
        self._watch = Stopwatch()
        self._raw = 0
        self.parts = self._watch.parts
        self.segmentation: Fields = {}

    def run(self, picture: Picture) -> Feed:
        """Segment a picture; return its embedding, and for prompts the predicted quality of their masks."""
        self._watch.begin()
        self._raw = 0
        embedding = self._embed(picture)
        outputs: Feed = {EMBEDDINGS: embedding}
        if picture.prompts is None:
            found = self._everything(picture, embedding)
        else:
            found, outputs[SCORES] = self._prompted(picture, embedding)
        self.segmentation = {"raw": self._raw, "masks": [_record(one, picture.size) for one in found]}
        self._watch.end()
        return outputs

    def _embed(self, picture: Picture) -> Floats:
        assert picture.tensor is not None  # noqa: S101 (for the type checker)
        embedding = self._encode(picture.tensor)
        self._watch.lap("encode")
        return embedding

    def _prompted(self, picture: Picture, embedding: Floats) -> tuple[list[Candidate], Floats]:
        """Return all masks of each prompt, and their scores, float32 [prompts, m]."""
        found, scores = [], []
        crop = (0, 0, picture.size[1], picture.size[0])
        for prompt in picture.prompts or ():
            points, labels = prompt_points(prompt, picture)
            decoded = self._decode(embedding, points[None], labels[None], prompt.mask, picture.size)
            self._watch.lap("decode")
            decoded = _chosen(decoded, several=self._spec["multimask"])
            for number, score in enumerate(decoded.scores[0]):
                logits = self._logits(decoded, 0, number, picture)
                mask = logits > np.float32(self._spec["mask_threshold"])
                found.append(_candidate(mask, masks.box_of(mask), crop, picture.size, score, self._stability(logits)))
            scores.append(decoded.scores[0])
            self._raw += len(decoded.scores[0])
            self._watch.lap("postprocess")
        return found, np.stack(scores)

    def _everything(self, picture: Picture, embedding: Floats) -> list[Candidate]:
        """Return the masks of a grid of points, in the whole picture and in crops of it, without duplicates."""
        spec, (height, width) = self._spec, picture.size
        crops = grid.crop_boxes(height, width, spec["crop_n_layers"], spec["crop_overlap_ratio"])
        found: list[Candidate] = []
        for number, (box, layer) in enumerate(crops):
            part = picture if number == 0 else part_of(picture, box, spec)
            found += self._in_crop(part, embedding if number == 0 else self._embed(part), box, layer, picture.size)
        if len(crops) > 1:
            # masks of smaller crops are better
            areas = [(one.crop[2] - one.crop[0]) * (one.crop[3] - one.crop[1]) for one in found]
            scores = [float(np.float32(1) / np.float32(area)) for area in areas]
            kept = grid.best_boxes([one.box for one in found], scores, spec["crop_nms_thresh"])
            found = [found[place] for place in kept]
        return self._without_small(found, picture.size) if spec["min_mask_region_area"] else found

    def _in_crop(
        self, part: Picture, embedding: Floats, box: Box, layer: int, size: tuple[int, int]
    ) -> list[Candidate]:
        """Return the masks of one crop of a picture of `size`, without duplicates, in the picture's pixels."""
        spec, (height, width) = self._spec, part.size
        points = grid.points_in_layer(spec["points_per_side"], layer, spec["crop_n_points_downscale_factor"])
        points = points * [width, height]
        found: list[Candidate] = []
        for begin in range(0, len(points), spec["points_per_batch"]):
            batch = points[begin : begin + spec["points_per_batch"]]
            found += self._of_points(batch, part, embedding, box, size)
            self._watch.lap("postprocess")
        left, upper, _, _ = box
        inside = [(one.box[0] - left, one.box[1] - upper, one.box[2] - left, one.box[3] - upper) for one in found]
        kept = grid.best_boxes(inside, [one.score for one in found], spec["box_nms_thresh"])
        return [found[place] for place in kept]

    def _of_points(
        self, points: NDArray[np.float64], part: Picture, embedding: Floats, box: Box, size: tuple[int, int]
    ) -> Iterator[Candidate]:
        """Yield the masks of a batch of points in a crop, float64 [n, 2], that pass the filters."""
        spec, (left, upper, _, _) = self._spec, box
        # each point is followed by padding, as without a box
        coordinates = np.stack([in_frame(points, part), np.zeros_like(points)], axis=1).astype(np.float32)
        labels = np.tile(np.array([1, -1], np.float32), (len(points), 1))
        decoded = self._decode(embedding, coordinates, labels, None, part.size)
        self._watch.lap("decode")
        decoded = _chosen(decoded, several=True)
        self._raw += decoded.scores.size
        least = np.float32(spec["pred_iou_thresh"])
        wanted = decoded.scores > least if least > 0 else np.ones_like(decoded.scores, bool)
        for place, number in np.argwhere(wanted):
            logits = self._logits(decoded, place, number, part)
            steady = self._stability(logits)
            lowest = np.float32(spec["stability_score_thresh"])
            if lowest > 0 and not steady >= lowest:
                continue
            mask = logits > np.float32(spec["mask_threshold"])
            inside = masks.box_of(mask)
            if not grid.is_cut_off(inside, box, *size):
                point = [float(points[place, 0] + left), float(points[place, 1] + upper)]
                yield _candidate(mask, inside, box, size, decoded.scores[place, number], steady, [point])

    def _logits(self, decoded: Decoded, place: int, number: int, picture: Picture) -> Floats:
        """Return the logits of one mask, float32 [height, width] of the picture."""
        if decoded.full is not None:
            full: Floats = decoded.full[place, number]
            return full
        (rows, columns), (height, width), side = picture.frame, picture.size, self._spec["size"]
        large = cv2.resize(decoded.low[place, number], (side, side), interpolation=cv2.INTER_LINEAR)
        fitting: Floats = cv2.resize(large[:rows, :columns], (width, height), interpolation=cv2.INTER_LINEAR)
        return fitting

    def _stability(self, logits: Floats) -> np.float32:
        return grid.stability(logits, self._spec["mask_threshold"], self._spec["stability_score_offset"])

    def _without_small(self, found: list[Candidate], size: tuple[int, int]) -> list[Candidate]:
        """Return the masks without small holes and parts, and without those that became duplicates by that."""
        least, cleaned, scores = self._spec["min_mask_region_area"], [], []
        for one in found:
            mask, filled = grid.without_small(masks.decode(one.counts, size), least, holes=True)
            mask, removed = grid.without_small(mask, least, holes=False)
            # unchanged ones are better
            scores.append(float(not (filled or removed)))
            cleaned.append(_changed(one, mask) if filled or removed else one)
        threshold = max(self._spec["box_nms_thresh"], self._spec["crop_nms_thresh"])
        return [cleaned[place] for place in grid.best_boxes([one.box for one in cleaned], scores, threshold)]


def _candidate(
    mask: Bools,
    inside: Box,
    crop: Box,
    size: tuple[int, int],
    score: np.float32,
    steady: np.float32,
    points: list[list[float]] | None = None,
) -> Candidate:
    """Return the mask of a crop, with the box `inside` it, in a picture of `size`."""
    left, upper, right, lower = crop
    x0, y0, x1, y1 = inside
    if mask.shape != size:
        whole = np.zeros(size, bool)
        whole[upper:lower, left:right] = mask
        mask = whole
    box = (x0 + left, y0 + upper, x1 + left, y1 + upper)
    return Candidate(masks.encode(mask), box, float(score), float(steady), points or [], crop)


def _changed(one: Candidate, mask: Bools) -> Candidate:
    return one._replace(counts=masks.encode(mask), box=masks.box_of(mask))


def _chosen(decoded: Decoded, *, several: bool) -> Decoded:
    """Return the masks for an ambiguous prompt, or else the one for a prompt that is not: the first.

    Only a decoder of four masks has one for each kind of prompt.
    """
    has_both = decoded.scores.shape[1] == _BOTH
    if several and not has_both:
        return decoded
    part = slice(1, None) if several else slice(0, 1)
    full = None if decoded.full is None else decoded.full[:, part]
    return Decoded(decoded.low[:, part], decoded.scores[:, part], full)


def _record(one: Candidate, size: tuple[int, int]) -> Fields:
    box, crop = _corner_and_size(one.box), _corner_and_size(one.crop)
    return mask_record(one.counts, size, box, crop, (one.score, one.stability), one.points)


def _corner_and_size(box: Box) -> list[int]:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]
