"""Segmentation in the Rust core, called from Python: pictures are read, and masks made, in Rust."""

from __future__ import annotations

from time import monotonic_ns

import numpy as np
import runoff_ort

from runoff_runners import masks
from runoff_runners.model import check_inputs, mismatch, model_path
from runoff_runners.request import FILTERS
from runoff_runners.segmentation import EMBEDDINGS, SCORES, mask_record
from runoff_runners.tensors import read_tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runoff_runners.interfaces import Array, Feed, Fields, Item, Prompt, Request, TensorSpec


class ExtensionSegmenter:
    """The extension's segmenter for `segment`: an iteration is an item of the request.

    Parameters
    ----------
    request
        The request.
    options
        Settings of both sessions.
    effective
        From the number of threads to the settings in effect.

    Raises
    ------
    RunnerError
        ``model-missing``, ``model-mismatch``: no decoder, or inputs that differ from the request's.
    """

    def __init__(self, request: Request, options: dict[str, Any], effective: Callable[[int | None], Fields]) -> None:
        self._request, self._spec, self._effective = request, request["segment"], effective
        decoder = request["model"].get("decoder")
        if decoder is None:
            raise mismatch("model.decoder: is missing; an encoder alone segments nothing")
        wanted: list[Request] = [request, {**request, "model": decoder}]
        frame = {name: self._spec[name] for name in ("size", "mean", "std", "mask_threshold")}
        self._segmenter = runoff_ort.Segmenter(*map(model_path, wanted), **frame, **options)
        for session, part in zip((self._segmenter.encoder, self._segmenter.decoder), wanted, strict=True):
            check_inputs([_spec(info) for info in session.inputs], part)
        self._masks = {
            (number, place): read_tensor(file, "mask", f"inputs[{number}].prompts[{place}].mask")
            for number, item in enumerate(request["inputs"])
            for place, prompt in enumerate(item.get("prompts") or [])
            if (file := prompt.get("mask"))
        }
        self.parts: dict[str, list[int]] = {"encode": [], "decode": [], "postprocess": []}
        self.segmentation: Fields = {}

    def effective(self) -> Fields:
        """Return the settings in effect, with the threads of the encoder's session."""
        return self._effective(self._segmenter.encoder.threads)

    def read(self, items: list[int]) -> int:
        """Read and preprocess the picture of an item; return the item."""
        (number,) = items
        self._segmenter.set_image(self._request["inputs"][number]["image"], encode=False)
        return number

    def run(self, feed: Feed) -> Feed:
        """Segment the picture that was read last, of the item that is the only value."""
        began = monotonic_ns()
        number = int(next(iter(feed.values())))
        item, segmenter = self._request["inputs"][number], self._segmenter
        segmenter.encode()
        outputs: Feed = {EMBEDDINGS: segmenter.image_embeddings}
        if item.get("prompts"):
            found, outputs[SCORES] = self._prompted(number, item)
        else:
            filters = {name: self._spec[name] for name in FILTERS}  # type: ignore[literal-required]
            generated = segmenter.generate(output_mode="uncompressed_rle", **filters)
            found = [{**one.pop("segmentation"), **one} for one in generated]
        self.segmentation = {"raw": segmenter.raw_masks, "masks": found}
        times = segmenter.timings
        encode, decode = times["encode"], times["decode"]
        for part, took in zip(self.parts, (encode, decode, monotonic_ns() - began - encode - decode), strict=True):
            self.parts[part].append(took)
        return outputs

    def _prompted(self, number: int, item: Item) -> tuple[list[Fields], Array]:
        """Return the masks of each prompt, and their scores, float32 [prompts, m]."""
        found, scores = [], []
        for place, prompt in enumerate(item["prompts"] or []):
            masked, quality = self._predict(prompt, self._masks.get((number, place)))
            found += [_record(mask, float(score)) for mask, score in zip(masked, quality, strict=True)]
            scores.append(quality)
        return found, np.stack(scores)

    def _predict(self, prompt: Prompt, mask: Array | None) -> tuple[Array, Array]:
        masked, quality, _ = self._segmenter.predict(
            prompt.get("points") or None, prompt.get("labels") or None, prompt.get("box"), mask, self._spec["multimask"]
        )
        return masked, quality


def _spec(info: runoff_ort.TensorInfo) -> TensorSpec:
    return {"name": info.name, "dtype": info.dtype, "shape": list(info.shape)}


def _record(mask: Array, score: float) -> Fields:
    """Return the record of a mask; the extension does not report the stability of a prompt's masks."""
    counts, (x0, y0, x1, y1) = masks.encode(mask), masks.box_of(mask)
    height, width = mask.shape
    return mask_record(counts, (height, width), [x0, y0, x1 - x0, y1 - y0], [0, 0, width, height], (score, 0.0))
