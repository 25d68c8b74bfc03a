"""Weights for a network like segment_anything's that segment flat shapes, made without a checkpoint.

Random weights give no masks at all. Here the encoder is seeded, its residual branches scaled down so that each patch
keeps its own content; the decoder's attention is set so that every mask token looks up the content at the prompt; and
only the heads behind it (upscaling, masks, quality) are fitted, on random shapes. The result finds areas of the colour
at the prompt. It says nothing about the quality of published weights, and is always labelled ``fitted``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from runoff.models.promptable.pictures import random_shapes

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from runoff.models.promptable.pictures import Pixels

CALM = 0.02
"""Factor of residual branches."""
PICTURES, PROMPTS, STEPS = 64, 12, 3000
WINDOW = 24
"""Patches a side of the part of a picture that a step sees."""
RATE = 2e-3
FREQUENCY = 2.0
"""Standard deviation of the frequencies of the positions: higher than published, so a lookup is sharper."""
SHARPNESS = 16.0
"""Factor of the queries of a lookup."""
MARK = 10.0
"""What marks the prompts that are looked up: points on the object and corners of a box."""
CONSTANT = 4.0
"""Content that is the same everywhere, so that normalising a patch keeps its brightness."""
COLOURS, KEPT = 48, 50
"""Channels of the colours of a patch, and with the two that are constant."""
BRIGHT = 6.0
"""Added to normalised colours, where a GELU passes on what is positive."""
_INSIDE = 16
"""Pixels around most points of the lessons that belong to the same shape."""
_REPORTED = 500


class Lesson(NamedTuple):
    """A picture of random shapes, as the heads see it, with prompts and their true masks."""

    keys: Tensor
    """[1, c, e, e]"""
    tokens: Tensor
    """[prompts, 1 + m, c]: of the quality, then of each mask."""
    truth: Tensor
    """bool [prompts, 1, s, s]"""


def fit(network: Any, seed: int, say: Callable[[str], None]) -> None:  # noqa: ANN401 (segment_anything has no types)
    """Set the weights of `network`, which was built after ``torch.manual_seed(seed)``; takes 1 to 4 minutes."""
    # the positions in one half are looked up, the content is in the other
    size = network.prompt_encoder.embed_dim
    half = torch.arange(size // 4)
    places = torch.cat([half, size // 2 + half])
    content = torch.cat([size // 4 + half, size // 2 + size // 4 + half])
    with torch.no_grad():
        _set_encoder(network.image_encoder, content)
        for parameter in network.image_encoder.neck[-1].parameters():
            parameter[places] = 0.0
        _set_prompts(network.prompt_encoder, places, content)
        _set_decoder(network.mask_decoder, places, content)
        rng = np.random.default_rng(seed)
        say(f"drawing {PICTURES} pictures to fit the heads on")
        lessons = [_lesson(network, rng) for _ in range(PICTURES)]
    _train(network.mask_decoder, lessons, rng, say)


def _set_encoder(encoder: Any, content: Tensor) -> None:  # noqa: ANN401
    """Calm the residual branches, and keep the colours of each patch in the channels `content`."""
    if hasattr(encoder, "layers"):
        _set_tiny_vit(encoder)
    else:
        _set_vit(encoder)
    first, _, second, last = encoder.neck
    first.weight.mul_(CALM)
    second.weight.mul_(CALM)
    for number in range(KEPT):
        first.weight[content[number], number, 0, 0] = 1.0
    for channel in content:
        second.weight[channel, channel, 1, 1] = 1.0
    last.weight.mul_(0.5)


def _set_vit(encoder: Any) -> None:  # noqa: ANN401
    """Let the first channels of a patch be the mean colours of its 16 parts, in segment_anything's own encoder."""
    encoder.pos_embed.normal_(0.0, CALM)
    for block in encoder.blocks:
        for table in (block.attn.rel_pos_h, block.attn.rel_pos_w):
            table.normal_(0.0, CALM)
        _calm(block.attn.proj, block.mlp.lin2)
    patches = encoder.patch_embed.proj
    side = patches.kernel_size[0] // 4
    patches.bias.zero_()
    for number in range(COLOURS):
        part, colour = divmod(number, 3)
        row, column = (side * index for index in divmod(part, 4))
        patches.weight[number] = 0.0
        patches.weight[number, colour, row : row + side, column : column + side] = side**-2
    _set_constants(patches.weight, patches.bias)


def _set_tiny_vit(encoder: Any) -> None:  # noqa: ANN401
    """Do the same in TinyViT: of four steps that halve the picture, two average and two put pixels side by side."""
    for name, layer in encoder.named_modules():
        if name.endswith(("attn.proj", "mlp.fc2")):
            _calm(layer)
        elif ".blocks." in name and name.endswith("conv3.bn"):
            layer.weight.fill_(CALM)
        elif name.endswith("local_conv.c"):
            layer.weight[:KEPT] = 0.0
            layer.weight[:KEPT, 0, 1, 1] = 1.0
    halving = (encoder.patch_embed.seq[0], encoder.patch_embed.seq[2])
    for step in halving:
        step.c.weight[:3] = 0.0
        for colour in range(3):
            step.c.weight[colour, colour, 1:, 1:] = 0.25
    halving[0].bn.bias[:3] = BRIGHT
    merging = [layer.downsample for layer in encoder.layers[:-1]]
    for step, (sources, copies) in zip(merging, ((3, 4), (12, 4), (COLOURS, 1)), strict=True):
        _put_side_by_side(step, sources, copies)
    last = merging[-1].conv3
    last.bn.bias[:COLOURS] = -BRIGHT
    _set_constants(last.c.weight, last.bn.bias)


def _put_side_by_side(merging: Any, sources: int, copies: int) -> None:  # noqa: ANN401
    """Copy the first channels of four pixels into `copies` as many channels of one; of one copy, just pass them on."""
    for number in range(sources * copies):
        copy, source = divmod(number, sources)
        row, column = (1 + index for index in divmod(copy, 2)) if copies > 1 else (1, 1)
        for layer in (merging.conv1.c, merging.conv2.c, merging.conv3.c):
            layer.weight[number] = 0.0
        merging.conv1.c.weight[number, source] = 1.0
        merging.conv2.c.weight[number, 0, row, column] = 1.0
        merging.conv3.c.weight[number, number] = 1.0


def _set_constants(weight: Tensor, bias: Tensor) -> None:
    """Let the channels behind the colours be constant."""
    for number, value in ((COLOURS, CONSTANT), (COLOURS + 1, -CONSTANT)):
        weight[number], bias[number] = 0.0, value


def _set_prompts(prompts: Any, places: Tensor, content: Tensor) -> None:  # noqa: ANN401
    prompts.pe_layer.positional_encoding_gaussian_matrix.mul_(FREQUENCY)
    no_mask = prompts.no_mask_embed.weight
    for parameter in (*(point.weight for point in prompts.point_embeddings), prompts.not_a_point_embed.weight, no_mask):
        parameter.mul_(CALM)
    no_mask[:, places] = 0.0
    for point in prompts.point_embeddings[1:]:
        point.weight[0, content[-1]] = MARK
    _calm(prompts.mask_downscaling[-1])


def _set_decoder(decoder: Any, places: Tensor, content: Tensor) -> None:  # noqa: ANN401
    """Let all tokens look up the content at the marked prompts in the first layer; calm everything behind."""
    decoder.iou_token.weight.mul_(CALM)
    decoder.mask_tokens.weight.mul_(CALM)
    first, *others = decoder.transformer.layers
    _share_positions(first.self_attn, places, content)
    _look_up(first.cross_attn_token_to_image, places, content)
    _calm(first.mlp.lin2, first.cross_attn_image_to_token.out_proj)
    # after the lookup, the position would only be learned by heart
    first.norm3.weight[places] = 0.0
    first.norm3.bias[places] = 0.0
    for layer in others:
        attentions = (layer.self_attn, layer.cross_attn_token_to_image, layer.cross_attn_image_to_token)
        _calm(layer.mlp.lin2, *(attention.out_proj for attention in attentions))
    _calm(decoder.transformer.final_attn_token_to_image.out_proj)


def _share_positions(attention: Any, places: Tensor, content: Tensor) -> None:  # noqa: ANN401
    """Give each token the positions of the marked ones."""
    _clear(attention)
    heads = torch.arange(attention.num_heads) * (attention.internal_dim // attention.num_heads)
    attention.q_proj.bias[heads] = MARK
    attention.k_proj.weight[heads, content[-1]] = 1.0
    attention.v_proj.weight[places, places] = 1.0
    attention.out_proj.weight.fill_diagonal_(1.0)


def _look_up(attention: Any, places: Tensor, content: Tensor) -> None:  # noqa: ANN401
    """Give each token the content at its position: a head compares some frequencies, sines and cosines."""
    _clear(attention)
    rows = torch.arange(attention.internal_dim)
    order = places.reshape(2, attention.num_heads, -1).transpose(0, 1).flatten()
    attention.q_proj.weight[rows, order] = SHARPNESS
    attention.k_proj.weight[rows, order] = 1.0
    attention.v_proj.weight[rows, content] = 1.0
    attention.out_proj.weight[content, rows] = 1.0


def _clear(attention: Any) -> None:  # noqa: ANN401
    for parameter in attention.parameters():
        parameter.zero_()


def _calm(*layers: Any) -> None:
    for layer in layers:
        layer.weight.mul_(CALM)
        layer.bias.mul_(CALM)


def _lesson(network: Any, rng: np.random.Generator) -> Lesson:  # noqa: ANN401
    size = network.image_encoder.img_size
    pixels, numbers = random_shapes(size, rng)
    points = np.array([_point(numbers, rng) for _ in range(PROMPTS)])
    tokens, keys = _attended(network, _embedding(network, pixels), torch.from_numpy(points))
    step = size // network.prompt_encoder.mask_input_size[0]
    sampled = numbers[step // 2 :: step, step // 2 :: step]
    wanted = numbers[points[:, 1], points[:, 0]]
    return Lesson(keys, tokens, torch.from_numpy(sampled == wanted[:, None, None])[:, None])


def _point(numbers: Pixels, rng: np.random.Generator) -> tuple[int, int]:
    """Return a point, x and y, that is well within a shape if a few tries find one."""
    size = len(numbers)
    for _ in range(20):
        x, y = (int(value) for value in rng.integers(_INSIDE, size - _INSIDE, 2))
        around = numbers[y - _INSIDE : y + _INSIDE + 1, x - _INSIDE : x + _INSIDE + 1]
        if (around == numbers[y, x]).all():
            break
    return x, y


def _embedding(network: Any, pixels: Pixels) -> Tensor:  # noqa: ANN401
    """Return the embedding, without the calm residual blocks if there are any: they take most of the time."""
    encoder = network.image_encoder
    blocks = getattr(encoder, "blocks", None)
    if blocks is not None:
        encoder.blocks = torch.nn.ModuleList()
    embedding: Tensor = encoder(network.preprocess(torch.from_numpy(pixels).permute(2, 0, 1)[None]))
    if blocks is not None:
        encoder.blocks = blocks
    return embedding


def _attended(network: Any, embedding: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401
    """Return the tokens of prompts of one point each, and the image as the transformer leaves it for the first."""
    prompts, decoder = network.prompt_encoder, network.mask_decoder
    labels = torch.ones(len(points), 1, dtype=torch.int)
    sparse, dense = prompts(points=(points[:, None].float(), labels), boxes=None, masks=None)
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([own.expand(len(points), -1, -1), sparse], dim=1)
    position = prompts.get_dense_pe().expand(len(points), -1, -1, -1)
    queries, keys = decoder.transformer(embedding + dense, position, tokens)
    return queries[:, : len(own)], keys[:1].transpose(1, 2).reshape(embedding.shape)


def _train(decoder: Any, lessons: list[Lesson], rng: np.random.Generator, say: Callable[[str], None]) -> None:  # noqa: ANN401
    """Fit the heads: masks by their pixels and overlap, the quality by the overlap that the masks have."""
    heads = (decoder.output_upscaling, decoder.output_hypernetworks_mlps, decoder.iou_prediction_head)
    optimiser = torch.optim.Adam([parameter for head in heads for parameter in head.parameters()], lr=RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / STEPS)
    overlaps: list[float] = []
    for step in range(STEPS):
        lesson = _part(lessons[step % len(lessons)], rng)
        logits = _masks(decoder, lesson)
        truth = lesson.truth.expand_as(logits)
        # of shapes that are elsewhere there is no overlap
        present = truth.any(-1).any(-1).float()
        overlap = _overlap(logits.detach() > 0, truth)
        quality = (decoder.iou_prediction_head(lesson.tokens[:, 0]) - overlap) ** 2
        pixels = functional.binary_cross_entropy_with_logits(logits, truth.float())
        loss = pixels + (present * (1 - _overlap(logits.sigmoid(), truth) + quality)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        overlaps.append(float((overlap * present).sum() / present.sum().clamp(min=1)))
        if step % _REPORTED == _REPORTED - 1:
            say(f"fitting the heads: step {step + 1} of {STEPS}, overlap {np.mean(overlaps[-_REPORTED // 3 :]):.3f}")


def _part(lesson: Lesson, rng: np.random.Generator) -> Lesson:
    """Return a random part of the picture of a lesson, with the same prompts."""
    side = lesson.keys.shape[-1]
    window, scale = min(side, WINDOW), lesson.truth.shape[-1] // side
    y, x = (int(value) for value in rng.integers(0, side - window + 1, 2))
    rows, columns = (slice(scale * begin, scale * (begin + window)) for begin in (y, x))
    keys = lesson.keys[:, :, y : y + window, x : x + window]
    return Lesson(keys, lesson.tokens, lesson.truth[:, :, rows, columns])


def _masks(decoder: Any, lesson: Lesson) -> Tensor:  # noqa: ANN401
    """Return the logits of the masks, [prompts, m, s, s]."""
    upscaled = decoder.output_upscaling(lesson.keys)[0]
    heads = decoder.output_hypernetworks_mlps
    weights = torch.stack([head(lesson.tokens[:, 1 + number]) for number, head in enumerate(heads)], dim=1)
    logits: Tensor = (weights @ upscaled.flatten(1)).unflatten(-1, upscaled.shape[1:])
    return logits


def _overlap(masks: Tensor, truth: Tensor) -> Tensor:
    """Return the intersection over union of masks, which may be shares, with true ones, [..., s, s] to [...]."""
    masks, truth = masks.float(), truth.float()
    shared = (masks * truth).sum(dim=(-2, -1))
    return shared / (masks.sum(dim=(-2, -1)) + truth.sum(dim=(-2, -1)) - shared).clamp(min=1e-6)
