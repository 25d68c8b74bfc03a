"""Segmentation with an encoder and a decoder in ONNX files, each a session of a runtime that takes arrays by name."""

from __future__ import annotations

import numpy as np

from runoff_runners.model import mismatch
from runoff_runners.opencv import cv2
from runoff_runners.protocol import RunnerError
from runoff_runners.segmentation import SCORES
from runoff_runners.segmenting import Decoded, Segmenter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol

    from runoff_runners.interfaces import Array, Feed, Fields, Request, Session, TensorSpec
    from runoff_runners.pictures import Floats

    class FileSession(Session, Protocol):
        """A session that knows the inputs of its file."""

        inputs: list[TensorSpec]


LOW, FULL = "low_res_masks", "masks"
MASK, HAS_MASK = "mask_input", "has_mask_input"
KNOWN = ("image_embeddings", "point_coords", "point_labels", MASK, HAS_MASK, "orig_im_size")
"""Inputs of a decoder that can be filled."""


class OnnxSegmenter:
    """Two sessions for `segment`: an iteration is a picture with its prompts.

    Parameters
    ----------
    request
        The request.
    open_session
        Loads the model of a request.

    Raises
    ------
    RunnerError
        ``model-mismatch``: no decoder; ``model-unsupported``: the decoder has an input that is not among `KNOWN`; those
        of `open_session`.
    """

    def __init__(self, request: Request, open_session: Callable[[Request], FileSession]) -> None:
        cv2.setNumThreads(request["settings"]["threads"])
        decoder = request["model"].get("decoder")
        if decoder is None:
            raise mismatch("model.decoder: is missing; an encoder alone segments nothing")
        self._encoder = open_session(request)
        self._decoder = open_session({**request, "model": decoder})
        self._specs = check_decoder(self._decoder.inputs)
        self._input, self._output = request["model"]["inputs"][0]["name"], request["model"]["outputs"][0]["name"]
        self._segmenter = Segmenter(request["segment"], self._encode, self._decode)
        self.parts = self._segmenter.parts

    @property
    def segmentation(self) -> Fields:
        """The masks of the latest picture."""
        return self._segmenter.segmentation

    def run(self, feed: Feed) -> Feed:
        """Segment one picture."""
        (picture,) = feed.values()
        return self._segmenter.run(picture)  # type: ignore[arg-type]  # of this workload, feeds are pictures

    def effective(self) -> Fields:
        """Return the settings in effect of the encoder's session."""
        return self._encoder.effective()

    def _encode(self, tensor: Floats) -> Floats:
        return self._encoder.run({self._input: tensor})[self._output]

    def _decode(
        self, embedding: Floats, points: Floats, labels: Floats, mask: Floats | None, size: tuple[int, int]
    ) -> Decoded:
        if self._specs["point_coords"]["shape"][0] == 1:
            each = range(len(points))
            return _joined([self._call(embedding, points[i : i + 1], labels[i : i + 1], mask, size) for i in each])
        return self._call(embedding, points, labels, mask, size)

    def _call(
        self, embedding: Floats, points: Floats, labels: Floats, mask: Floats | None, size: tuple[int, int]
    ) -> Decoded:
        found = self._decoder.run(make_feed(self._specs, embedding, points, labels, mask, size))
        return Decoded(found[LOW], found[SCORES], found.get(FULL))


def check_decoder(inputs: Sequence[TensorSpec]) -> dict[str, TensorSpec]:
    """Return the inputs of a decoder's file by name.

    Raises
    ------
    RunnerError
        ``model-unsupported``: one cannot be filled, or points cannot be given.
    """
    specs = {spec["name"]: spec for spec in inputs}
    unknown = [name for name in specs if name not in KNOWN]
    missing = [name for name in KNOWN[:3] if name not in specs]
    if unknown or missing:
        what = f"too many are {', '.join(unknown)}" if unknown else f"missing are {', '.join(missing)}"
        raise _unsupported(f"model.decoder: takes {', '.join(specs)}; {what}")
    return specs


def make_feed(
    specs: dict[str, TensorSpec],
    embedding: Floats,
    points: Floats,
    labels: Floats,
    mask: Floats | None,
    size: tuple[int, int],
) -> Feed:
    """Return the inputs of a decoder for n prompts, of those that its file has.

    Parameters
    ----------
    specs
        From `check_decoder`.
    embedding
        float32 [1, c, e, e].
    points, labels
        float32 [n, p, 2] in the frame, and [n, p].
    mask
        float32 [1, s, s]: logits of an earlier mask.
    size
        Height and width of the picture.

    Raises
    ------
    RunnerError
        ``model-unsupported``: there is a mask, and the decoder does not take one; ``bad-request``: of another size.
    """
    side, count = 4 * embedding.shape[-1], len(points)
    if mask is not None and MASK not in specs:
        raise _unsupported(f"model.decoder: takes {', '.join(specs)}; for a prompt with a mask, {MASK} is missing")
    if mask is not None and mask.shape[-1] != side:
        message = f"prompts: a mask has {mask.shape[-1]} x {mask.shape[-1]} logits; the decoder takes {side} x {side}"
        raise RunnerError("bad-request", message, "give the low_res_masks of an earlier prompt")
    masks = np.zeros((count, 1, side, side), np.float32) if mask is None else mask[None]
    given: dict[str, Array] = {
        "image_embeddings": embedding,
        "point_coords": points,
        "point_labels": labels,
        MASK: masks,
        # as many as there are prompts, or one for all of them
        HAS_MASK: np.full(_first(specs, HAS_MASK) or count, mask is not None, np.float32),
        "orig_im_size": np.array(size, np.float32),
    }
    return {name: given[name].astype(spec["dtype"], copy=False) for name, spec in specs.items()}


def _first(specs: dict[str, TensorSpec], name: str) -> int | None:
    """Return the first dimension of an input if the file fixes it."""
    return specs[name]["shape"][0] if name in specs and specs[name]["shape"] else None


def _joined(found: Sequence[Decoded]) -> Decoded:
    full = [one.full for one in found if one.full is not None]
    low, scores = (np.concatenate(arrays) for arrays in ([one.low for one in found], [one.scores for one in found]))
    return Decoded(low, scores, np.concatenate(full) if full else None)


def _unsupported(message: str) -> RunnerError:
    hint = "export the decoder with the inputs in protocol/README.md, Segmentation"
    return RunnerError("model-unsupported", message, hint)
