"""Builders of networks without weights, for packages without a builder that takes no arguments.

Each builder imports only what its network needs: torchvision would double the import time.
"""

from __future__ import annotations

import re
import sys
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import torch

_WITH = "_with_"
_CHANNELS = 256
"""Of the embeddings of Segment Anything."""
_LAYERS = re.compile(r"layers_([1-9]\d{0,3})x([1-9]\d{0,3})$")


def __getattr__(name: str) -> Callable[[], torch.nn.Module]:
    """Return a builder that is named by its arguments.

    ``layers_LxK`` is `layers` with L layers of K operations. ``mobilenet_v2_with_10_classes`` is a classifier with
    another number of classes: the part in front is a builder of this module, or a network of torchvision.
    """
    synthetic = _LAYERS.match(name)
    if synthetic:
        return partial(layers, *map(int, synthetic.groups()))
    network, found, classes = name.removesuffix("_classes").partition(_WITH)
    if not found or not classes.isdecimal():
        raise AttributeError(name)
    builder = globals().get(network)
    if builder is None:
        import torchvision

        builder = getattr(torchvision.models, network)
    return partial(builder, num_classes=int(classes))


def efficientnet_lite0(num_classes: int = 1000) -> torch.nn.Module:
    """Return EfficientNet-Lite0: float32 [N, 3, 224, 224] to logits [N, num_classes]."""
    from efficientnet_lite_pytorch import EfficientNet

    network: torch.nn.Module = EfficientNet.from_name("efficientnet-lite0", num_classes=num_classes)
    return network


def vit_tiny(num_classes: int = 1000) -> torch.nn.Module:
    """Return a vision transformer of DeiT-Ti's dimensions: float32 [N, 3, 224, 224] to logits [N, num_classes]."""
    from torchvision.models.vision_transformer import VisionTransformer

    network: torch.nn.Module = VisionTransformer(
        image_size=224,
        patch_size=16,
        num_layers=12,
        num_heads=3,
        hidden_dim=192,
        mlp_dim=768,
        num_classes=num_classes,
    )
    return network


def one_node() -> torch.nn.Module:
    """Return a network of one multiplication, to measure the cost of a call: float32 [N, 3, 2, 2] to the same shape."""
    import torch

    class Multiply(torch.nn.Module):  # type: ignore[misc]  # torch has no types here
        def __init__(self) -> None:
            super().__init__()
            self.factor = torch.nn.Parameter(torch.full((1,), 2.0))

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return pixels * self.factor

    return Multiply()


def layers(count: int, operations: int) -> torch.nn.Module:
    """Return a network of `count` layers of `operations` each: float32 [N, 3, H, W] to the same shape.

    A layer adds 0.25 (the next one: subtracts it), cuts at 0, multiplies by 1.25 (the next one: 0.8), and subtracts
    what the addition became: of these four, the first `operations`, and again from the first. So two layers leave a
    positive value as it is, however many there are.
    """
    import torch

    class Layers(torch.nn.Module):  # type: ignore[misc]  # torch has no types here
        def __init__(self) -> None:
            super().__init__()
            # one value per channel, so channels cannot be exchanged
            channels = torch.tensor([0.8, 1.0, 1.2]).reshape(3, 1, 1)
            added = [0.25 * channels, -0.25 * channels]
            factors = [torch.full((1,), 1.25), torch.full((1,), 0.8)]
            weights = []
            for layer in range(count):
                turn = layer % 2
                of_kind = (added[turn], None, factors[turn], added[turn] * factors[turn])
                weights += [of_kind[place % 4] for place in range(operations)]
            kept = (torch.nn.Parameter(weight.clone()) for weight in weights if weight is not None)
            self.weights = torch.nn.ParameterList(kept)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            weights = iter(self.weights)
            for _ in range(count):
                for place in range(operations):
                    kind = place % 4
                    if kind == 0:
                        pixels = pixels + next(weights)
                    elif kind == 1:
                        pixels = torch.relu(pixels)
                    elif kind == 2:  # noqa: PLR2004 (the third of four)
                        pixels = pixels * next(weights)
                    else:
                        pixels = pixels - next(weights)
            return pixels

    return Layers()


def sam_tiny() -> torch.nn.Module:
    """Return Segment Anything with an encoder of one block, for tests: float32 [1, 3, 256, 256] to masks."""
    from segment_anything.modeling import ImageEncoderViT

    encoder = ImageEncoderViT(
        img_size=256, embed_dim=64, depth=1, num_heads=2, out_chans=_CHANNELS, use_rel_pos=True, window_size=7
    )
    return _sam(encoder, mlp_dim=256)


def mobile_sam() -> torch.nn.Module:
    """Return MobileSAM, whose encoder is a TinyViT: float32 [1, 3, 1024, 1024] to masks.

    https://github.com/ChaoningZhang/MobileSAM/blob/master/mobile_sam/build_sam.py
    """
    _replace_timm()
    from segment_anything_hq.modeling.tiny_vit_sam import TinyViT

    class Encoder(TinyViT):  # type: ignore[misc]  # no types here
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            # without the inner embeddings, which another network uses
            embedding: torch.Tensor = self.forward_features(pixels)[0]
            return embedding

    encoder = Encoder(
        img_size=1024,
        embed_dims=[64, 128, 160, 320],
        depths=[2, 2, 6, 2],
        num_heads=[2, 4, 5, 10],
        window_sizes=[7, 7, 14, 7],
        drop_path_rate=0.0,
        layer_lr_decay=0.8,
    )
    return _sam(encoder, mlp_dim=2048)


def _sam(encoder: Any, mlp_dim: int) -> torch.nn.Module:  # noqa: ANN401
    """Return a network with the prompt encoder and the decoder of Segment Anything behind `encoder`."""
    from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    size = encoder.img_size
    prompts = PromptEncoder(_CHANNELS, (size // 16, size // 16), (size, size), mask_in_chans=16)
    transformer = TwoWayTransformer(depth=2, embedding_dim=_CHANNELS, mlp_dim=mlp_dim, num_heads=8)
    decoder = MaskDecoder(transformer_dim=_CHANNELS, transformer=transformer)
    network: torch.nn.Module = Sam(encoder, prompts, decoder).eval()
    return network


def _replace_timm() -> None:
    """Provide the parts of timm that TinyViT imports: none computes anything here, and timm takes seconds to import."""
    import torch

    parts: dict[str, dict[str, Any]] = {
        "timm": {},
        "timm.models": {},
        "timm.models.layers": {
            "DropPath": torch.nn.Module,
            "to_2tuple": lambda size: (size, size),
            "trunc_normal_": torch.nn.init.trunc_normal_,
        },
        "timm.models.registry": {"register_model": lambda function: function},
    }
    for name, contents in parts.items():
        module = ModuleType(name)
        vars(module).update(contents)
        sys.modules.setdefault(name, module)
