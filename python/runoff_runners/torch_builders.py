"""Builders of networks without weights, for packages without a builder that takes no arguments.

Each builder imports only what its network needs: torchvision would double the import time.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

_WITH = "_with_"


def __getattr__(name: str) -> Callable[[], torch.nn.Module]:
    """Return the builder of a classifier with another number of classes, such as ``mobilenet_v2_with_10_classes``.

    The part in front is a builder of this module, or a network of torchvision.
    """
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
