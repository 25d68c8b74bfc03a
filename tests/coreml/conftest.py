"""Networks of the zoo with their photos, built once. These tests run in the export environment."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import msgspec
import pytest
import torch

from runoff.models.formats import runnable
from runoff.models.photos import write_photos
from runoff.models.weights import build, load_weights
from runoff.models.zoo import find_model
from runoff_runners.preprocess import preprocess

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from packages import Subject


@pytest.fixture(scope="session")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Subject]:
    """Return a function that builds a network of the zoo, its photos and PyTorch's outputs."""
    from packages import Subject

    folder = tmp_path_factory.mktemp("photos")
    images = [str(image) for image in write_photos(folder)]

    @cache
    def make(name: str) -> Subject:
        torch.set_num_threads(1)
        model = find_model(name)
        photos = preprocess(images, msgspec.to_builtins(model.preprocess))
        network = build(model.builder)
        load_weights(network, model, model.weights, 0, torch.from_numpy(photos))
        return Subject(network, photos, runnable(network)(photos))

    return make


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a path for a package."""
    return tmp_path / "model.mlpackage"
