"""The export of a promptable model: weights, files, pictures with prompts, and what segment_anything makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import onnxruntime
import torch

from runoff.models.formats import compare
from runoff.models.promptable.fit import fit
from runoff.models.promptable.networks import (
    DECODERS,
    EMBEDDINGS,
    ENCODER_INPUT,
    decoder_specs,
    encoder_specs,
    write_decoder,
    write_encoder,
)
from runoff.models.promptable.pictures import LARGE, thumbnail, write_pictures
from runoff.models.weights import FITTED, build, load_weights, weights_source
from runoff.plan.settings import cores_in_affinity
from runoff.records.errors import RunoffError
from runoff.records.manifest import (
    Check,
    Decoder,
    Example,
    Manifest,
    StoredFile,
    StoredTensor,
    stored_file,
    stored_tensor,
    write_manifest,
)
from runoff.records.protocol import Prompt, Segmentation
from runoff_runners.pictures import prompt_points, read_picture
from runoff_runners.segment_torch import TorchSegmenter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from runoff.models.zoo import ZooModel

THUMBNAIL = 320
"""Pixels of the longer side of the pictures in reports."""
TOLERANCE = 1e-3
"""Largest difference of logits and scores from PyTorch, relative to the largest."""
CHECKED = ("wide.point", "tall.points")
"""Examples of different aspect ratios, on which the files are compared with PyTorch."""
_POINT = Prompt(points=((128.0, 128.0),), labels=(1,))


class Wanted(NamedTuple):
    """An example: what is segmented in a picture."""

    name: str
    picture: str
    prompts: tuple[Prompt, ...] | None = None


WANTED = (
    Wanted("geometric", "geometric"),
    Wanted("geometric.point", "geometric", (_POINT,)),
    Wanted("geometric.box", "geometric", (Prompt(box=(280.0, 50.0, 462.0, 196.0)),)),
    Wanted("wide", "wide"),
    Wanted("wide.point", "wide", (Prompt(points=((460.0, 90.0),), labels=(1,)),)),
    Wanted("tall", "tall"),
    Wanted("tall.points", "tall", (Prompt(points=((75.0, 120.0), (200.0, 20.0)), labels=(1, 0)),)),
    Wanted(LARGE, LARGE),
    Wanted(f"{LARGE}.point", LARGE, (Prompt(points=((640.0, 160.0),), labels=(1,)),)),
)
"""In the order of their pictures: each is encoded once."""


def export_promptable(
    model: ZooModel, folder: Path, weights: str, seed: int, say: Callable[[str], None], **described: Any
) -> Manifest:
    """Export `model` to the empty `folder`; write its manifest there and return it.

    Parameters
    ----------
    weights
        ``fitted``, or a file with a state dict.
    described
        Further fields of the manifest.

    Raises
    ------
    RunoffError
        If the weights do not fit, segment nothing, or a file's outputs differ from PyTorch's.
    """
    torch.manual_seed(seed)
    say(f"{model.name}: creating the network with weights {weights!r}")
    network: Any = build(model.builder)
    if weights == FITTED:
        fit(network, seed, say)
        described["weights"] = weights_source(model, weights, seed)
    else:
        described["weights"] = load_weights(network, model, weights, seed, torch.empty(0))
    for parameter in network.parameters():
        parameter.requires_grad_(requires_grad=False)
    # only the fit needs sums in one order
    torch.set_num_threads(cores_in_affinity())
    files, decoders = _write_files(network, folder, say)
    examples = _examples(network, folder, model, say)
    if weights == FITTED and not _masks_of(folder, examples[0]):
        raise RunoffError(f"the fitted weights of {model.name} keep no mask", "choose another --seed")
    say("checking the ONNX files against PyTorch")
    manifest = Manifest(
        name=model.name,
        builder=model.builder,
        inputs=encoder_specs(network)[:1],
        outputs=encoder_specs(network)[1:],
        segment=model.segment,
        files=files,
        data=tuple(stored_file(path) for path in sorted(folder.glob("*.data"))),
        decoders=decoders,
        examples=examples,
        checks=tuple(_checks(network, folder, model, examples)),
        batches=False,
        **described,
    )
    write_manifest(manifest, folder)
    return manifest


def _write_files(
    network: Any,  # noqa: ANN401
    folder: Path,
    say: Callable[[str], None],
) -> tuple[dict[str, StoredFile], dict[str, Decoder]]:
    say("writing model.pt and model.onnx")
    torch.save(network.state_dict(), folder / "model.pt")
    write_encoder(network, folder / "model.onnx")
    encoder = stored_file(folder / "model.onnx")
    decoders = {}
    for kind in DECODERS:
        path = folder / f"decoder-{kind}.onnx"
        say(f"writing {path.name}")
        write_decoder(network, kind, path)
        decoders[kind] = Decoder(stored_file(path), *decoder_specs(network, kind))
    # the version of a format chooses the decoder
    return {"pt": stored_file(folder / "model.pt"), "onnx": encoder, "onnx@full": encoder}, decoders


class _Remembering(torch.nn.Module):  # type: ignore[misc]
    """An encoder that encodes the same picture only once."""

    def __init__(self, encoder: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.encoder, self.img_size = encoder, encoder.img_size
        self._last: tuple[torch.Tensor, torch.Tensor] | None = None

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        if self._last is None or not torch.equal(pixels, self._last[0]):
            self._last = (pixels, self.encoder(pixels))
        return self._last[1]


def _examples(network: Any, folder: Path, model: ZooModel, say: Callable[[str], None]) -> tuple[Example, ...]:  # noqa: ANN401
    """Write the pictures, and for each example what segment_anything makes of it."""
    pictures, encoder = write_pictures(folder), network.image_encoder
    network.image_encoder = _Remembering(encoder)
    segmenter = TorchSegmenter(msgspec.to_builtins(model.segment), network)
    examples = []
    for wanted in WANTED:
        say(f"segmenting {wanted.name} with PyTorch")
        picture = read_picture(_request(pictures[wanted.picture], wanted.prompts, model), 0)
        outputs = segmenter.run(picture)
        masks = folder / f"{wanted.name}.masks.json"
        masks.write_bytes(msgspec.json.encode(segmenter.segmentation))
        small = folder / f"{wanted.picture}.small.bin"
        shown = thumbnail(picture.pixels, THUMBNAIL)
        small.write_bytes(shown.tobytes())
        examples.append(
            Example(
                wanted.name,
                {},
                dict(_references(folder, wanted, outputs)),
                stored_file(pictures[wanted.picture]),
                prompts=wanted.prompts,
                masks=stored_file(masks),
                thumbnail=stored_tensor(small, "uint8", shown.shape),
            )
        )
    network.image_encoder = encoder
    return tuple(examples)


def _references(folder: Path, wanted: Wanted, outputs: dict[str, NDArray[Any]]) -> Iterator[tuple[str, StoredTensor]]:
    """Write the outputs of an example; embeddings once a picture."""
    for name, array in outputs.items():
        stem = wanted.picture if name == EMBEDDINGS else wanted.name
        path = folder / f"{stem}.{name}.bin"
        path.write_bytes(array.astype("<f4").tobytes())
        yield name, stored_tensor(path, "float32", array.shape)


def _request(image: Path, prompts: tuple[Prompt, ...] | None, model: ZooModel) -> Any:  # noqa: ANN401
    """Return what is read of a request."""
    item = {"image": str(image), "prompts": msgspec.to_builtins(prompts)}
    return {"inputs": [item], "segment": msgspec.to_builtins(model.segment), "model": {"format": "pt"}}


def _masks_of(folder: Path, example: Example) -> int:
    """Return the number of masks of an example."""
    assert example.masks is not None  # noqa: S101 (for the type checker)
    return len(msgspec.json.decode((folder / example.masks.path).read_bytes(), type=Segmentation).masks)


def _checks(network: Any, folder: Path, model: ZooModel, examples: tuple[Example, ...]) -> Iterator[Check]:  # noqa: ANN401
    """Compare encoder and decoders with PyTorch, on pictures of different aspect ratios."""
    encoder = _session(folder / "model.onnx")
    decoders = {kind: _session(folder / f"decoder-{kind}.onnx") for kind in DECODERS}
    for example in examples:
        if example.name not in CHECKED or example.image is None:
            continue
        picture = read_picture(_request(folder / example.image.path, example.prompts, model), 0)
        embedding = np.fromfile(folder / example.references[EMBEDDINGS].path, "<f4")
        embedding = embedding.reshape(example.references[EMBEDDINGS].shape)
        tensor = network.preprocess(torch.from_numpy(picture.scaled.copy()).permute(2, 0, 1)[None]).numpy()
        encoded = encoder.run(None, {ENCODER_INPUT: tensor})[0]
        yield Check("onnx", 1, *compare("the encoder's file", encoded, embedding, 1, TOLERANCE))
        feed, wanted = _expected(network, picture, embedding)
        for kind, decoder in decoders.items():
            names = {node.name for node in decoder.get_inputs()}
            outputs = [node.name for node in decoder.get_outputs()]
            found = decoder.run(outputs, {name: array for name, array in feed.items() if name in names})
            for name, array in zip(outputs, found, strict=True):
                what = f"{name} of the {kind} decoder for {picture.size[1]} x {picture.size[0]} pixels"
                yield Check(f"decoder-{kind}", 1, *compare(what, array[:, 1:], wanted[name], 1, TOLERANCE))


def _expected(
    network: Any,  # noqa: ANN401
    picture: Any,  # noqa: ANN401
    embedding: NDArray[np.float32],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the inputs of a decoder for the first prompt of a picture, twice, and PyTorch's three masks of each."""
    points, labels = prompt_points(picture.prompts[0], picture)
    side = network.prompt_encoder.mask_input_size[0]
    feed = {
        EMBEDDINGS: embedding,
        "point_coords": np.stack([points, points]),
        "point_labels": np.stack([labels, labels]),
        "mask_input": np.zeros((2, 1, side, side), np.float32),
        "has_mask_input": np.zeros(2, np.float32),
        "orig_im_size": np.array(picture.size, np.float32),
    }
    given = torch.from_numpy(points[None, :-1]), torch.from_numpy(labels[None, :-1]).int()
    sparse, dense = network.prompt_encoder(points=given, boxes=None, masks=None)
    low, scores = network.mask_decoder(
        image_embeddings=torch.from_numpy(embedding),
        image_pe=network.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=True,
    )
    full = network.postprocess_masks(low, picture.frame, picture.size)
    wanted = {"low_res_masks": low, "iou_predictions": scores, "masks": full}
    return feed, {name: tensor.expand(2, *tensor.shape[1:]).numpy() for name, tensor in wanted.items()}


def _session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
