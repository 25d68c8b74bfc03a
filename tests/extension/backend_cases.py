"""The test models of ONNX itself, which the package `onnx` contains or generates."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from both import save
from onnx import numpy_helper
from onnx.backend.test.loader import DATA_DIR, load_model_tests
from onnx.backend.test.runner import Runner

ON_DISK = ("simple", "pytorch-converted", "pytorch-operator")


class Case(NamedTuple):
    """A model with inputs and expected outputs."""

    name: str
    path: Path
    sets: list[tuple[list[Any], list[Any]]]
    rtol: float
    atol: float

    def judge(self, answers: list[list[Any]]) -> str:
        """Return the differences that ONNX's own comparison finds, one list for each set; "" if none."""
        try:
            for (_, expected), outputs in zip(self.sets, answers, strict=True):
                Runner.assert_similar_outputs(expected, outputs, self.rtol, self.atol)
        except (AssertionError, AttributeError, TypeError) as error:
            # the last two: ONNX's comparison does not handle None, or an empty list against an array
            return f"{type(error).__name__}: {error}"
        return ""


def node_cases(folder: Path) -> list[Case]:
    """Return the tests of single operators, which ONNX generates; their models are written to `folder`."""
    with warnings.catch_warnings():
        # NumPy warns while ONNX computes expected outputs with infinities
        warnings.simplefilter("ignore")
        made = load_model_tests(kind="node")
    cases = []
    for one in made:
        sets = [(_values(given), _values(expected)) for given, expected in one.data_sets]
        cases.append(Case(one.name, save(one.model, folder / f"{one.name}.onnx"), sets, one.rtol, one.atol))
    return cases


def disk_cases() -> list[Case]:
    """Return the tests stored on disk: small networks, and operators exported by PyTorch."""
    cases = []
    for one in [one for kind in ON_DISK for one in load_model_tests(kind=kind)]:
        folder = Path(one.model_dir)
        model = folder / "model.onnx"
        sets = [_read(data, model) for data in sorted(folder.glob("test_data_set_*"))]
        cases.append(Case(one.name, model, sets, one.rtol, one.atol))
    return cases


def light_cases() -> list[Case]:
    """Return the well-known networks of before 2018 without their weights, with their outputs for a ramp."""
    cases = []
    for path in sorted((Path(DATA_DIR) / "light").glob("*.onnx")):
        graph = onnx.load(path).graph
        known = {one.name for one in graph.initializer}
        given = [Runner.generate_dummy_data(one, name=one.name) for one in graph.input if one.name not in known]
        expected = numpy_helper.to_array(onnx.load_tensor(path.with_name(f"{path.stem}_output_0.pb")))
        cases.append(Case(path.stem, path, [(given, [expected])], 1e-3, 1e-7))
    return cases


def _read(folder: Path, model: Path) -> tuple[list[Any], list[Any]]:
    graph = onnx.load(model, load_external_data=False).graph
    known = {one.name for one in graph.initializer}
    ports = {"input": [one for one in graph.input if one.name not in known], "output": list(graph.output)}
    given, expected = (
        [_from_file(folder / f"{side}_{index}.pb", port) for index, port in enumerate(ports[side])]
        for side in ("input", "output")
    )
    return given, expected


def _from_file(path: Path, port: onnx.ValueInfoProto) -> Any:
    data = path.read_bytes()
    kind = port.type.WhichOneof("value")
    if kind == "sequence_type":
        return numpy_helper.to_list(onnx.SequenceProto.FromString(data))
    if kind == "optional_type":
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(data))
    return numpy_helper.to_array(onnx.TensorProto.FromString(data))


def _values(items: Any) -> list[Any]:
    return [_value(item) for item in items]


def _value(item: Any) -> Any:
    """Convert the data of ONNX's tests to arrays, lists of arrays and None."""
    if isinstance(item, onnx.TensorProto):
        return numpy_helper.to_array(item)
    if isinstance(item, list):
        return _values(item)
    return np.asarray(item) if isinstance(item, np.generic) else item
