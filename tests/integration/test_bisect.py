"""``runoff bisect``: bad input, and a real search over releases of ONNX Runtime from the index."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from running import MODEL, only_run, runoff

from machine import thorough
from onnx_models import linear

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("onnxruntim", "1.31..1.32", MODEL), "no target is known to need the package 'onnxruntim'"),
        (("onnxruntime", "new..old", MODEL), "'new..old' is no release"),
        (("onnx", "1.20.0,1.21.0", MODEL), "no target runs on onnx"),
        (("onnxruntime", "1.32.0,1.32.0", MODEL), "1 releases found, at least 2 are needed"),
        (("onnxruntime", "1.32.0", MODEL), "1 releases found, at least 2 are needed"),
        (("onnxruntime", "1.31.0,1.32.0", MODEL, "--target", "torch"), "torch does not run on onnxruntime"),
        (("onnxruntime", "1.31.0,1.32.0", MODEL, "--target", "ort-pyton"), "unknown target 'ort-pyton'"),
        (("onnxruntime", "1.31.0,1.32.0", "nowhere.onnx"), "nowhere.onnx"),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    ended = runoff("bisect", *arguments, "--results", tmp_path)
    assert ended.code == 2
    assert words in ended.err
    assert "Traceback" not in ended.err
    assert not list(tmp_path.iterdir())


@thorough
def test_releases_that_cannot_be_installed_are_named(tmp_path: Path) -> None:
    linear(tmp_path / "net.onnx")
    ended = runoff(
        "bisect", "onnxruntime", "1.31.0,9.9.9", tmp_path / "net.onnx", "--results", tmp_path / "results", "--json"
    )
    made = json.loads(ended.out)
    assert (ended.code, made["outcome"], made["after"]) == (0, "found", "9.9.9")
    assert "cannot install onnxruntime-9.9.9" in made["sentence"]


@thorough
@pytest.mark.parametrize("target", ["ort-python", "ort-rust"])
def test_releases_are_installed_and_measured_side_by_side(target: str, tmp_path: Path) -> None:
    linear(tmp_path / "net.onnx")
    command = ("bisect", "onnxruntime", "1.30.0,1.31.0,1.32.0", tmp_path / "net.onnx", "--target", target, "--all")
    ended = runoff(*command, "--results", tmp_path / "results", "--json")
    assert ended.code == 0, ended.out + ended.err
    made, run = json.loads(ended.out), only_run(tmp_path / "results")
    assert list(made["trend"]) == ["1.30.0", "1.31.0", "1.32.0"]
    versions = {name: can.version for name, can in run.info.capabilities.items()}
    assert {versions[f"{target}-{release}"] for release in made["trend"]} == set(made["trend"])
    assert {record.status for record in run.records} == {"ok"}
    assert {"bisect.json", "bisect.svg"} <= {file.name for file in run.folder.iterdir()}
