"""A package whose outputs differ from PyTorch's is caught, however small the fault."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from packages import PROGRAM, WEIGHTS, change_program, change_weights

from machine import FULL, thorough
from runoff.models.coreml.convert import write_package
from runoff.models.coreml.evaluate import check_package
from runoff.models.coreml.package import read_package
from runoff.plan.coreml_packages import PACKAGES
from runoff.records.errors import RunoffError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from packages import Subject

    from runoff.plan.coreml_packages import PackageKind

FP32, FP16 = PACKAGES[:2]


@pytest.fixture(scope="module", params=[FP32, pytest.param(FP16, marks=thorough)], ids=["fp32", "fp16"])
def saved(
    request: pytest.FixtureRequest, subject: Callable[[str], Subject], tmp_path_factory: pytest.TempPathFactory
) -> tuple[PackageKind, Path]:
    """Return a correct package of MobileNetV2 of each precision."""
    given, path = subject("mobilenet_v2"), tmp_path_factory.mktemp("saved") / "model.mlpackage"
    write_package(given.network, request.param, torch.from_numpy(given.photos[:1]), path)
    check_package(read_package(path), request.param, given.photos, given.references)
    return request.param, path


@pytest.fixture
def converted(saved: tuple[PackageKind, Path], subject: Callable[[str], Subject], package: Path) -> Callable[[], None]:
    """Return a function that checks a copy of the package after changes to its files."""
    (kind, path), given = saved, subject("mobilenet_v2")
    shutil.copytree(path, package)

    def check() -> None:
        check_package(read_package(package), kind, given.photos, given.references)

    return check


def flip_a_sign(weights: NDArray[Any]) -> None:
    weights[abs(weights).argmax()] *= -1


def swap_two(weights: NDArray[Any]) -> None:
    low, high = weights.argmin(), weights.argmax()
    weights[[low, high]] = weights[[high, low]]


@pytest.mark.parametrize("change", [flip_a_sign, swap_two])
def test_a_changed_weight_is_caught(
    change: Callable[[NDArray[Any]], None], converted: Callable[[], None], package: Path
) -> None:
    change_weights(package, change)
    with pytest.raises(RunoffError, match="differs from PyTorch by"):
        converted()


def test_a_truncated_weight_file_is_caught(converted: Callable[[], None], package: Path) -> None:
    data = (package / WEIGHTS).read_bytes()
    (package / WEIGHTS).write_bytes(data[:-4096])
    with pytest.raises(RunoffError, match=r"weight\.bin is broken: \d+ bytes long, but the entry at \d+ ends at"):
        converted()
    (package / WEIGHTS).write_bytes(data[:100])
    with pytest.raises(RunoffError, match=r"weight\.bin is broken"):
        converted()
    (package / WEIGHTS).unlink()
    with pytest.raises(RunoffError, match=r"weight\.bin is broken: not found"):
        converted()


def test_a_truncated_program_is_caught(converted: Callable[[], None], package: Path) -> None:
    data = (package / PROGRAM).read_bytes()
    (package / PROGRAM).write_bytes(data[: len(data) // 2])
    with pytest.raises(RunoffError, match="cannot be read"):
        converted()
    (package / "Manifest.json").write_text("{}")
    with pytest.raises(RunoffError, match="cannot be read"):
        converted()


def test_a_wrong_epsilon_is_caught(subject: Callable[[str], Subject], package: Path) -> None:
    given = subject("vit_tiny")
    write_package(given.network, FP32, torch.from_numpy(given.photos[:1]), package)

    def widen(operations: Any) -> None:
        named = {operation.outputs[0].name: operation for operation in operations}
        (norm, *_) = [operation for operation in operations if operation.type == "layer_norm"]
        epsilon = named[norm.inputs["epsilon"].arguments[0].name]
        epsilon.attributes["val"].immediateValue.tensor.floats.values[0] *= 100

    change_program(package, widen)
    with pytest.raises(RunoffError, match="differs from PyTorch by"):
        check_package(read_package(package), FP32, given.photos, given.references)


@thorough
def test_nearly_every_sign_that_could_be_flipped_is_caught(subject: Callable[[str], Subject], package: Path) -> None:
    given = subject("mobilenet_v2")
    write_package(given.network, FP32, torch.from_numpy(given.photos[:1]), package)
    whole, draws, caught = (package / WEIGHTS).read_bytes(), np.random.default_rng(0), 0
    count = 20 if FULL else 5

    def flip(weights: NDArray[Any]) -> None:
        weights[draws.integers(len(weights))] *= -1

    for _ in range(count):
        (package / WEIGHTS).write_bytes(whole)
        change_weights(package, flip)
        try:
            check_package(read_package(package), FP32, given.photos, given.references)
        except RunoffError:
            caught += 1
    assert caught >= 0.9 * count
