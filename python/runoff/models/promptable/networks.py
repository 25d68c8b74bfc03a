"""The files of a promptable network: its encoder, and its decoder alone (``lean``) or with the upscaling (``full``)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import onnx
import torch
from segment_anything.utils.onnx import SamOnnxModel

from runoff.records.protocol import TensorSpec

if TYPE_CHECKING:
    from pathlib import Path

ENCODER_INPUT, EMBEDDINGS = "images", "image_embeddings"
DECODERS = ("lean", "full")
OPSET = 18
_DTYPE = "float32"


class LeanDecoder(torch.nn.Module):  # type: ignore[misc]  # torch has no types here
    """Prompt encoder and mask decoder, for any number of prompts of any number of points."""

    def __init__(self, network: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.prompts, self.decoder = network.prompt_encoder, network.mask_decoder
        self.size = network.image_encoder.img_size

    def forward(
        self,
        image_embeddings: torch.Tensor,
        point_coords: torch.Tensor,
        point_labels: torch.Tensor,
        mask_input: torch.Tensor,
        has_mask_input: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """Return the logits of the masks, [n, m, s, s], and their predicted quality, [n, m]."""
        labels = point_labels.unsqueeze(-1)
        # the centre of a pixel is half a pixel from its edge
        positions = self.prompts.pe_layer._pe_encoding((point_coords + 0.5) / self.size)  # noqa: SLF001
        sparse = positions * (labels != -1)
        for label, embedding in enumerate([self.prompts.not_a_point_embed, *self.prompts.point_embeddings], start=-1):
            sparse = sparse + (labels == label) * embedding.weight
        given = has_mask_input.reshape(-1, 1, 1, 1)
        dense = given * self.prompts.mask_downscaling(mask_input)
        dense = dense + (1 - given) * self.prompts.no_mask_embed.weight.reshape(1, -1, 1, 1)
        low, scores = self.decoder.predict_masks(
            image_embeddings=image_embeddings,
            image_pe=self.prompts.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
        )
        return low, scores


class FullDecoder(LeanDecoder):
    """The same, with the masks at the size of the picture."""

    def __init__(self, network: Any) -> None:  # noqa: ANN401
        super().__init__(network)
        self._scale_up = SamOnnxModel(network, return_single_mask=False).mask_postprocessing

    def forward(  # type: ignore[override]  # it takes the size of the picture too
        self,
        image_embeddings: torch.Tensor,
        point_coords: torch.Tensor,
        point_labels: torch.Tensor,
        mask_input: torch.Tensor,
        has_mask_input: torch.Tensor,
        orig_im_size: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """Return what `LeanDecoder` does, and the logits at the size of the picture, [n, m, height, width]."""
        low, scores = super().forward(image_embeddings, point_coords, point_labels, mask_input, has_mask_input)
        return low, scores, self._scale_up(low, orig_im_size)


def encoder_specs(network: Any) -> tuple[TensorSpec, TensorSpec]:  # noqa: ANN401
    """Return input and output of the encoder."""
    size, embedding = network.image_encoder.img_size, network.prompt_encoder.image_embedding_size
    shape = (1, network.prompt_encoder.embed_dim, *embedding)
    return TensorSpec(ENCODER_INPUT, _DTYPE, (1, 3, size, size)), TensorSpec(EMBEDDINGS, _DTYPE, shape)


def decoder_specs(network: Any, kind: str) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:  # noqa: ANN401
    """Return inputs and outputs of the decoder called `kind`; free dimensions are None."""
    low, count = network.prompt_encoder.mask_input_size, network.mask_decoder.num_mask_tokens
    inputs = {
        EMBEDDINGS: encoder_specs(network)[1].shape,
        "point_coords": (None, None, 2),
        "point_labels": (None, None),
        "mask_input": (None, 1, *low),
        "has_mask_input": (None,),
    }
    outputs = {"low_res_masks": (None, count, *low), "iou_predictions": (None, count)}
    if kind == "full":
        inputs["orig_im_size"] = (2,)
        outputs["masks"] = (None, count, None, None)
    specs = (tuple(TensorSpec(name, _DTYPE, shape) for name, shape in ports.items()) for ports in (inputs, outputs))
    taken, given = specs
    return taken, given


def write_encoder(network: Any, path: Path) -> None:  # noqa: ANN401
    """Write the encoder with its weights beside it, in ``PATH.data``: a file of ONNX holds 2 GB at most."""
    taken, given = encoder_specs(network)
    example = torch.zeros(*taken.shape)
    _export(network.image_encoder, (example,), path, [taken.name], [given.name], None, external=True)


def write_decoder(network: Any, kind: str, path: Path) -> None:  # noqa: ANN401
    """Write the decoder called `kind`, for any number of prompts, points and any size of the picture."""
    taken, given = decoder_specs(network, kind)
    # two prompts of three points
    free, names = torch.export.Dim, [spec.name for spec in taken]
    prompts, points = free("prompts"), free("points")
    dynamic: list[dict[int, Any]] = [{}, {0: prompts, 1: points}, {0: prompts, 1: points}, {0: prompts}, {0: prompts}]
    examples = [torch.zeros(*taken[0].shape), torch.full((2, 3, 2), 8.0), torch.ones(2, 3)]
    examples += [torch.zeros(2, *taken[3].shape[1:]), torch.zeros(2)]
    if kind == "full":
        dynamic.append({})
        examples.append(torch.tensor([36.0, 64.0]))
    decoder = (FullDecoder if kind == "full" else LeanDecoder)(network).eval()
    _export(decoder, tuple(examples), path, names, [spec.name for spec in given], tuple(dynamic), external=False)


def _export(
    network: Any,  # noqa: ANN401
    examples: tuple[torch.Tensor, ...],
    path: Path,
    inputs: list[str],
    outputs: list[str],
    dynamic: tuple[dict[int, Any], ...] | None,
    *,
    external: bool,
) -> None:
    """Write an ONNX file by `torch.export`: tracing would fix the crop of the padding at the traced size."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            examples,
            path,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=dynamic,
            opset_version=OPSET,
            dynamo=True,
            external_data=external,
            verbose=False,
        )
    onnx.checker.check_model(path)
