"""Write the models of ``test_any_model.py``, with inputs, expected outputs or the expected failure in ``cases.json``.

Run it in the environment of the extension's tests, which has the package `onnx`; its evaluator computes the outputs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, external_data_helper, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

HERE = Path(__file__).parent
F32, I64, STR = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
NUMBERS = ["bool", *INTEGERS, "float16", "float32", "float64"]
node, info = helper.make_node, helper.make_tensor_value_info
CASES: dict[str, Any] = {}


def model(
    nodes: list[NodeProto], inputs: list[ValueInfoProto], outputs: list[ValueInfoProto], **fields: Any
) -> ModelProto:
    """Return a model; `fields`: `opset`, `ir`, `domains` with their versions, `weights`."""
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializer=fields.get("weights", []))
    domains = {"": fields.get("opset", 18), **fields.get("domains", {})}
    imports = [helper.make_opsetid(name, version) for name, version in domains.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=fields.get("ir", 9))


def identity(element: int, shape: list[int | str] | None = None, **fields: Any) -> ModelProto:
    """Return a model from `x` to an equal `y`."""
    return model([node("Identity", ["x"], ["y"])], [info("x", element, shape)], [info("y", element, shape)], **fields)


def add(name: str, made: ModelProto, *items: dict[str, np.ndarray], **fields: Any) -> None:
    """Write a case.

    `fields`: `outputs` that are requested, `fetched` if others, `batch`, `fails` with a kind and words of the message,
    `like` for the case whose model it uses.
    """
    batch, fails = fields.get("batch", 1), fields.get("fails")
    tensors = [value for value in made.graph.output if value.type.HasField("tensor_type")]
    fetched = fields.get("outputs") or fields.get("fetched") or [value.name for value in tensors]
    expected = []
    for start in range(0, 0 if fails else len(items), batch):
        joined = items[start : start + batch]
        feed = {
            key: np.concatenate([item[key] for item in joined]) if batch > 1 else joined[0][key] for key in items[0]
        }
        found = ReferenceEvaluator(made).run(fetched, feed)
        expected.append([written(key, np.asarray(value)) for key, value in zip(fetched, found, strict=True)])
    if "like" not in fields:
        (HERE / f"{name}.onnx").write_bytes(made.SerializeToString())
    CASES[name] = {
        "model": fields.get("like", name),
        "inputs": [spec(key, made, value) for key, value in (items[0] if items else {}).items()],
        "outputs": [{"name": key, "dtype": "float32", "shape": []} for key in fields.get("outputs", [])],
        "batch": batch,
        "items": [[written(key, value) for key, value in item.items()] for item in items],
        "expected": expected,
        "fails": fails,
    }


def spec(name: str, made: ModelProto, value: np.ndarray) -> dict[str, Any]:
    """Return the request's form of the input `name`; of an unknown rank it has that of its `value`."""
    declared = next(one.type.tensor_type for one in made.graph.input if one.name == name)
    sides = [side.dim_value if side.HasField("dim_value") else None for side in declared.shape.dim]
    return {"name": name, "dtype": dtype(value), "shape": sides if declared.HasField("shape") else list(value.shape)}


def written(name: str, value: np.ndarray) -> dict[str, Any]:
    """Return a tensor with its bytes on disk."""
    content = value.tobytes()
    if dtype(value) == "str":
        texts = [str(text).encode() for text in value.ravel()]
        content = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    return {"name": name, "dtype": dtype(value), "shape": list(value.shape), "bytes": content.hex()}


def dtype(value: np.ndarray) -> str:
    """Return the protocol's name of a dtype."""
    return "str" if value.dtype.kind in "OU" else value.dtype.name


def text(*words: str) -> np.ndarray:
    """Return an array of strings."""
    return np.array(words, object)


def floats(*shape: int) -> np.ndarray:
    """Return small numbers."""
    return (np.arange(np.prod(shape), dtype=np.float32).reshape(shape) - 1) / 4


def shapes_and_dtypes() -> None:
    """Add models of any shapes and dtypes."""
    named = [helper.np_dtype_to_tensor_dtype(np.dtype(name)) for name in NUMBERS]
    nodes = [node("Identity", [name], [f"{name}/out"]) for name in NUMBERS]
    ends = [
        [info(name + end, element, ["n"]) for name, element in zip(NUMBERS, named, strict=True)] for end in ("", "/out")
    ]
    add("numbers", model(nodes, *ends), {name: np.array([0, 1, 1]).astype(name) for name in NUMBERS})
    bits = np.array([[1.5, -0.0, np.inf]], BFLOAT16)
    add(
        "bfloat16",
        identity(TensorProto.BFLOAT16, ["n", 3]),
        {"x": bits},
        {"x": bits[:, ::-1].copy()},
        {"x": -bits},
        batch=2,
    )
    add("bfloat16-scalar", identity(TensorProto.BFLOAT16, []), {"x": bits[0, 0].reshape(())})
    strings = identity(STR, ["n", 2])
    add("strings", strings, {"x": text("", "é\0x").reshape(1, 2)}, {"x": np.empty((0, 2), object)})
    add(
        "strings-batch",
        strings,
        *({"x": text(word, word * 99).reshape(1, 2)} for word in "abc"),
        batch=2,
        like="strings",
    )
    add("scalar", identity(I64, []), {"x": np.array(16000)})
    add("first-fixed", identity(F32, [4, 2]), {"x": floats(4, 2)})
    add("first-free", identity(F32, ["n", 2]), {"x": floats(4, 2)}, {"x": floats(0, 2)}, {"x": floats(1, 2)})
    add("any-rank", identity(F32, None), {"x": floats(2, 3)})
    add(
        "batch", identity(F32, ["n", 2]), *({"x": floats(1, 2) + item} for item in range(3)), batch=2, like="first-free"
    )
    mask = model(
        [
            node("Cast", ["ids"], ["wide"], to=F32),
            node("Mul", ["wide", "mask"], ["y"]),
            node("Identity", ["ids"], ["y2"]),
        ],
        [info("ids", I64, [1, "seq"]), info("mask", F32, [1, "seq"])],
        [info("y", F32, [1, "seq"]), info("y2", I64, [1, "seq"])],
    )
    tokens = [{"ids": np.arange(size)[None], "mask": floats(1, size)} for size in (3, 5)]
    add("two-inputs", mask, *tokens)
    add("outputs-in-order", mask, *tokens, outputs=["y2", "y"], like="two-inputs")
    add("one-output", mask, *tokens, outputs=["y2"], like="two-inputs")
    state = model(
        [node("ReduceSum", ["x"], ["sum"]), node("Add", ["state", "sum"], ["next"])],
        [info("x", F32, [1, "n"]), info("state", F32, [2, 1, 4]), info("rate", I64, [])],
        [info("sum", F32, [1, 1]), info("next", F32, [2, 1, 4])],
    )
    add("state", state, {"x": floats(1, 6), "state": floats(2, 1, 4), "rate": np.array(8000)})
    names = model(
        [node("Neg", ["x"], [name]) for name in ("a/b", "a:b")],
        [info("x", F32, [1])],
        [info(name, F32, [1]) for name in ("a/b", "a:b")],
    )
    add("names-alike", names, {"x": floats(1)})
    constant = node("Constant", [], ["y"], value=numpy_helper.from_array(floats(3)))
    add("no-inputs", model([constant], [], [info("y", F32, [3])]), {})


def operators() -> None:
    """Add models with operators that are unlike a network's."""
    boxes = [info("boxes", F32, [1, "n", 4]), info("scores", F32, [1, 1, "n"])]
    limits = [
        numpy_helper.from_array(np.array([value], kind), name)
        for name, value, kind in (("most", 9, np.int64), ("iou", 0.5, np.float32), ("least", 0.6, np.float32))
    ]
    chosen = node("NonMaxSuppression", ["boxes", "scores", "most", "iou", "least"], ["y"])
    corners = np.array([[[0, 0, 1, 1], [0, 0, 1, 0.9], [5, 5, 6, 6]]], np.float32)
    scores = [{"boxes": corners, "scores": np.array([[row]], np.float32)} for row in ([0.1, 0.2, 0.3], [0.9, 0.8, 0.7])]
    add("non-max-suppression", model([chosen], boxes, [info("y", I64, ["m", 3])], weights=limits), *scores)
    branch = [
        helper.make_graph([node(op, ["x", "x"], ["z"])], op, [], [info("z", F32, ["n"])]) for op in ("Add", "Mul")
    ]
    body = helper.make_graph(
        [node("Add", ["total", "z1"], ["total_out"]), node("Identity", ["on"], ["on_out"])],
        "body",
        [info("i", I64, []), info("on", TensorProto.BOOL, []), info("total", F32, ["n"])],
        [info("on_out", TensorProto.BOOL, []), info("total_out", F32, ["n"])],
    )
    nodes = [
        node("If", ["c"], ["z1"], then_branch=branch[0], else_branch=branch[1]),
        node("Loop", ["times", "on", "x"], ["y"], body=body),
    ]
    inputs = [info("x", F32, ["n"]), info("c", TensorProto.BOOL, []), info("times", I64, [])]
    flow = [
        {"x": floats(3), "c": np.array(is_so), "times": np.array(times)} for is_so, times in ((True, 3), (False, 0))
    ]
    on = [numpy_helper.from_array(np.array(True), "on")]  # noqa: FBT003
    add("control-flow", model(nodes, inputs, [info("y", F32, ["n"])], weights=on), *flow)
    encoder = node(
        "LabelEncoder",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        keys_strings=["cat", "dog"],
        values_int64s=[1, 2],
        default_int64=-1,
    )
    ml = model([encoder], [info("x", STR, ["n"])], [info("y", I64, ["n"])], domains={"ai.onnx.ml": 3})
    add("label-encoder", ml, {"x": text("dog", "cat", "other")})
    weights = numpy_helper.from_array(floats(64), "w")
    outside = model([node("Add", ["x", "w"], ["y"])], [info("x", F32, [64])], [info("y", F32, [64])], weights=[weights])
    add("external-data", outside, {"x": floats(64)})
    (HERE / "external-data.bin").unlink(missing_ok=True)  # it would be appended to
    external_data_helper.set_external_data(outside.graph.initializer[0], "external-data.bin")
    external_data_helper.write_external_data_tensors(outside, str(HERE))
    (HERE / "external-data.onnx").write_bytes(outside.SerializeToString())


def types_and_failures() -> None:
    """Add models that cannot be run, or only in part."""
    sequence = helper.make_tensor_sequence_value_info("q", F32, None)
    split = model(
        [node("SplitToSequence", ["x"], ["q"], axis=0), node("Neg", ["x"], ["y"])],
        [info("x", F32, [2])],
        [sequence, info("y", F32, [2])],
    )
    add("beside-a-sequence", split, {"x": floats(2)})
    kind = "type-unsupported"
    add(
        "sequence-named",
        split,
        {"x": floats(2)},
        outputs=["q"],
        like="beside-a-sequence",
        fails=[kind, "output 'q' is seq(tensor(float)), which"],
    )
    length = model([node("SequenceLength", ["q"], ["y"])], [sequence], [info("y", I64, [])])
    add("sequence-input", length, {}, fails=[kind, "input 'q' is seq(tensor(float)), which"])
    none = model([node("SplitToSequence", ["x"], ["q"], axis=0)], [info("x", F32, [2])], [sequence])
    add("only-a-sequence", none, {"x": floats(2)}, fails=[kind, "output 'q' is seq(tensor(float)), which"])
    float8 = identity(TensorProto.FLOAT8E4M3FN, [1], opset=19)
    add("float8", float8, {"x": np.zeros(1, np.uint8)}, fails=[kind, "input 'x' is tensor(float8e4m3fn), which"])
    x, unreadable = {"x": floats(1)}, "model-unreadable"
    foreign = model(
        [node("Foo", ["x"], ["y"], domain="my.domain")],
        [info("x", F32, [1])],
        [info("y", F32, [1])],
        domains={"my.domain": 1},
    )
    add("custom-domain", foreign, x, fails=[unreadable, "my.domain:Foo(-1) is not a registered function/op"])
    add(
        "new-opset",
        identity(F32, [1], opset=99),
        x,
        fails=[unreadable, "loaded: ONNX Runtime only *guarantees* support"],
    )
    add("new-ir", identity(F32, [1], ir=99), x, fails=[unreadable, "loaded: Unsupported model IR version: 99"])
    add(
        "scalars-joined",
        identity(I64, []),
        {"x": np.array(1)},
        {"x": np.array(1)},
        batch=2,
        like="scalar",
        fails=["model-mismatch", "a batch of 2"],
    )
    free = identity(F32, ["n", "m"])
    add(
        "unlike-joined",
        free,
        {"x": floats(1, 2)},
        {"x": floats(1, 3)},
        batch=2,
        fails=["bad-request", "inputs[1] has other shapes"],
    )


def optional_input() -> None:
    """Add a model whose only input is left out, which the evaluator does not know."""
    element = helper.make_optional_type_proto(helper.make_tensor_type_proto(F32, [2]))
    inputs, y = [helper.make_value_info("o", element)], info("y", TensorProto.BOOL, [])
    add("optional-left-out", model([node("OptionalHasElement", ["o"], ["y"])], inputs, [y]), fails=None)
    CASES["optional-left-out"] |= {"items": [[]], "expected": [[written("y", np.array(False))]]}  # noqa: FBT003


if __name__ == "__main__":
    shapes_and_dtypes()
    operators()
    types_and_failures()
    optional_input()
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(case)}" for name, case in CASES.items())
    (HERE / "cases.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
