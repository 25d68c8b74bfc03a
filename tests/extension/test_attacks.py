"""Hostile input ends in a plain exception or the right output, never with the interpreter."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from attacks import ATTACKS
from both import save
from generated import element, model, one_node, tensor
from onnx import TensorProto, helper, numpy_helper
from programs import slow_model

FLOAT, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
PROGRAM = Path(__file__).with_name("attacks.py")
TIMEOUT_S = 200


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the models that are attacked."""
    made = tmp_path_factory.mktemp("attacked")
    slow_model(made)
    save(one_node("Add", DOUBLE, 1), made / "add.onnx")
    save(one_node("Identity", np.dtype(object), None), made / "strings.onnx")
    for name, kind in (("small", TensorProto.FLOAT), ("small64", TensorProto.DOUBLE)):
        ends = [helper.make_tensor_value_info(end, kind, [8]) for end in "xzy"]
        inputs = ["x", "x"] if name == "small" else ["x", "z"]
        node = helper.make_node("Add", inputs, ["y"])
        save(model([node], ends[: len(set(inputs))], ends[2:]), made / f"{name}.onnx")
    promised = helper.make_tensor_value_info("y", TensorProto.INT64, [1, 8])
    found = helper.make_node("NonZero", ["x"], ["y"])
    save(
        model([found], [helper.make_tensor_value_info("x", TensorProto.FLOAT, [8])], [promised]), made / "promise.onnx"
    )
    save(drawing(), made / "drawing.onnx")
    save(weights(), made / "weights.onnx")
    vector = helper.make_node("DictVectorizer", ["x"], ["y"], domain="ai.onnx.ml", int64_vocabulary=[1, 3])
    taken = helper.make_map_type_proto(element("int64"), tensor("v", FLOAT, None).type)
    save(model([vector], [helper.make_value_info("x", taken)], [tensor("y", FLOAT, 2)]), made / "map.onnx")
    return made


def weights() -> object:
    """Return a model with a megabyte of weights."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 512]) for name in ("x", "y")]
    made = model([helper.make_node("MatMul", ["x", "w"], ["y"])], ends[:1], ends[1:])
    made.graph.initializer.append(numpy_helper.from_array(np.ones((512, 512), np.float32), "w"))
    return made


def drawing() -> object:
    """Return a model that draws random numbers, and then takes one, which fails if there is no such place."""
    nodes = [
        helper.make_node("RandomUniform", [], ["numbers"], shape=[8], seed=1.0),
        helper.make_node("Gather", ["numbers", "place"], ["drawn"]),
    ]
    place = helper.make_tensor_value_info("place", TensorProto.INT64, [1])
    return model(nodes, [place], [helper.make_tensor_value_info("drawn", TensorProto.FLOAT, [1])])


@pytest.mark.parametrize("name", [attack.__name__ for attack in ATTACKS])
def test_attack(name: str, folder: Path) -> None:
    command = [sys.executable, str(PROGRAM), name, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, f"{ended(done.returncode)}: {done.stderr}"


def ended(code: int) -> str:
    """Return how a process ended."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
