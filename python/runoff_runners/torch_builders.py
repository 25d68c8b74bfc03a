"""Builders of networks without weights, for packages without a builder that takes no arguments.

Each builder imports only what its network needs: torchvision would double the import time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def efficientnet_lite0() -> torch.nn.Module:
    """Return EfficientNet-Lite0: float32 [N, 3, 224, 224] to logits [N, 1000]."""
    from efficientnet_lite_pytorch import EfficientNet

    network: torch.nn.Module = EfficientNet.from_name("efficientnet-lite0")
    return network


def vit_tiny() -> torch.nn.Module:
    """Return a vision transformer with the dimensions of DeiT-Ti: float32 [N, 3, 224, 224] to logits [N, 1000]."""
    from torchvision.models.vision_transformer import VisionTransformer

    network: torch.nn.Module = VisionTransformer(
        image_size=224, patch_size=16, num_layers=12, num_heads=3, hidden_dim=192, mlp_dim=768
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
