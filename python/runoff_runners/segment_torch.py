"""Segmentation as segment_anything does it itself, timed in parts."""

from __future__ import annotations

import numpy as np
import torch
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.utils import amg

from runoff_runners.request import FILTERS
from runoff_runners.segmentation import EMBEDDINGS, SCORES, Stopwatch, mask_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runoff_runners.interfaces import Feed, Fields, Segment
    from runoff_runners.pictures import Picture, PromptArrays


class TorchSegmenter:
    """A network with the interface of segment_anything's ``Sam``.

    Parameters
    ----------
    spec
        The request's `segment`.
    network
        In evaluation mode, on its device.
    wait
        Waits for the device, if it computes asynchronously.
    """

    def __init__(self, spec: Segment, network: Any, wait: Callable[[], None] | None = None) -> None:  # noqa: ANN401
        network.mask_threshold = spec["mask_threshold"]
        self._spec = spec
        self._watch = Stopwatch(wait)
        self._predictor = _Predictor(network, self._watch)
        filters = {name: spec[name] for name in FILTERS}  # type: ignore[literal-required]
        self._generator = SamAutomaticMaskGenerator(network, output_mode="uncompressed_rle", **filters)
        self._generator.predictor = self._predictor
        self.parts = self._watch.parts
        self.segmentation: Fields = {}

    def run(self, picture: Picture) -> Feed:
        """Segment a picture; return its embedding, and for prompts the predicted quality of their masks."""
        self._watch.begin()
        predictor = self._predictor
        predictor.begin(picture)
        outputs: Feed = {}
        if picture.prompts is None:
            found = [_generated(one) for one in self._generator.generate(picture.pixels)]
        else:
            predictor.set_image(picture.pixels)
            answers = [self._prompted(prompt) for prompt in picture.prompts]
            found = [one for records, _ in answers for one in records]
            outputs[SCORES] = np.stack([scores for _, scores in answers])
        self.segmentation = {"raw": predictor.raw, "masks": found}
        outputs = {EMBEDDINGS: predictor.embedding.cpu().numpy(), **outputs}
        self._watch.end()
        return outputs

    def _prompted(self, prompt: PromptArrays) -> tuple[list[Fields], Any]:
        """Return the masks of a prompt, and their scores, float32 [m]."""
        spec = self._spec
        # without a box, the padding needs points, even none
        has_points = prompt.box is None or len(prompt.points)
        logits, scores, _ = self._predictor.predict(
            prompt.points if has_points else None,
            prompt.labels if has_points else None,
            prompt.box,
            prompt.mask,
            multimask_output=spec["multimask"],
            return_logits=True,
        )
        masks = torch.from_numpy(logits)
        steady = amg.calculate_stability_score(masks, spec["mask_threshold"], spec["stability_score_offset"])
        inside = masks > spec["mask_threshold"]
        boxes, counts = amg.batched_mask_to_box(inside), amg.mask_to_rle_pytorch(inside)
        height, width = logits.shape[1:]
        records = [
            mask_record(
                counts[place]["counts"],
                [height, width],
                amg.box_xyxy_to_xywh(boxes[place]).tolist(),
                [0, 0, width, height],
                (float(scores[place]), float(steady[place])),
            )
            for place in range(len(scores))
        ]
        self._watch.lap("postprocess")
        return records, scores


class _Predictor(SamPredictor):  # type: ignore[misc]  # the package has no types here
    """A predictor that takes the scaled picture as it is, and keeps times, the embedding and the number of masks."""

    def __init__(self, network: Any, watch: Stopwatch) -> None:  # noqa: ANN401
        super().__init__(network)
        self._watch = watch
        self._scale_up = network.postprocess_masks
        network.postprocess_masks = self._timed_scale_up

    def begin(self, picture: Picture) -> None:
        """Begin with a picture."""
        self._picture = picture
        self.raw = 0
        self.embedding: Any = None

    def set_image(self, image: Any, image_format: str = "RGB") -> None:  # noqa: ANN401
        """Encode an image; of a crop, it is scaled first."""
        if image.shape != self._picture.pixels.shape:
            super().set_image(image, image_format)
            return
        scaled = torch.as_tensor(self._picture.scaled.copy(), device=self.device)
        self.set_torch_image(scaled.permute(2, 0, 1).contiguous()[None], image.shape[:2])

    def set_torch_image(self, transformed_image: Any, original_image_size: tuple[int, ...]) -> None:  # noqa: ANN401
        """Encode a scaled image."""
        self._watch.lap("postprocess")
        super().set_torch_image(transformed_image, original_image_size)
        self._watch.lap("encode")
        if self.embedding is None:
            self.embedding = self.features

    def predict_torch(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        """Decode prompts; the upscaling within is timed by `_timed_scale_up`."""
        self._watch.lap("postprocess")
        masks, scores, low = super().predict_torch(*arguments, **options)
        self._watch.lap("postprocess")
        self.raw += scores.numel()
        return masks, scores, low

    def _timed_scale_up(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        self._watch.lap("decode")
        return self._scale_up(*arguments, **options)


def _generated(one: dict[str, Any]) -> Fields:
    """Return a record of `SamAutomaticMaskGenerator` as the protocol has it."""
    encoded, quality = one["segmentation"], (one["predicted_iou"], one["stability_score"])
    return mask_record(encoded["counts"], encoded["size"], one["bbox"], one["crop_box"], quality, one["point_coords"])
