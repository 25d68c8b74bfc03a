"""`torch` runs a user's own network as the workload `tensor`, and names its factory if that fails."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from runners_under_test import RUNNERS, Document, execute
from test_turns import started

from machine import thorough

NETWORKS = """
import torch

print("modules may print")


class Network(torch.nn.Module):
    def __init__(self, compute):
        super().__init__()
        self.compute = compute
        self.factor = torch.nn.Parameter(torch.full((1,), 3.0))

    def forward(self, *inputs):
        return self.compute(self.factor, *inputs)


def as_dict(): return Network(lambda factor, x, n: {"any": x * factor, "name": n})
def as_list(): return Network(lambda factor, x, n: [x * factor, n])
def as_tuple(): return Network(lambda factor, x, n: (x * factor, n.reshape([])))
def doubled(): return Network(lambda factor, x: x + x)
def raising(): raise ValueError("no such size\\nof a network")
def failing(): return Network(lambda factor, x: {}["missing"])
def nothing(): return None
def linear(): return Network(lambda factor, x: torch.nn.functional.linear(x, torch.eye(2) * factor))
def nested(): return Network(lambda factor, x: (x, [x]))
"""
FLOATS = {"dtype": "float32", "shape": [2], "bytes": struct.pack("<2f", 1, -2)}
TRIPLED = {"dtype": "float32", "shape": [2], "bytes": struct.pack("<2f", 3, -6)}
NUMBER = {"dtype": "int64", "shape": [], "bytes": struct.pack("<q", 16000)}
BFLOAT16 = {"dtype": "bfloat16", "shape": [1, 2], "bytes": b"\xc0\x3f\x00\xc0"}
"""1.5 and -2."""
TWICE = {**BFLOAT16, "bytes": b"\x40\x40\x80\xc0"}
TEXT = {"dtype": "str", "shape": [1], "bytes": b"\0\0\0\0"}
WORKING = {
    "as_dict": ([FLOATS, NUMBER], [TRIPLED, NUMBER]),
    "as_list": ([FLOATS, NUMBER], [TRIPLED, NUMBER]),
    "as_tuple": ([FLOATS, NUMBER], [TRIPLED, NUMBER]),
    "doubled": ([BFLOAT16], [TWICE]),
}
FAILING = {
    "network:raising": (
        [FLOATS],
        1,
        "model-unreadable",
        "model.builder: network:raising: ValueError: no such size of a",
    ),
    "nowhere:make": ([FLOATS], 1, "model-unreadable", "nowhere:make: ModuleNotFoundError: No module named 'nowhere'"),
    "network:nothing": ([FLOATS], 1, "model-unreadable", "network:nothing: returned NoneType, not a torch.nn.Module"),
    "network:failing": ([FLOATS], 1, "runtime-failed", "network:failing: KeyError: 'missing'"),
    "network:nested": ([FLOATS], 3, "type-unsupported", "output 'number 2' is list, which"),
    "network:doubled": ([TEXT], 3, "type-unsupported", "input 'input0' is str, which"),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of weights for `Network`."""
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    code = f"import torch; torch.save({{'factor': torch.full((1,), 3.0)}}, {str(path)!r})"
    subprocess.run([TORCH.make().command[0], "-c", code], check=True)
    return path


(TORCH,) = (runner for runner in RUNNERS if runner.name == "torch")


@pytest.mark.parametrize("factory", WORKING)
def test_a_network_of_the_user(factory: str, weights: Path, tmp_path: Path) -> None:
    given, expected = WORKING[factory]
    outcome = execute(TORCH, request_of(f"network:{factory}", given, expected, weights, tmp_path), tmp_path)
    assert outcome.exit_code == 0, outcome.stderr
    outputs = outcome.result.outputs
    assert [output.name for output in outputs] == [f"output{place}" for place in range(len(expected))]
    paths = [tmp_path / "out" / f"{output.name}.0.bin" for output in outputs]
    found = [
        {"dtype": output.dtype, "shape": list(output.shape), "bytes": path.read_bytes()}
        for output, path in zip(outputs, paths, strict=True)
    ]
    assert found == expected


@pytest.mark.parametrize("factory", FAILING)
def test_the_factory_at_fault_is_named(factory: str, weights: Path, tmp_path: Path) -> None:
    given, exit_code, kind, words = FAILING[factory]
    outcome = execute(TORCH, request_of(factory, given, [FLOATS], weights, tmp_path), tmp_path)
    outcome.assert_failed(kind, exit_code)
    assert words in (outcome.result.message or "")


@pytest.mark.parametrize(("precision", "tripled"), [("fp32", 3.003), ("fp16", 3.00390625), ("bf16", 3.0)])
def test_a_network_in_fewer_bits_has_outputs_in_float32(
    precision: str, tripled: float, weights: Path, tmp_path: Path
) -> None:
    given = {**FLOATS, "bytes": struct.pack("<2f", 1.001, -2)}
    request = request_of("network:linear", [given], [FLOATS], weights, tmp_path)
    outcome = execute(TORCH, {**request, "settings": {"precision": precision}}, tmp_path)
    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.result.outputs[0].dtype == "float32"
    found = struct.unpack("<2f", (tmp_path / "out" / "output0.0.bin").read_bytes())
    assert found == pytest.approx((tripled, -6.0), abs=1e-4)


@thorough
def test_every_thread_of_a_server_computes_in_fewer_bits(weights: Path, tmp_path: Path) -> None:
    given = {**FLOATS, "bytes": struct.pack("<2f", 1.001, -2)}
    request = request_of("network:linear", [given], [FLOATS], weights, tmp_path)
    load = {"settings": {"precision": "bf16"}, "measure": {"kind": "load", "transport": "pipe", "warmup": 0}}
    with started(TORCH, {**request, **load}, tmp_path) as live:
        assert len(live.ask("0 0").split()) == 6
        result, exit_code, _ = live.end()
    assert (exit_code, len(result.outputs)) == (0, 2)
    assert {Path(output.path).read_bytes() for output in result.outputs} == {struct.pack("<2f", 3, -6)}


def test_a_network_that_nothing_of_can_be_quantised_is_refused(weights: Path, tmp_path: Path) -> None:
    request = request_of("network:linear", [FLOATS], [FLOATS], weights, tmp_path)
    outcome = execute(TORCH, {**request, "settings": {"precision": "int8"}}, tmp_path)
    outcome.assert_failed("provider-unavailable", 3)
    assert "no layer that quantize_dynamic converts" in (outcome.result.message or "")


def request_of(factory: str, given: list[Document], expected: list[Document], weights: Path, folder: Path) -> Document:
    """Return the request for one item; its files and the module of the networks are in the folder's ``out``."""
    out = folder / "out"
    out.mkdir()
    (out / "network.py").write_text(NETWORKS, encoding="utf-8")
    specs = {
        end: [
            {"name": f"{end}{place}", "dtype": tensor["dtype"], "shape": tensor["shape"]} for place, tensor in tensors
        ]
        for end, tensors in (("input", [*enumerate(given)]), ("output", [*enumerate(expected)]))
    }
    files = {}
    for spec, tensor in zip(specs["input"], given, strict=True):
        path = out / f"{spec['name']}.in"
        path.write_bytes(tensor["bytes"])
        files[spec["name"]] = {"path": str(path), "dtype": tensor["dtype"], "shape": tensor["shape"]}
    model = {"name": "mine", "path": str(weights), "format": "pt", "sha256": "0" * 64, "builder": factory}
    return {
        "case": "mine",
        "workload": "tensor",
        "model": {**model, "builder_folder": str(out), "inputs": specs["input"], "outputs": specs["output"]},
        "inputs": [{"tensors": files}],
        "outputs_dir": str(out),
    }
