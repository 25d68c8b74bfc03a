"""Checks of weights and formats of a stored model: one process in the export environment runs them all.

``python export_checks.py STORE NAME`` prints their findings as JSON, by name.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from runoff.models import formats, weights
from runoff.models.store import ModelStore
from runoff.models.zoo import find_model
from runoff.records.errors import RunoffError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from runoff.models.store import StoredModel

    Batch = NDArray[np.float32]

ONNX = formats.FORMATS[1]


class Stored:
    """A model of the store, its photos, float32 [8, 3, 224, 224], and PyTorch's outputs, float32 [8, 1000]."""

    def __init__(self, folder: Path, name: str) -> None:
        stored: StoredModel = ModelStore(folder).get(name)
        self.folder, self._model = stored.folder, find_model(name)
        assert self._model.preprocess
        self.builder, self.std = self._model.builder, self._model.preprocess.std
        examples = range(len(stored.manifest.examples))
        self.photos = np.stack(
            [np.fromfile(stored.inputs(i)["input"].path, "<f4").reshape(3, 224, 224) for i in examples]
        )
        self.references = np.stack([np.fromfile(stored.references(i)["logits"].path, "<f4") for i in examples])

    def network(self, choice: str, seed: int = 0) -> torch.nn.Module:
        """Return a network with the weights of `choice`."""
        made = weights.build(self.builder)
        weights.load_weights(made, self._model, choice, seed, torch.from_numpy(self.photos))
        return made


def answer(network: torch.nn.Module, batch: Batch) -> Batch:
    return formats.runnable(network)(batch)


def difference_of_the_saved_weights(stored: Stored) -> float:
    """Return the largest difference of the outputs of the weights file from the references."""
    return float(abs(answer(stored.network(str(stored.folder / "model.pt")), stored.photos) - stored.references).max())


def equal_by_seed(stored: Stored) -> list[bool]:
    """Return whether the same seed, and another one, give the same weights."""

    def digest(seed: int) -> bytes:
        values = stored.network("seeded", seed).state_dict().values()
        numbers: bytes = torch.cat([value.flatten().double() for value in values]).numpy().tobytes()
        return numbers

    first = digest(0)
    return [first == digest(0), first == digest(1)]


def same_class_with_noise(stored: Stored) -> list[bool]:
    """Return, by photo, whether the class stays if each pixel changes by at most one step."""
    shape = stored.photos.shape
    step = np.random.default_rng(0).integers(-1, 2, shape) / np.array(stored.std)[:, None, None]
    noisy = answer(stored.network("seeded"), (stored.photos + step).astype("f4"))
    same: list[bool] = (noisy.argmax(1) == stored.references.argmax(1)).tolist()
    return same


def moved_by_branch(stored: Stored) -> list[float]:
    """Return how far the outputs move if the gamma of each normalisation is negated."""
    made, moved = stored.network("seeded"), []
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.neg_()
            moved.append(float(abs(answer(made, stored.photos[:1]) - stored.references[:1]).max()))
            module.weight.data.neg_()
    return moved


def damage_gamma(made: Any) -> None:
    made.stem[1].weight.data[3] = 0


def damage_weight(made: Any) -> None:
    made.fc.weight.data[5, 7] = 1e-40


def damage_statistics(made: Any) -> None:
    made.stem[1].running_var[0] = float("nan")


def damage_branch(made: Any) -> None:
    made.trunk_output[3][4].f.c[1].weight.data.mul_(1e-9)


def problems_of_damaged_weights(stored: Stored) -> list[list[str]]:
    """Return the problems that are reported for each damage."""
    found = []
    for damage in (damage_gamma, damage_weight, damage_statistics, damage_branch):
        made = stored.network(str(stored.folder / "model.pt"))
        damage(made)
        found.append(weights.weight_problems(made, torch.from_numpy(stored.photos[:1])))
    return found


def refusal_of_different_outputs(stored: Stored) -> str:
    """Return the error for a file whose outputs differ from one reference by little."""
    references = stored.references.copy()
    references[3, 0] += 2e-4 * abs(references[:4]).max()
    try:
        formats.check(ONNX, stored.folder / "model.onnx", stored.builder, stored.photos, references)
    except RunoffError as error:
        return str(error)
    return "stored"


CHECKS: tuple[Callable[[Stored], Any], ...] = (
    difference_of_the_saved_weights,
    equal_by_seed,
    same_class_with_noise,
    moved_by_branch,
    problems_of_damaged_weights,
    refusal_of_different_outputs,
)

if __name__ == "__main__":
    torch.set_num_threads(1)
    SUBJECT = Stored(Path(sys.argv[1]), sys.argv[2])
    print(json.dumps({check.__name__: check(SUBJECT) for check in CHECKS}))  # noqa: T201 (its output)
