"""``runoff train`` on a few images, then every step of a run on the trained model and its labelled images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from running import only_run, runoff

from machine import skip_because, thorough
from runoff import paths
from runoff.models.store import ModelStore

if TYPE_CHECKING:
    from pathlib import Path

SUITE = """
[suite]
name = "s"
models = ["shades"]
targets = ["torch", "ort-python"]
probes = ["accuracy"]
"""


@pytest.fixture(autouse=True)
def _environment() -> None:
    python = paths.environments() / "export" / "bin" / "python"
    skip_because("" if python.exists() else f"{python} is missing; run: nox -s export")


def shades(path: Path, count: int = 48) -> Path:
    """Save images of two classes, dark and bright, with some noise."""
    rng = np.random.default_rng(0)
    labels = np.array(["dark", "bright"] * (count // 2))
    levels = np.where(labels == "dark", 40, 210)[:, None, None]
    np.savez(path, images=(levels + rng.integers(0, 30, (count, 12, 12))).astype(np.uint8), labels=labels)
    return path


@thorough
def test_a_trained_model_has_labelled_images_and_equal_predictions(tmp_path: Path) -> None:
    shades(tmp_path / "shades.npz")
    options = ("--data", "shades.npz", "--epochs", "4", "--seed", "3", "--json")
    home = {"RUNOFF_HOME": str(tmp_path / "home")}
    ended = runoff("train", "mobilenet_v2", *options, cwd=tmp_path, **home)
    assert ended.code == 0, ended.err
    made = msgspec.json.decode(ended.out)
    assert (made["name"], made["seed"], made["images"]) == ("shades", 3, {"train": 29, "validation": 7, "test": 12})
    model = ModelStore(tmp_path / "home" / "models").get("shades")
    model.verify()
    examples = model.manifest.examples
    assert [bool(example.inputs) for example in examples] == [True] * 8 + [False] * 4
    assert {example.label for example in examples} == {0, 1}
    assert model.manifest.training is not None
    assert made["accuracy"]["test"] == sum(
        example.top1 == ["bright", "dark"][example.label or 0] for example in examples
    ) / len(examples)
    (tmp_path / "suite.toml").write_text(SUITE)
    ended = runoff("bench", "suite.toml", "--json", "--results", tmp_path / "results", cwd=tmp_path, **home)
    assert ended.code == 0, ended.err
    (accuracy,) = msgspec.json.decode(ended.out)["accuracy"]
    (group,) = accuracy["groups"]
    assert len(group["cases"]) == 3
    assert (group["images"], group["top1"]["value"]) == (12, made["accuracy"]["test"])
    assert (only_run(tmp_path / "results").folder / "plots" / "confusion-shades-A.svg").exists()
    again = runoff("train", "mobilenet_v2", *options, cwd=tmp_path, **home)
    assert (again.code, "already has a model 'shades'" in again.err) == (2, True)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("missing", "--data missing: no such folder"),
        pytest.param("few.npz", "4 images of 2 classes are too few", marks=thorough),
        ("empty", "empty: no images in its sub-folders"),
    ],
)
def test_bad_data_is_one_line_with_a_hint(data: str, message: str, tmp_path: Path) -> None:
    shades(tmp_path / "few.npz", count=4)
    (tmp_path / "empty").mkdir()
    ended = runoff("train", "--data", data, cwd=tmp_path, RUNOFF_HOME=str(tmp_path / "home"))
    assert ended.code == 2
    assert message in ended.err
    assert "Traceback" not in ended.err
