"""Make the small models that the Rust tests read: ``python make_models.py`` writes them beside this file.

Needs the `onnx` package; weights are written as they stand here, so the files do not change from run to run.
"""

from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper, save

FOLDER = Path(__file__).parent


def tensor(name: str, shape: list[int | str], dtype: int = TensorProto.FLOAT) -> object:
    """Describe an input or output; a string is a dynamic dimension."""
    return helper.make_tensor_value_info(name, dtype, shape)


def model(nodes: list[object], inputs: list[object], outputs: list[object], weights: list[object]) -> ModelProto:
    """Make a model of opset 17 that every supported ONNX Runtime reads."""
    graph = helper.make_graph(nodes, "test", inputs, outputs, weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(made, full_check=True)
    return made


def add() -> ModelProto:
    """``sum = a + b`` of shape [batch, 2], and ``count = n + n`` of shape [batch] in int64."""
    nodes = [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Add", ["n", "n"], ["count"])]
    inputs = [tensor("a", ["batch", 2]), tensor("b", ["batch", 2]), tensor("n", ["batch"], TensorProto.INT64)]
    return model(nodes, inputs, [tensor("sum", ["batch", 2]), tensor("count", ["batch"], TensorProto.INT64)], [])


def means() -> ModelProto:
    """``logits`` [batch, 3]: the mean of each channel of ``input`` [batch, 3, 8, 8], by a 1x1 convolution."""
    weight = numpy_helper.from_array(np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), "weight")
    nodes = [
        helper.make_node("Conv", ["input", "weight"], ["same"]),
        helper.make_node("GlobalAveragePool", ["same"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits"]),
    ]
    return model(nodes, [tensor("input", ["batch", 3, 8, 8])], [tensor("logits", ["batch", 3])], [weight])


def found() -> ModelProto:
    """``places`` [2, found] where ``x`` [rows, 4] is not zero, ``x`` itself, and ``twice = x + x`` [rows, 4]."""
    nodes = [helper.make_node("NonZero", ["x"], ["places"]), helper.make_node("Add", ["x", "x"], ["twice"])]
    places = tensor("places", [2, "found"], TensorProto.INT64)
    x = tensor("x", ["rows", 4])
    return model(nodes, [x], [places, x, tensor("twice", ["rows", 4])], [])


def passed() -> ModelProto:
    """``x`` [4] and ``list``, a list of such, passed on: as they are, by Identity, and the first of the list."""
    listed = helper.make_tensor_sequence_value_info
    nodes = [
        helper.make_node("Identity", ["x"], ["same_x"]),
        helper.make_node("Identity", ["list"], ["same_list"]),
        helper.make_node("Constant", [], ["zero"], value_int=0),
        helper.make_node("SequenceAt", ["list", "zero"], ["first"]),
    ]
    x, items = tensor("x", [4]), listed("list", TensorProto.FLOAT, [4])
    outputs = [x, tensor("same_x", [4]), items, listed("same_list", TensorProto.FLOAT, [4]), tensor("first", [4])]
    return model(nodes, [x, items], outputs, [])


def outside() -> ModelProto:
    """``y = x + weight`` of shape [8], with the weight in the file ``outside.bin`` beside the model's."""
    weight = TensorProto(name="weight", data_type=TensorProto.FLOAT, dims=[8], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="outside.bin")
    graph = helper.make_graph([helper.make_node("Add", ["x", "weight"], ["y"])], "test", [], [], [weight])
    graph.input.append(tensor("x", [8]))
    graph.output.append(tensor("y", [8]))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def embed() -> ModelProto:
    """``embeddings`` [1, 3, 2, 2]: the means of 4 x 4 pixels of ``image`` [1, 3, 8, 8]."""
    node = helper.make_node("AveragePool", ["image"], ["embeddings"], kernel_shape=[4, 4], strides=[4, 4])
    return model([node], [tensor("image", [1, 3, 8, 8])], [tensor("embeddings", [1, 3, 2, 2])], [])


def masks() -> ModelProto:
    """Make a decoder whose masks are the left half, and whose predicted IoU is the first label times 0.9."""
    weights = {
        "first": np.array([0]),
        "scale": np.array(0.9, np.float32),
        "zero": np.array(0, np.float32),
        "shape": np.array([-1, 1, 1, 1]),
        "half": np.tile(np.array([9, -9], np.float32).repeat(4), (1, 1, 8, 1)),
    }
    nodes = [
        helper.make_node("Gather", ["point_labels", "first"], ["label"], axis=1),
        helper.make_node("Mul", ["label", "scale"], ["iou_predictions"]),
        helper.make_node("Mul", ["label", "zero"], ["nothing"]),
        helper.make_node("Reshape", ["nothing", "shape"], ["column"]),
        helper.make_node("Add", ["column", "half"], ["low_res_masks"]),
    ]
    inputs = [
        tensor("image_embeddings", [1, 3, 2, 2]),
        tensor("point_coords", ["n", "p", 2]),
        tensor("point_labels", ["n", "p"]),
        tensor("mask_input", ["n", 1, 8, 8]),
        tensor("has_mask_input", ["n"]),
    ]
    outputs = [tensor("iou_predictions", ["n", 1]), tensor("low_res_masks", ["n", 1, 8, 8])]
    return model(nodes, inputs, outputs, [numpy_helper.from_array(array, name) for name, array in weights.items()])


if __name__ == "__main__":
    save(add(), FOLDER / "add.onnx")
    save(means(), FOLDER / "means.onnx")
    save(found(), FOLDER / "found.onnx")
    save(passed(), FOLDER / "passed.onnx")
    (FOLDER / "outside.onnx").write_bytes(outside().SerializeToString())
    save(embed(), FOLDER / "embed.onnx")
    save(masks(), FOLDER / "masks.onnx")
