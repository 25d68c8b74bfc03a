"""An ONNX model as graphs of pywebnn: one for each set of input shapes, as WebNN's shapes are static."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from runoff_runners.model import DTYPES as TENSORS
from runoff_runners.protocol import RunnerError, one_line
from runoff_runners.webnn_node import Node
from runoff_runners.webnn_operators import DTYPES, convert

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runoff_runners.interfaces import Array, TensorSpec

    Value = Any  # a constant, an Array, or a webnn.MLOperand


_ONNX = ("", "ai.onnx")
"""Names of the domain of ONNX's own operators."""


class Model:
    """A model file, read.

    Parameters
    ----------
    path
        The ONNX file.

    Raises
    ------
    ValueError
        If its operators are newer than the conversion.
    """

    def __init__(self, path: str) -> None:
        self._model = onnx.load(path)
        graph = self._model.graph
        self._opset = next((one.version for one in self._model.opset_import if one.domain in _ONNX), 1)
        newest = onnx.defs.onnx_opset_version()
        if self._opset > newest:
            raise ValueError(f"its operators are of opset {self._opset}, and this version of ONNX knows up to {newest}")
        self._constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        self.inputs = [_spec(value) for value in graph.input if value.name not in self._constants]
        self.outputs = [_spec(value) for value in graph.output]

    def build(self, builder: Any, shapes: dict[str, tuple[int, ...]], outputs: list[str]) -> Any:  # noqa: ANN401 (pywebnn's)
        """Return the graph for inputs of these `shapes`, with the `outputs`.

        Raises
        ------
        RunnerError
            ``model-unsupported``, with the operator and the node.
        """
        dtypes = {spec["name"]: spec["dtype"] for spec in self.inputs}
        inputs = {name: builder.input(name, [*shape], dtypes[name]) for name, shape in shapes.items()}
        graph = _Graph(builder, self._constants, inputs)
        for proto in self._model.graph.node:
            given = [graph.values[name] if name else None for name in proto.input]
            node = Node(proto, builder, given, graph.operand, self._opset)
            made = self._fold(proto, node) if _is_constant(proto, given) else _converted(proto, node)
            graph.values |= {name: value for name, value in zip(proto.output, made, strict=False) if name}
        named = graph.outputs(outputs)
        try:
            return builder.build(named)
        except Exception as error:  # pywebnn has no exceptions of its own
            message = f"pywebnn refuses the graph of this model: {one_line(error)}"
            raise RunnerError("model-unsupported", message, "use the target ort-python") from error

    def _fold(self, proto: Any, node: Node) -> list[Array]:  # noqa: ANN401 (onnx has no types here)
        """Return the outputs of a node whose inputs are constants, computed by ONNX's own implementation."""
        if proto.op_type == "Constant" and proto.attribute[0].name == "value":
            return [numpy_helper.to_array(proto.attribute[0].t)]
        from onnx.reference import ReferenceEvaluator

        names = [[onnx.ValueInfoProto(name=name) for name in some if name] for some in (proto.input, proto.output)]
        graph = helper.make_graph([proto], "constants", *names)
        opsets = {one.domain: one.version for one in self._model.opset_import}
        feed = {name: value for name, value in zip(proto.input, node.inputs, strict=True) if name}
        try:
            found: list[Array] = ReferenceEvaluator(graph, opsets).run(None, feed)
        except Exception as error:  # noqa: BLE001 (whatever the implementation raises)
            node.refuse(one_line(error))
        return [np.asarray(one) for one in found]


class _Graph:
    """The values of a graph while it is built, by their names in the ONNX model: arrays are constants."""

    def __init__(self, builder: Any, constants: dict[str, Array], inputs: dict[str, Value]) -> None:  # noqa: ANN401 (pywebnn's)
        self.values: dict[str, Value] = {**constants, **inputs}
        self._builder = builder
        self._inputs = inputs
        self._constants: dict[int, Value] = {}

    def operand(self, value: Value) -> Value:
        """Return a value as an operand; a constant becomes one when it is first used."""
        if not isinstance(value, np.ndarray):
            return value
        if id(value) not in self._constants:
            self._constants[id(value)] = self._builder.constant(_in_webnn(value))
        return self._constants[id(value)]

    def outputs(self, names: list[str]) -> dict[str, Value]:
        """Return the operands called `names` in the order in which they were made, as pywebnn wants them."""
        made: dict[int, int] = {}
        for place, value in enumerate(self.values.values()):
            made.setdefault(id(value), place)
        computed: dict[str, Value] = {}
        passed_on: dict[str, Value] = {}
        taken = {id(operand) for operand in self._inputs.values()}
        for name in sorted(names, key=lambda name: made[id(self.values[name])]):
            value = self.values[name]
            passed = isinstance(value, np.ndarray) or id(value) in taken
            (passed_on if passed else computed)[name] = self.operand(value)
            taken.add(id(value))
        # an output needs an operation of its own
        return computed | {name: self._builder.identity(operand) for name, operand in passed_on.items()}


def _is_constant(proto: Any, given: list[Value]) -> bool:  # noqa: ANN401 (onnx has no types here)
    arrays = all(value is None or isinstance(value, np.ndarray) for value in given)
    # a shared weight passes through Identity: it needs no implementation
    return proto.op_type == "Constant" or (arrays and bool(given) and proto.op_type != "Identity")


def _converted(proto: Any, node: Node) -> list[Value]:  # noqa: ANN401 (as above)
    if proto.domain not in _ONNX:
        node.refuse(f"it is of the domain {proto.domain}")
    try:
        return convert(node)
    except RunnerError:
        raise
    except Exception as error:  # noqa: BLE001 (pywebnn has no exceptions of its own)
        node.refuse(one_line(error))


def _in_webnn(value: Array) -> Array:
    """Return a constant in a dtype of WebNN.

    Raises
    ------
    RunnerError
        ``model-unsupported``.
    """
    value = value.astype(np.uint8) if value.dtype == np.bool_ else value
    if value.dtype.name not in DTYPES:
        raise RunnerError("model-unsupported", f"WebNN has no constants of the dtype {value.dtype}", "use fp32 weights")
    return np.asarray(value, order="C")


def _spec(value: Any) -> TensorSpec:  # noqa: ANN401 (onnx has no types here)
    """Return an input or output as the protocol describes it; the dtype of what is not a tensor is its kind."""
    if value.type.WhichOneof("value") != "tensor_type":
        return {"name": value.name, "dtype": str(value.type.WhichOneof("value")), "shape": []}
    tensor = value.type.tensor_type
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type).name.replace("object", "str")
    shape = [size.dim_value if size.HasField("dim_value") else None for size in tensor.shape.dim]
    return {"name": value.name, "dtype": dtype if dtype in TENSORS else f"tensor({dtype})", "shape": shape}
