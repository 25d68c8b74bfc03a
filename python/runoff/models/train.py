"""The training program: ``python -m runoff.models.train REQUEST``, in the environment ``export``.

REQUEST is a `runoff.models.training.TrainRequest` in JSON. Each line on stdout is a `Progress`.

First the last layer is trained on features that the other layers compute once. With `full`, all layers follow, from
there (Kumar et al. 2022: a new last layer would first damage the others); by default, if the network's input is small.
"""

from __future__ import annotations

import copy
import os
import sys
import tempfile
from pathlib import Path
from shutil import copyfile
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
import torch
from PIL import Image
from torch.nn.functional import cross_entropy

from runoff.models.export import LABELS, Picture, package_source, write_model
from runoff.models.formats import load_network
from runoff.models.labelled import LabelledImages, read_labelled
from runoff.models.store import ModelStore, new_folder
from runoff.models.training import Progress, TrainRequest
from runoff.models.weights import build, load_weights
from runoff.models.zoo import find_model
from runoff.records.errors import ExitCode, RunoffError
from runoff.records.manifest import Training
from runoff_runners.preprocess import preprocess
from runoff_runners.protocol import RunnerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runoff.models.zoo import ZooModel
    from runoff.records.protocol import Preprocess

    Forward = Callable[[torch.Tensor], torch.Tensor]
    """From the places of images to their logits."""

TEST_IMAGES = 128
"""Held-out images, if there are four times as many."""
FEWEST_IMAGES = 40
_FEWEST_TESTED = 8
_VALIDATION = 0.15
_ENLARGED, _STRIDE = 8, 32
"""Small images are enlarged by this factor, to a multiple of the pixels that a network condenses into one."""
_SMALL_INPUT = 128
"""Pixels of a side up to which an epoch of all layers takes seconds to a minute."""
_BATCH = 64
_FULL_BATCH = 32
_WEIGHT_DECAY = 1e-2
_HEAD_RATE, _FULL_RATE = 1e-2, 1e-3
_SHORTER = 0.3
_PATIENCE = 4
"""Epochs without a lower validation loss, after which training stops."""
_MOMENTUM = 0.1
"""Of the running statistics of normalisation: the new images replace those of the old ones within an epoch."""


class Split(NamedTuple):
    """Indices of the images by part."""

    train: torch.Tensor
    validation: torch.Tensor
    test: torch.Tensor


def split(labels: Sequence[int], seed: int) -> Split:
    """Return a random split in which each class has nearly its share of each part.

    Raises
    ------
    RunoffError
        If there are too few images or classes.
    """
    classes, counts = np.unique(labels, return_counts=True)
    if len(labels) < FEWEST_IMAGES or len(classes) < 2:  # noqa: PLR2004
        raise RunoffError(
            f"{len(labels)} images of {len(classes)} classes are too few to train on",
            f"at least {FEWEST_IMAGES} images of two classes are needed",
        )
    rng, place = np.random.default_rng(seed), np.empty(len(labels))
    for label, count in zip(classes, counts, strict=True):
        # spread evenly over 0 to 1, so every prefix has nearly the same share of each class
        place[np.array(labels) == label] = rng.permutation(count) / count + rng.random() / count
    order = torch.from_numpy(np.argsort(place, kind="stable"))
    tested = max(_FEWEST_TESTED, min(TEST_IMAGES, len(labels) // 4))
    validated = tested + round(_VALIDATION * len(labels))
    return Split(order[validated:], order[tested:validated], order[:tested])


class Trainer:
    """A network, its images and their split."""

    def __init__(self, request: TrainRequest, images: LabelledImages) -> None:
        self.request = request
        self.images = images
        self.model = find_model(request.model)
        if self.model.family == "test":
            raise RunoffError(f"{self.model.name} has no layer of classes to train", "known: runoff list models")
        self.split = split(images.labels, request.seed)
        self.labels = torch.tensor(images.labels)
        self.preprocess = _preprocess(self.model, images.files[0])
        self.epochs = 0
        self._until = monotonic() + request.limit_s if request.limit_s else float("inf")
        torch.manual_seed(request.seed)
        self.base, self.builder, self.network = self._make_network()
        self.full = self.preprocess.crop <= _SMALL_INPUT if request.full is None else request.full
        self.head = [module for module in self.network.modules() if isinstance(module, torch.nn.Linear)][-1]

    def _make_network(self) -> tuple[str, str, torch.nn.Module]:
        """Return the source of the weights, the builder and the network, whose last layer is new."""
        model, function = self.model, self.model.builder.partition(":")[2]
        builder = f"runoff_runners.torch_builders:{function}_with_{len(self.images.classes)}_classes"
        base, weights = self._base()
        network = build(builder)
        own = network.state_dict()
        kept = {name: value for name, value in base.state_dict().items() if value.shape == own[name].shape}
        network.load_state_dict({**own, **kept})
        return f"{model.name} ({weights})", builder, network

    def _base(self) -> tuple[torch.nn.Module, str]:
        """Return the network to begin with and its weights: those in the store, else the default ones."""
        model, stored = self.model, ModelStore(Path(self.request.store))
        if model.name in stored.names():
            found = stored.get(model.name)
            return load_network(Path(found.model_file("pt").path), model.builder), found.manifest.weights
        base = build(model.builder)
        return base, load_weights(base, model, model.weights, 0, self.pixels(self.split.train[:8]))

    def pixels(self, places: torch.Tensor) -> torch.Tensor:
        """Return images as float32 [N, 3, H, W]."""
        files = [str(self.images.files[place]) for place in places.tolist()]
        return torch.from_numpy(preprocess(files, msgspec.to_builtins(self.preprocess)))

    @property
    def late(self) -> bool:
        """Whether the time limit is over."""
        return monotonic() > self._until

    def train(self) -> None:
        """Train the last layer, then all layers if requested."""
        features, threads = self._features(), torch.get_num_threads()
        torch.set_num_threads(1)  # a step on a few features is too short to be shared
        self._fit(self.head, lambda places: self.head(features[places]), _BATCH, _HEAD_RATE)
        torch.set_num_threads(threads)
        if self.full:
            for norm in self.network.modules():
                if isinstance(norm, torch.nn.modules.batchnorm._BatchNorm):  # noqa: SLF001
                    norm.momentum = _MOMENTUM
            self._fit(self.network, self.classify, _FULL_BATCH, _FULL_RATE)

    @torch.no_grad()  # type: ignore[untyped-decorator]  # torch has no types here
    def _features(self) -> torch.Tensor:
        """Return what goes into the last layer for each image of train and validation, float32 [images, features]."""
        known, found = torch.cat([self.split.train, self.split.validation]), list[torch.Tensor]()
        handle = self.head.register_forward_pre_hook(lambda _, given: found.append(given[0].clone()))
        for places in known.split(_BATCH):
            self.network(self.pixels(places))
            done = sum(map(len, found))
            report("computing features", done, len(known))
            if self.late:
                raise RunoffError(
                    f"the time limit ended after the features of {done} of {len(known)} images", "raise it"
                )
        handle.remove()
        features = torch.empty(len(self.labels), found[0].shape[1])
        features[known] = torch.cat(found)
        return features

    def _fit(self, module: torch.nn.Module, forward: Forward, batch: int, rate: float) -> None:
        """Train the parameters of `module`, until the validation loss stops falling; keep the best ones.

        `forward` gives the logits of the images at some places. Steps are shorter after an epoch without a lower loss.
        """
        what = "training all layers" if module is self.network else "training the last layer"
        optimizer = torch.optim.AdamW(module.parameters(), rate, weight_decay=_WEIGHT_DECAY)
        steps = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=_SHORTER, patience=0)
        best, state, since = self.evaluate(forward, self.split.validation)[0], copy.deepcopy(module.state_dict()), 0
        for epoch in range(self.request.epochs):
            module.train()
            order = self.split.train[torch.randperm(len(self.split.train))]
            # normalisation needs two
            for places in filter(lambda part: len(part) > 1, order.split(batch)):
                optimizer.zero_grad()
                cross_entropy(forward(places), self.labels[places]).backward()
                optimizer.step()
                if self.late:
                    break
            module.eval()
            loss, accuracy = self.evaluate(forward, self.split.validation)
            steps.step(loss)
            self.epochs += 1
            report(what, epoch + 1, self.request.epochs, f"validation loss {loss:.3f}, accuracy {accuracy:.1%}")
            since += 1
            if loss < best:
                best, state, since = loss, copy.deepcopy(module.state_dict()), 0
            if since == _PATIENCE or self.late:
                break
        module.load_state_dict(state)

    @torch.no_grad()  # type: ignore[untyped-decorator]  # torch has no types here
    def evaluate(self, forward: Forward, places: torch.Tensor) -> tuple[float, float]:
        """Return loss and accuracy on the images at `places`."""
        logits, labels = torch.cat([forward(part) for part in places.split(_BATCH)]), self.labels[places]
        return float(cross_entropy(logits, labels)), float((logits.argmax(1) == labels).float().mean())

    def classify(self, places: torch.Tensor) -> torch.Tensor:
        """Return the logits of the images at `places`, float32 [N, classes]."""
        logits: torch.Tensor = self.network(self.pixels(places))
        return logits


def _preprocess(model: ZooModel, example: Path) -> Preprocess:
    """Return the preprocessing of `model`; small images make its input smaller, and have no margin to cut off."""
    usual = model.preprocess
    if usual is None:
        raise RunoffError(f"{model.name} takes prompts and knows no classes", "train for example efficientnet-lite0")
    with Image.open(example) as image:
        side = min(image.size)
    crop = usual.crop
    if side >= crop:
        return usual
    if model.family != "vision-transformer":
        crop = min(crop, max(1, side * _ENLARGED // _STRIDE) * _STRIDE)
    return msgspec.structs.replace(usual, resize=crop, crop=crop)


def store(trainer: Trainer, folder: Path, began: float) -> None:
    """Write the trained network, its test images and the manifest to the empty `folder`."""
    report("writing and checking the formats")
    split_, images, request = trainer.split, trainer.images, trainer.request
    parts = {"validation": split_.validation, "test": split_.test}
    accuracy = {name: trainer.evaluate(trainer.classify, places)[1] for name, places in parts.items()}
    (folder / LABELS).write_text("\n".join(images.classes) + "\n", encoding="utf-8")
    pictures = []
    for number, place in enumerate(split_.test.tolist()):
        file = folder / f"test-{number:03}{images.files[place].suffix.lower()}"
        copyfile(images.files[place], file)
        pictures.append(Picture(images.name(place), file, images.labels[place]))
    for parameter in trainer.network.parameters():
        parameter.requires_grad_(requires_grad=False)
    # with one thread, sums have one order
    torch.set_num_threads(1)
    write_model(
        trainer.network,
        folder,
        trainer.pixels(split_.test).numpy(),
        pictures,
        name=request.name,
        source=package_source(trainer.model),
        weights=f"trained:{trainer.base} on {request.data}, seed {request.seed}",
        builder=trainer.builder,
        preprocess=trainer.preprocess,
        training=Training(
            base=trainer.base,
            data=request.data,
            images={name: len(places) for name, places in split_._asdict().items()},
            seed=request.seed,
            trained="all layers" if trainer.full else "last layer",
            epochs=trainer.epochs,
            accuracy=accuracy,
            seconds=monotonic() - began,
        ),
    )


def report(what: str, done: int = 0, total: int = 0, note: str = "") -> None:
    """Print a line of progress."""
    _print(Progress(what, done, total, note))


def _print(progress: Progress) -> None:
    sys.stdout.write(msgspec.json.encode(progress).decode() + "\n")
    sys.stdout.flush()


def main(text: str) -> int:
    """Carry out the request in JSON; return the exit code."""
    began, request = monotonic(), msgspec.json.decode(text, type=TrainRequest)
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    try:
        with tempfile.TemporaryDirectory() as scratch, new_folder(Path(request.store) / request.name) as folder:
            trainer = Trainer(request, read_labelled(request.data, Path(scratch)))
            trainer.train()
            store(trainer, folder, began)
    except (RunoffError, RunnerError) as error:
        _print(Progress(error=error.message, hint=error.hint or ""))
        return ExitCode.BAD_INPUT
    except OSError as error:
        _print(Progress(error=str(error), hint="check that the store can be written to and has space"))
        return ExitCode.BAD_INPUT
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
