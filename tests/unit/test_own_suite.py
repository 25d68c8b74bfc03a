"""The suite of ``runoff bench MODEL``."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from runoff.plan.own_suite import OwnOptions, is_model, model_name, own_suite
from runoff.plan.suite import Suite, parse_suite
from runoff.records.errors import RunoffError


def suite_of(path: str, **options: Any) -> Suite:
    return parse_suite(own_suite(path, OwnOptions(**options)), "test")


def test_a_model_alone() -> None:
    suite = suite_of("folder/my model.onnx")
    (name,) = suite.suite.models or ()
    assert (suite.suite.name, name) == ("my-model", "my-model")
    assert suite.models[name].path == str(Path("folder/my model.onnx").absolute())
    assert suite.groups[0].workloads == ("tensor",)
    assert suite.suite.baselines == ("ort-python",)
    assert suite.measure.stopping_rule() == (0.02, 180.0)


def test_every_option_is_in_the_suite() -> None:
    suite = suite_of(
        'a"b.onnx',
        inputs=("ids=1,128:int64", "mask=1,128"),
        examples=("x.npz",),
        threads="1,all",
        batch="1, 8",
        profile="latency",
        targets="ort-rust",
        precision="5%",
        time="1m",
        compare=False,
        tolerance=0.25,
    )
    own = suite.models["a-b"]
    assert own.inputs == {"ids": "1,128:int64", "mask": "1,128"}
    assert own.examples == (str(Path("x.npz").absolute()),)
    assert (own.compare, own.tolerance) == (False, 0.25)
    assert suite.settings == {"threads": [1, "all"], "batch": [1, 8], "profile": ["latency"]}
    assert suite.suite.targets == ("ort-rust",)
    assert suite.measure.stopping_rule() == (0.05, 60.0)


def test_a_program_of_torch_export() -> None:
    suite = suite_of("net.pt2", inputs=("x=1,3",), onnx="net.onnx", python="bin/python")
    own = suite.models["net"]
    paths = (own.program, own.path, own.python)
    assert paths == tuple(str(Path(name).absolute()) for name in ("net.pt2", "net.onnx", "bin/python"))
    assert suite.suite.baselines == ("torch-export", "ort-python")
    assert (suite.suite.targets or ())[-1] == "torch-export"
    assert list(suite.targets) == ["torch-export"]
    both = suite_of("net:make", example="net:inputs", program="net.pt2")
    assert both.suite.baselines == ("torch", "ort-python")
    assert both.models["net"].program == own.program


@pytest.mark.parametrize(
    ("name", "folder", "message"),
    [
        ("net.pt", "archive/code/", "net.pt is a TorchScript program, which no target runs"),
        ("net.pth", "archive/data/", "net.pth has weights without their network"),
        ("net.tflite", "", "net.tflite is neither an ONNX file nor a program of torch.export"),
        ("missing.pt", None, "missing.pt not found"),
    ],
)
def test_files_of_other_formats(
    name: str, folder: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if folder:
        with zipfile.ZipFile(name, "w") as archive:
            archive.writestr(f"{folder}file", "")
    elif folder is not None:
        Path(name).write_text("model")
    with pytest.raises(RunoffError) as caught:
        is_model(name)
    assert caught.value.message.startswith(message)
    assert "pass" in caught.value.hint


def test_several_shapes_are_several_models() -> None:
    suite = suite_of("net.onnx", inputs=("x=1,3,224,224", "x=1,3,320,320", "y=1"))
    assert {name: own.inputs for name, own in suite.models.items()} == {
        "net-1x3x224x224": {"x": "1,3,224,224", "y": "1"},
        "net-1x3x320x320": {"x": "1,3,320,320", "y": "1"},
    }
    assert suite.suite.models == tuple(suite.models)


def test_two_versions() -> None:
    suite = suite_of("a.onnx", version="b.onnx", targets="ort-rust")
    assert suite.models["a"].versions == {"b": str(Path("b.onnx").absolute())}
    assert suite.suite.targets == ("ort-rust", "ort-rust@b")
    assert suite.suite.baselines == ("ort-rust",)
    assert suite.measure.latency.huge_pages
    assert suite.measure.stopping_rule() == (0.005, 300.0)


def test_a_network_in_pytorch() -> None:
    suite = suite_of("package.net:make", example="package.net:inputs", python="/env/bin/python")
    own = suite.models["net"]
    assert (own.path, own.factory, own.example) == ("", "package.net:make", "package.net:inputs")
    assert suite.suite.baselines == ("torch", "ort-python")
    assert suite.targets["torch"].command[0] == "/env/bin/python"
    paired = suite_of("package.net:make", example="package.net:inputs", onnx="net.onnx")
    assert paired.models["net"].path == str(Path("net.onnx").absolute())


@pytest.mark.parametrize(
    ("text", "model"),
    [("a.onnx", True), ("A.ONNX", True), ("p.q:make", True), ("quick", False), ("a.toml", False), ("C:x", True)],
)
def test_what_is_a_model(text: str, model: bool) -> None:  # noqa: FBT001
    assert is_model(text) == model


@pytest.mark.parametrize(("path", "name"), [("/a/é b.onnx", "b"), ("..onnx", "model"), ("v1.2.onnx", "v1.2")])
def test_names_are_names_of_files(path: str, name: str) -> None:
    assert model_name(path) == name


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("a.onnx", {"threads": "two"}, "--threads two: 'two' is not a number"),
        ("a.onnx", {"batch": ","}, "--batch: no value"),
        ("a.onnx", {"inputs": ("x",)}, "--input x: no shape"),
        ("a.onnx", {"inputs": ("x=1", "x=2", "x=3", "y=1", "y=2")}, "--input y has 2 shapes, another input has 3"),
        ("a.onnx", {"example": "p:q"}, "--example is for a network in PyTorch; a.onnx is a file"),
        ("a.onnx", {"tolerance": float("nan")}, "--tolerance nan: not a number"),
        ("p:make", {}, "p:make needs an example of its inputs"),
        ("p:make", {"example": "p:q", "inputs": ("x=1",)}, "inputs cannot be given to a network in PyTorch"),
        ("p:make", {"example": "p:q", "examples": ("x.npz",)}, "examples cannot be given to a network in PyTorch"),
        ("a.onnx", {"preprocess": "/no/such.toml"}, "--preprocess /no/such.toml: not readable"),
    ],
)
def test_bad_options(path: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RunoffError) as caught:
        suite_of(path, **options)
    assert message in caught.value.message
