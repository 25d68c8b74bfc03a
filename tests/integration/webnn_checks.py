"""Checks of the conversion from ONNX to WebNN: one process in the environment `webnn` runs them all.

``python webnn_checks.py FOLDER`` prints, by name, the largest difference of the converted model from ONNX Runtime on
the model itself, relative to its largest output, or the failure: of pywebnn's `compute`, and of its converted graph.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, ValueInfoProto, helper, load, numpy_helper, save

from runoff_runners.protocol import RunnerError
from runoff_runners.target_webnn_compute import create_context
from runoff_runners.webnn_convert import Model
from runoff_runners.webnn_operators import _METHODS, _OPERATORS, _REDUCTIONS

Array = NDArray[Any]
RANDOM = np.random.default_rng(17)
UNARY = ("Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "Neg", "Reciprocal", "Relu", "Sigmoid", "Sign", "Sin", "Softplus")
COMPARISONS = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")


def floats(*shape: int) -> Array:
    """Return numbers of both signs, none of them near zero."""
    signs = RANDOM.choice([-1, 1], shape)
    return (signs * RANDOM.uniform(0.2, 2, shape)).astype(np.float32)


def whole(*numbers: int) -> Array:
    """Return a constant of whole numbers."""
    return np.array(numbers, np.int64)


def scalar(number: float) -> Array:
    """Return a constant without dimensions."""
    return np.array(number, np.float32)


X = floats(2, 3, 7, 8)
CASES: dict[str, dict[str, Any]] = {}


def case(
    name: str, op: str, *arrays: Array | None, inputs: int = 1, outputs: int = 1, opset: int = 17, **more: Any
) -> None:
    """Add a case of one node: the first `inputs` of the arrays are inputs of the model, the others constants."""
    CASES[name] = {"op": op, "arrays": arrays, "inputs": inputs, "outputs": outputs, "opset": opset, "attributes": more}


for unary in (*UNARY, "Softsign", "Tan", "Tanh", "HardSwish", "Identity", "Dropout"):
    case(unary, unary, X)
for unary in ("Log", "Sqrt"):
    case(unary, unary, abs(X))
for binary in ("Add", "Sub", "Mul", "Div", "PRelu", *COMPARISONS):
    case(binary, binary, X, floats(3, 1, 1))
    case(f"{binary} of two inputs", binary, X, floats(2, 3, 7, 8), inputs=2)
for logical in ("And", "Or", "Xor"):
    case(logical, logical, X > 0, RANDOM.random(X.shape) > 0.5)
case("Not", "Not", X > 0)
case("MatMul", "MatMul", X, floats(8, 5))
case("MatMul of two inputs", "MatMul", X, floats(2, 3, 8, 4), inputs=2)
case("Where", "Where", RANDOM.random(X.shape) > 0.5, X, -X, inputs=1)
case("Where constant", "Where", np.array([True, False] * 4), X, -X, inputs=0)
for reduction in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"):
    positive = abs(X)
    if reduction == "Sum":
        case("ReduceSum", "ReduceSum", positive, whole(-1), keepdims=0)
        case("ReduceSum noop", "ReduceSum", positive, noop_with_empty_axes=1)
    else:
        case(f"Reduce{reduction}", f"Reduce{reduction}", positive, axes=[2, 3])
    case(f"Reduce{reduction} all", f"Reduce{reduction}", positive)
case("ReduceMean 18", "ReduceMean", X, whole(1, -1), opset=18, keepdims=0)
for arg in ("ArgMax", "ArgMin"):
    case(arg, arg, X, axis=-1)
    case(f"{arg} keepdims", arg, X, axis=1, keepdims=0)
W = floats(4, 3, 3, 3)
case("Conv", "Conv", X, W, floats(4), pads=[1, 2, 0, 1], strides=[2, 1], dilations=[1, 2])
case("Conv grouped", "Conv", X, floats(6, 1, 3, 3), group=3)
for auto in ("SAME_UPPER", "SAME_LOWER", "VALID"):
    case(f"Conv {auto}", "Conv", X, W, auto_pad=auto, strides=[2, 3])
    case(f"MaxPool {auto}", "MaxPool", X, auto_pad=auto, kernel_shape=[2, 3], strides=[2, 2])
case(
    "ConvTranspose",
    "ConvTranspose",
    X,
    floats(3, 4, 3, 3),
    floats(4),
    strides=[2, 2],
    pads=[1, 0, 1, 1],
    output_padding=[1, 0],
)
case("MaxPool", "MaxPool", X, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1])
case("MaxPool ceil", "MaxPool", X, kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1)
case("MaxPool indices", "MaxPool", X, kernel_shape=[2, 2], outputs=2)
case("MaxPool 1-D", "MaxPool", floats(2, 3, 8), kernel_shape=[2])
case("AveragePool", "AveragePool", X, kernel_shape=[3, 3], pads=[1, 0, 0, 1])
case("AveragePool of padding", "AveragePool", X, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
for pool in ("GlobalAveragePool", "GlobalMaxPool"):
    case(pool, pool, X)
case("BatchNormalization", "BatchNormalization", X, floats(3), floats(3), floats(3), abs(floats(3)), epsilon=1e-3)
case("InstanceNormalization", "InstanceNormalization", X, floats(3), floats(3), epsilon=1e-3)
case("LayerNormalization", "LayerNormalization", X, floats(8), floats(8), epsilon=1e-3)
case("LayerNormalization of two axes", "LayerNormalization", X, floats(7, 8), axis=2)
case("Gelu", "Gelu", X, opset=20)
case("Gelu by tanh", "Gelu", X, opset=20, approximate="tanh")
case("Elu", "Elu", X, alpha=0.5)
case("LeakyRelu", "LeakyRelu", X, alpha=0.2)
case("HardSigmoid", "HardSigmoid", X, alpha=0.3, beta=0.4)
case("Clip", "Clip", X, scalar(-0.5), scalar(1))
case("Clip upper", "Clip", X, None, scalar(1))
case("Clip 7", "Clip", X, opset=7, min=-1.0, max=0.5)
case("Softmax", "Softmax", X, axis=1)
case("Softmax 11", "Softmax", floats(3, 5), opset=11)
case("Softmax 11 of several axes", "Softmax", X, opset=11)
case("Gemm", "Gemm", floats(3, 4), floats(5, 4), floats(5), transB=1, alpha=0.5, beta=2.0)
case("Gemm without bias", "Gemm", floats(4, 3), floats(4, 5), transA=1)
case("Cast", "Cast", X, to=TensorProto.INT32)
case("Cast to bool", "Cast", X, to=TensorProto.BOOL)
case("Concat", "Concat", X, floats(2, 2, 7, 8), X, axis=-3, inputs=2)
case("Expand", "Expand", floats(3, 1), whole(2, 1, 4))
case("Flatten", "Flatten", X, axis=2)
case("Flatten -1", "Flatten", X, axis=-1)
case("Flatten 0", "Flatten", X, axis=0)
case("Gather", "Gather", X, whole(2, -1), axis=1)
case("Gather some", "Gather", X, np.array([[0, 1], [2, 2]]), axis=1)
case("Gather one", "Gather", X, np.array(-2), axis=2)
case("Pad", "Pad", X, whole(0, 1, 0, 2, 1, 0, 0, 0), scalar(0.5))
case("Pad edge", "Pad", X, whole(0, 0, 1, 2, 0, 0, 0, 1), mode="edge")
case("Pad reflect", "Pad", X, whole(0, 0, 1, 2, 0, 0, 0, 1), mode="reflect")
case("Pad less", "Pad", X, whole(0, 0, -1, 0, 0, 0, 0, 0))
for power in (0.5, 1, 2):
    case(f"Pow {power}", "Pow", abs(X), scalar(power))
case("Pow 3", "Pow", X, scalar(3))
case("Reshape", "Reshape", X, whole(0, -1, 4))
case("Reshape of a computed shape", "Reshape", X, whole(6, 56), inputs=2)
case("Shape", "Shape", X)
case("Size", "Size", X)
case("Slice", "Slice", X, whole(1, -6), whole(2**31, 7), whole(1, -1), whole(1, 2))
case("Slice backwards", "Slice", X, whole(-1), whole(-9), whole(3), whole(-1))
case("Split", "Split", X, whole(1, 2), axis=1, outputs=2)
case("Split evenly", "Split", X, axis=-1, outputs=2)
case("Squeeze", "Squeeze", floats(1, 3, 1, 1), whole(-1))
case("Squeeze all", "Squeeze", floats(1, 3, 1, 1))
case("Unsqueeze", "Unsqueeze", X, whole(0, -1))
case("Unsqueeze 11", "Unsqueeze", X, opset=11, axes=[1])
case("Tile", "Tile", floats(2, 3), whole(2, 1))
case("Transpose", "Transpose", X)
case("Transpose some", "Transpose", X, perm=[0, 2, 1, 3])
case("Mod", "Mod", X, scalar(2), fmod=1)


def write(path: Path, made: dict[str, Any]) -> dict[str, Array]:
    """Write the model of a case; return its inputs."""
    arrays = {f"i{place}": array for place, array in enumerate(made["arrays"]) if array is not None}
    names = [f"i{place}" if array is not None else "" for place, array in enumerate(made["arrays"])]
    outputs = [f"o{place}" for place in range(made["outputs"])]
    nodes, feeds = [], {}
    for name in [*arrays][: made["inputs"]]:
        array = arrays.pop(name)
        feeds[name] = array
        if array.dtype == np.bool_:
            # WebNN has no bool, so the model compares
            feeds[name] = array.astype(np.float32)
            nodes.append(helper.make_node("Greater", [name, "half"], [f"b{name}"]))
            arrays["half"] = scalar(0.5)
            names = [f"b{name}" if one == name else one for one in names]
    nodes.append(helper.make_node(made["op"], names, outputs, name="the node", **made["attributes"]))
    given = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in feeds.items()
    ]
    wanted = [ValueInfoProto(name=name) for name in outputs]
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "case", given, wanted, constants)
    opset = helper.make_opsetid("", made["opset"])
    save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return feeds


def check(folder: Path, made: dict[str, Any]) -> Any:
    """Return the differences of a case, or its failure."""
    path, context = folder / "model.onnx", create_context()
    feeds = write(path, made)
    session = ort.InferenceSession(path)
    # in another order than they are made in
    names = [output.name for output in session.get_outputs()][::-1]
    wanted = session.run(names, feeds)
    shapes = {name: array.shape for name, array in feeds.items()}
    try:
        graph = Model(str(path)).build(context.create_graph_builder(), shapes, names)
    except RunnerError as error:
        return error.message
    found = context.compute(graph, feeds)
    converted = folder / "converted" / "model.onnx"
    converted.parent.mkdir(exist_ok=True)
    context.convert_to_onnx(graph, str(converted))
    declared = {o.name: [d.dim_value for d in o.type.tensor_type.shape.dim] for o in load(converted).graph.output}
    if declared != {name: [*array.shape] for name, array in zip(names, wanted, strict=True)}:
        return f"pywebnn infers the shapes {declared}"
    again = ort.InferenceSession(converted).run(names, feeds)
    return [max(map(difference, wanted, one)) for one in ([found[name] for name in names], again)]


def difference(wanted: Array, found: Array) -> float:
    """Return the largest difference, relative to the largest wanted value; infinite if shapes differ."""
    if wanted.shape != found.shape:
        return float("inf")
    largest = max(float(abs(wanted.astype(float)).max(initial=0)), 1e-30)
    return float(abs(wanted.astype(float) - found.astype(float)).max(initial=0)) / largest


def main() -> None:
    """Print the findings."""
    folder = Path(sys.argv[1])
    found = {}
    for name, made in CASES.items():
        try:
            found[name] = check(folder, made)
        except Exception as error:  # noqa: BLE001 (the test shows it)
            found[name] = f"{type(error).__name__}: {error}"
    known = {*_METHODS, *_REDUCTIONS, *_OPERATORS}
    untested = sorted(known - {made["op"] for made in CASES.values()})
    sys.stdout.write(json.dumps({"cases": found, "untested": untested}) + "\n")


if __name__ == "__main__":
    main()
