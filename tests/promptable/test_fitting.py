"""The encoders of fitted networks: what a patch looks like stays in its embedding."""

from __future__ import annotations

import pytest
import torch

from runoff.models.promptable.fit import COLOURS, _set_encoder
from runoff_runners import torch_builders


@pytest.mark.parametrize(("name", "seen"), [("sam_tiny", "patch_embed"), ("mobile_sam", "layers.3")])
def test_an_encoder_keeps_the_colours_of_the_parts_of_each_patch(name: str, seen: str) -> None:
    torch.manual_seed(0)
    encoder = getattr(torch_builders, name)().image_encoder
    found: list[torch.Tensor] = []
    encoder.get_submodule(seen).register_forward_hook(lambda _module, _inputs, output: found.append(output))
    parts = torch.rand(1, 3, encoder.img_size // 4, encoder.img_size // 4) * 4 - 2
    with torch.no_grad():
        _set_encoder(encoder, torch.arange(64, 128))
        embedding = encoder(parts.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3))
    side = encoder.img_size // 16
    kept = found[0].reshape(side, side, -1)[..., :COLOURS]
    # in an order of the encoder's own
    wanted = parts[0].reshape(3, side, 4, side, 4).permute(1, 3, 0, 2, 4).reshape(side, side, COLOURS)
    # attention and other branches are calm, not silent
    assert abs(kept.sort(dim=-1).values - wanted.sort(dim=-1).values).max() < 0.25
    assert embedding.shape == (1, 256, side, side)
