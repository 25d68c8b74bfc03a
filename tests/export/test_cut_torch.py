"""A network in PyTorch is cut where its ONNX file is. These tests run in the environment of the export."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from runoff.models.cut import cut
from runoff.models.cuts import CUTS, Cuts, Request, builder_of
from runoff.records.errors import RunoffError
from runoff.records.protocol import ModelFile, TensorFile, TensorSpec
from runoff_runners.target_torch import load_weights
from runoff_runners.torch_factory import find_builder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

torch.set_num_threads(1)
SHAPE = (1, 4, 8, 8)
EXAMPLES = 2
CODE = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, place):
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.relu, self.dropout = nn.ReLU(inplace=place % 2 == 0), nn.Dropout(0.2)

    def forward(self, x):
        y = self.norm(self.convolution(x))
        y += x
        return self.dropout(self.relu(y))


def blocks():
    torch.manual_seed(0)
    network = nn.Sequential(*map(Block, range(6)), nn.Flatten(), nn.Linear(256, 3))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network


def others():
    torch.manual_seed(1)
    return nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(4)))


class Equal(nn.Module):
    def forward(self, x):
        return x.square().relu().tanh().sin().cos()


class Branching(nn.Module):
    def forward(self, x):
        return x.sin() if x.sum() > 0 else x.cos()
"""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Request, Path]]:
    """Return a function that exports a network to ONNX, and returns the request to cut both, and an empty folder."""
    (tmp_path / "nets.py").write_text(CODE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "nets", raising=False)

    def make(builder: str, segments: int = 3, exported: str = "", form: str = "pt") -> tuple[Request, Path]:
        network, inputs = build(builder), [example(index) for index in range(EXAMPLES)]
        onnx = tmp_path / "model.onnx"
        names = {"input_names": ["x"], "output_names": ["y"], "opset_version": 17, "dynamo": False}
        torch.onnx.export(build(exported or builder), (torch.from_numpy(inputs[0]),), onnx, **names)
        file = tmp_path / f"model.{form}"
        if form == "pt":
            torch.save(network.state_dict(), file)
        else:
            torch.export.save(torch.export.export(network, (torch.from_numpy(inputs[0]),)), file)
        model = ModelFile(
            name="nets",
            path=str(file),
            format=form,
            sha256="",
            inputs=(TensorSpec("x", "float32", (None,)),),
            outputs=(TensorSpec("y", "float32", (None,)),),
            builder=f"nets:{builder}",
            builder_folder=str(tmp_path),
        )
        folder = tmp_path / "cut"
        folder.mkdir()
        files = []
        for index, array in enumerate(inputs):
            array.tofile(tmp_path / f"x{index}.bin")
            files.append({"x": TensorFile(str(tmp_path / f"x{index}.bin"), "float32", array.shape)})
        return Request(model=str(onnx), examples=tuple(files), networks=(model,), segments=segments), folder

    return make


def build(builder: str) -> nn.Module:
    import nets  # type: ignore[import-not-found]  # written by the fixture

    network: nn.Module = getattr(nets, builder)().eval()
    return network


def example(index: int) -> Any:
    return np.random.default_rng(index).normal(size=SHAPE).astype(np.float32)


def read_cuts(folder: Path) -> Cuts:
    return msgspec.json.decode((folder / CUTS).read_bytes(), type=Cuts)


def load(folder: Path, name: str, form: str = "pt") -> nn.Module:
    """Return a part of the network as the runner does."""
    path = folder / f"{name}.{form}"
    if form == "pt2":
        return torch.export.load(path).module()
    request: Any = {
        "model": {"builder": builder_of(name), "builder_folder": str(folder)},
        "settings": {"prepared": None},
    }
    sys.modules.pop(builder_of(name).partition(":")[0], None)
    return load_weights(str(path), request, find_builder(request))


def run(module: nn.Module, arrays: dict[str, Any]) -> list[Any]:
    with torch.inference_mode():
        return [tensor.numpy() for tensor in module(*map(torch.from_numpy, arrays.values()))]


class Calls(TorchDispatchMode):  # type: ignore[misc]  # torch has no types here
    """Counts the operators that PyTorch calls, inside of the composed ones."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counter[str]()

    def __torch_dispatch__(self, function: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[str(function)] += 1
        return function(*args, **(kwargs or {}))


def calls(module: nn.Module, arrays: dict[str, Any]) -> Counter[str]:
    inputs, found = [torch.from_numpy(array) for array in arrays.values()], Calls()
    with torch.no_grad(), found:
        module(*inputs)
    return found.counts


def test_each_call_has_the_tensor_of_the_file_that_it_leads_to(made: Any) -> None:
    request, folder = made("blocks")
    cut(request, folder)
    found = read_cuts(folder)
    tensors = [name for _, name in found.calls]
    # in every other block, the ReLU overwrites the sum, which then has the values of no tensor of the file
    assert [name for name, _ in found.calls[:5]] == ["conv2d", "batch_norm", "add_", "relu_", "dropout"]
    assert len(set(tensors[:5])) == 1
    made_by = {name: work.operator for work in found.graph for name in work.outputs}
    assert [made_by[name] for name in dict.fromkeys(tensors)] == [*["Relu", "Add", "Relu"] * 3, "Flatten", "Gemm"]


@pytest.mark.parametrize("form", ["pt", "pt2"])
@pytest.mark.parametrize("segments", [2, 4])
def test_segments_compute_what_those_in_onnx_do(made: Any, segments: int, form: str) -> None:
    request, folder = made("blocks", segments, form=form)
    cut(request, folder)
    count = len(read_cuts(folder).segments)
    assert 2 <= count <= segments
    names = ["whole", *(f"segment-{number}" for number in range(1, count + 1))]
    for name in names:
        module, session = load(folder, name, form), ort.InferenceSession(str(folder / f"{name}.onnx"))
        for index in range(EXAMPLES):
            arrays = dict(np.load(folder / f"{name}.{index}.npz"))
            before = {key: array.copy() for key, array in arrays.items()}
            ours = run(module, arrays)
            for own, wanted in zip(ours, session.run(None, before), strict=True):
                assert np.abs(own - wanted).max() <= 1e-5 * np.abs(wanted).max()
            # a call that writes to its input would change that of the next inference
            assert all(np.array_equal(array, before[key]) for key, array in arrays.items())


def test_segments_call_what_the_network_calls(made: Any) -> None:
    request, folder = made("blocks", 4)
    cut(request, folder)
    count = len(read_cuts(folder).segments)
    whole, *segments = (
        calls(load(folder, name), dict(np.load(folder / f"{name}.0.npz")))
        for name in ("whole", *(f"segment-{number}" for number in range(1, count + 1)))
    )
    assert sum(segments, Counter()) == whole == calls(build("blocks"), {"x": example(0)})
    assert (whole["aten.relu_.default"], whole["aten.add_.Tensor"]) == (3, 6)


def test_cuts_return_their_inputs(made: Any) -> None:
    request, folder = made("blocks")
    cut(request, folder)
    for number in range(1, len(read_cuts(folder).cuts) + 1):
        module, arrays = load(folder, f"cut-{number}"), dict(np.load(folder / f"cut-{number}.0.npz"))
        assert not calls(module, arrays)
        assert all(np.array_equal(a, b) for a, b in zip(arrays.values(), run(module, arrays), strict=True))


def test_tensors_with_equal_values_are_no_places(made: Any) -> None:
    request, folder = made("Equal", 20)
    cut(request, folder)
    count = len(read_cuts(folder).cuts)
    assert count
    for number in range(1, count + 1):
        (array,) = np.load(folder / f"cut-{number}.0.npz").values()
        assert not np.array_equal(array, example(0) ** 2)


def test_another_network_shares_no_tensor(made: Any) -> None:
    request, folder = made("blocks", exported="others")
    with pytest.raises(RunoffError, match="or by one that PyTorch does not compute"):
        cut(request, folder)


@pytest.mark.filterwarnings("ignore")
def test_a_network_that_cannot_be_exported_is_named(made: Any) -> None:
    request, folder = made("Branching")
    with pytest.raises(RunoffError, match=r"model\.pt: torch\.export fails: ") as failed:
        cut(request, folder)
    assert "\n" not in failed.value.message
    assert failed.value.hint == "explain the whole process instead: --metric cold"
