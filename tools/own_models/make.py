"""Makes the models of ``docs/your-own-model.md``, each by the converter that its users have.

``python make.py FOLDER`` makes all, ``python make.py FOLDER rapidocr silero`` those of two functions. It needs onnx,
onnxruntime, numpy, pillow, torch, scikit-learn, skl2onnx, lightgbm, onnxmltools, rapidocr-onnxruntime and silero-vad; a
model whose converter is missing is skipped with the reason.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable

_RANDOM = np.random.default_rng(0)
_LARGE_ROWS, _LARGE_COLUMNS, _LARGE_LAYERS = 8192, 8192, 9
"""9 x 256 MiB: more than the 2 GB that one ONNX file can hold."""


def rapidocr(folder: Path) -> None:
    """Copy the three models that the package contains: detection, direction and recognition of text; draw some text."""
    _copy("rapidocr_onnxruntime", folder)
    for name, height, width, lines in (
        ("detection", 320, 320, 5),
        ("direction", 48, 192, 1),
        ("recognition", 48, 320, 1),
    ):
        np.savez(folder / f"text-{name}.npz", x=np.stack([_text(height, width, lines) for _ in range(8)]))


def _text(height: int, width: int, lines: int) -> np.ndarray:
    """Return a picture of random letters as the models take it, float32 [1, 3, height, width] in -1 to 1."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", (width, height), (235, 230, 220))
    draw, size = ImageDraw.Draw(picture), 0.6 * height / lines
    for line in range(lines):
        text = "".join(_RANDOM.choice(list("abcdefghijklmnopqrstuvwxyz 0123456789"), int(1.5 * width / size)))
        draw.text((size / 2, line * height / lines + size / 4), text, (20, 30, 60), ImageFont.load_default(size))
    return (np.asarray(picture, np.float32).transpose(2, 0, 1)[None] / 255 - 0.5) / 0.5


def silero(folder: Path) -> None:
    """Copy the voice detectors that the package contains; state is passed back in."""
    _copy("silero_vad", folder)


def scikit_learn(folder: Path) -> None:
    """Convert a pipeline with its probabilities as a list of maps (skl2onnx's default), and one with string input."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    values, classes = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(values, classes)
    converted = to_onnx(pipeline, values[:1].astype(np.float32))
    (folder / "sklearn-pipeline.onnx").write_bytes(converted.SerializeToString())

    words = np.array([["red"], ["green"], ["blue"]] * 20, dtype=object)
    numbers = _RANDOM.standard_normal((60, 1)).astype(np.float32)
    table = np.hstack([words, numbers.astype(object)])
    encoder = ColumnTransformer([("word", OneHotEncoder(), [0]), ("number", StandardScaler(), [1])])
    mixed = make_pipeline(encoder, LogisticRegression()).fit(table, np.arange(60) % 2)
    kinds = [("colour", StringTensorType([None, 1])), ("size", FloatTensorType([None, 1]))]
    converted = to_onnx(mixed, initial_types=kinds, options={"zipmap": False})
    (folder / "sklearn-strings.onnx").write_bytes(converted.SerializeToString())


def boosting(folder: Path) -> None:
    """Convert a gradient-boosted model of LightGBM."""
    import lightgbm
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    values, wanted = _RANDOM.standard_normal((500, 10)), _RANDOM.integers(0, 3, 500)
    model = lightgbm.LGBMClassifier(n_estimators=50, verbose=-1).fit(values, wanted)
    converted = convert_lightgbm(model, initial_types=[("input", FloatTensorType([None, 10]))], target_opset=15)
    (folder / "lightgbm.onnx").write_bytes(converted.SerializeToString())


def torch_models(folder: Path) -> None:
    """Export an encoder like BERT (int64 ids and mask), and an LSTM with its state."""
    import torch
    from torch import nn

    class Encoder(nn.Module):  # type: ignore[misc]
        """Embeddings, position embeddings and four layers of attention."""

        def __init__(self) -> None:
            super().__init__()
            self.words, self.places = nn.Embedding(3000, 128), nn.Embedding(512, 128)
            layer = nn.TransformerEncoderLayer(128, 4, 512, batch_first=True, dropout=0)
            self.layers = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            places = torch.arange(input_ids.shape[1])[None]
            hidden: torch.Tensor = self.words(input_ids) + self.places(places)
            encoded: torch.Tensor = self.layers(hidden, src_key_padding_mask=attention_mask == 0)
            return encoded

    torch.manual_seed(0)
    ids, mask = torch.randint(0, 3000, (1, 16)), torch.ones(1, 16, dtype=torch.long)
    torch.onnx.export(
        Encoder().eval(), (ids, mask), folder / "bert-like.onnx", dynamo=False, opset_version=17,
        input_names=["input_ids", "attention_mask"], output_names=["last_hidden_state"],
        dynamic_axes={name: {0: "batch", 1: "sequence"} for name in ("input_ids", "attention_mask")},
    )  # fmt: skip
    state = torch.zeros(2, 1, 64)
    torch.onnx.export(
        nn.LSTM(40, 64, 2, batch_first=True).eval(), (torch.zeros(1, 50, 40), (state, state)), folder / "lstm.onnx",
        dynamo=False, opset_version=17, input_names=["x", "h0", "c0"], output_names=["y", "h", "c"],
        dynamic_axes={"x": {1: "frames"}},
    )  # fmt: skip


def detection(folder: Path) -> None:
    """Make a detector's tail: boxes and scores of a convolution, then NonMaxSuppression."""
    weights = {
        "conv": _RANDOM.standard_normal((5, 3, 8, 8)).astype(np.float32) * 0.1,
        "to_boxes": np.array([1, 4, -1], np.int64),
        "to_scores": np.array([1, 1, -1], np.int64),
        "most": np.array([20], np.int64),
        "overlap": np.array([0.5], np.float32),
        "score": np.array([0.5], np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "conv"], ["map"], strides=[8, 8]),
        helper.make_node("Split", ["map"], ["four", "one"], axis=1, num_outputs=2),
        helper.make_node("Sigmoid", ["one"], ["probability"]),
        helper.make_node("Reshape", ["four", "to_boxes"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["boxes"], perm=[0, 2, 1]),
        helper.make_node("Reshape", ["probability", "to_scores"], ["scores"]),
        helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "overlap", "score"], ["selected"]),
    ]
    nodes[1].attribute.pop()
    nodes[1].input.append("split")
    weights["split"] = np.array([4, 1], np.int64)
    _save(
        nodes,
        weights,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "height", "width"])],
        [helper.make_tensor_value_info("selected", TensorProto.INT64, ["n", 3])],
        folder / "detector-nms.onnx",
    )


def quantized(folder: Path) -> None:
    """Quantise a small network dynamically, to int8."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    weights = {f"w{layer}": _RANDOM.standard_normal((256, 256)).astype(np.float32) / 16 for layer in range(6)}
    nodes, name = [], "x"
    for layer in range(6):
        nodes.append(helper.make_node("MatMul", [name, f"w{layer}"], [f"m{layer}"]))
        nodes.append(helper.make_node("Relu", [f"m{layer}"], [f"r{layer}"]))
        name = f"r{layer}"
    _save(
        nodes,
        weights,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 256])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 256])],
        folder / "fp32.onnx",
    )
    quantize_dynamic(folder / "fp32.onnx", folder / "dynamic-int8.onnx", weight_type=QuantType.QInt8)


def large(folder: Path) -> None:
    """Make a model with more than 2 GB of external data."""
    nodes, name, weights = [], "x", {}
    for layer in range(_LARGE_LAYERS):
        weights[f"w{layer}"] = _RANDOM.standard_normal((_LARGE_ROWS, _LARGE_COLUMNS), np.float32) / _LARGE_ROWS**0.5
        nodes.append(helper.make_node("MatMul", [name, f"w{layer}"], [f"y{layer}"]))
        name = f"y{layer}"
    _save(
        nodes,
        weights,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, _LARGE_ROWS])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, _LARGE_COLUMNS])],
        folder / "large" / "model.onnx",
        external=True,
    )


MAKERS: tuple[Callable[[Path], None], ...] = (
    rapidocr, silero, scikit_learn, boosting, torch_models, detection, quantized, large,
)  # fmt: skip


def _copy(package: str, folder: Path) -> None:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(package)
    for file in sorted(Path(spec.origin).parent.rglob("*.onnx")):
        shutil.copyfile(file, folder / file.name)


def _save(
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    path: Path,
    *,
    external: bool = False,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, path.stem, inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path, save_as_external_data=external, location=f"{path.stem}.data")


def main() -> None:
    """Make all models, or those of the named functions, in the folder that is named on the command line."""
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    folder.mkdir(parents=True, exist_ok=True)
    for make in (make for make in MAKERS if not names or make.__name__ in names):
        try:
            make(folder)
        except ModuleNotFoundError as error:
            sys.stderr.write(f"{make.__name__} skipped: {error}\n")


if __name__ == "__main__":
    main()
