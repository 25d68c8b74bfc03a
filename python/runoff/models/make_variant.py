"""The program that makes a variant of a stored model: ``python -m runoff.models.make_variant MODEL PRECISION FOLDER``.

MODEL is the model's folder, FOLDER the new one of the variant. It runs in the environment ``inspect``, one process for
each variant, because ONNX Runtime may crash on one. ``variant.json`` in FOLDER has a `runoff.records.manifest.Variant`;
a failure is a line of JSON on stdout with ``message`` and ``hint``.

How 8 bits are used follows https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html: the model is
optimised first; activations are unsigned and weights signed (U8S8); weights get 7 bits (``reduce_range``) only on
x86-64 without VNNI, whose instruction adds pairs of products in 16 bits, which saturate.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np
import onnx
import onnx.version_converter
import onnxruntime
from onnx import TensorProto, numpy_helper

from runoff.models.own.add import write_arrays
from runoff.models.own.graph import read_onnx
from runoff.models.own.reference import Reference, largest_difference, one_line
from runoff.models.respond import make_folder
from runoff.models.store import StoredModel
from runoff.models.variants import DESCRIPTION
from runoff.records.errors import RunoffError
from runoff.records.machine import VNNI, instructions
from runoff.records.manifest import Loss, StoredFile, Variant, read_manifest, stored_file, usual_examples
from runoff.records.tensors import difference, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runoff.models.own.values import Feed
    from runoff.records.protocol import TensorFile

S = TypeVar("S", bound=StoredFile)
FILE = "model.onnx"
_LEAST = {"fp16": 1e-3, "bf16": 1e-2, "int8": 1e-2, "int8-static": 1e-2}
"""Smallest tolerance: one or two steps of the largest output in this precision."""
_AMPLIFIED, _SPARE = 4, 1.5
"""The tolerance is this many times what optimisation and larger batches change, if examples differ by enough, and at
least the second number of times (docs/precision.md has the trial)."""
_BF16_OPSET = 22
"""The first in which ONNX's operators take bfloat16."""


def make(model: StoredModel, precision: str, folder: Path) -> Variant:
    """Write the variant of `model` in `precision` and its references to the empty `folder`; paths are relative to it.

    Raises
    ------
    RunoffError
        If it cannot be made, or ONNX Runtime cannot run it.
    """
    source, path = Path(model.model_file("onnx").path), folder / FILE
    usual = usual_examples(model.manifest)
    feeds = [_read(model.inputs(place)) for place in usual]
    try:
        facts = _MAKERS[precision](source, path, feeds)
    except Exception as error:  # whatever the converters raise
        raise RunoffError(f"the {precision} variant cannot be made: {one_line(error)}") from error
    file, facts = read_onnx(path), {**facts, "onnxruntime": onnxruntime.__version__}
    try:
        reference = Reference(file)
        outputs = [reference.run(feed) for feed in feeds]
        every = [
            outputs[usual.index(place)] if place in usual else reference.run(_photo(model, place))
            for place in range(len(model.manifest.examples))
        ]
        tolerance = _tolerance(precision, Reference(file, "all"), feeds, outputs, batches=model.manifest.batches)
    except Exception as error:  # ONNX Runtime's exceptions have no other common base
        message = error.message.removeprefix(f"{path}: ") if isinstance(error, RunoffError) else one_line(error)
        raise RunoffError(f"the {precision} variant does not run: {message}") from error
    if not model.checked:
        return Variant(file=stored_file(path), facts=facts)
    return Variant(
        file=stored_file(path),
        references=tuple(write_arrays(folder, f"{place}.output", output) for place, output in enumerate(every)),
        tolerance=tolerance,
        loss=_loss(every, [_read(model.references(place)) for place in range(len(every))]),
        facts=facts,
    )


def _photo(model: StoredModel, place: int) -> Feed:
    """Return the input of a labelled example that has no stored tensors."""
    from runoff_runners.preprocess import preprocess

    example, manifest = model.manifest.examples[place], model.manifest
    path = str(model.folder / example.image.path) if example.image else ""
    return {manifest.inputs[0].name: preprocess([path], msgspec.to_builtins(manifest.preprocess))}


def _read(files: Mapping[str, TensorFile]) -> Feed:
    """Return stored tensors as ONNX Runtime takes them."""
    arrays = {}
    for name, file in files.items():
        values = read(file).reshape(file.shape)
        if file.dtype == "str":
            values = np.array([text.decode() for text in values.ravel()], dtype=object).reshape(file.shape)
        elif file.dtype == "bfloat16":
            import ml_dtypes

            values = values.astype(ml_dtypes.bfloat16)
        arrays[name] = values
    return arrays


def _float16(source: Path, path: Path, _feeds: Sequence[Feed]) -> dict[str, str]:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), path)
    return {"made by": "onnxruntime.transformers.float16, inputs and outputs kept in float32"}


def _bfloat16(source: Path, path: Path, _feeds: Sequence[Feed]) -> dict[str, str]:
    """Write the float16 variant with bfloat16 in its place: ONNX Runtime has no converter."""
    import ml_dtypes
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.version_converter.convert_version(onnx.load(source), _BF16_OPSET)
    originals = {tensor.name: tensor for tensor in model.graph.initializer}
    weights = {name: numpy_helper.to_array(tensor) for name, tensor in originals.items()}
    half = convert_float_to_float16(model, keep_io_types=True)
    for message in _messages(half):
        if isinstance(message, TensorProto) and message.data_type == TensorProto.FLOAT16:
            values = weights.get(message.name, numpy_helper.to_array(message)).astype(ml_dtypes.bfloat16)
            message.CopyFrom(numpy_helper.from_array(values, message.name))
        elif isinstance(message, onnx.TypeProto.Tensor) and message.elem_type == TensorProto.FLOAT16:
            message.elem_type = TensorProto.BFLOAT16
        elif isinstance(message, onnx.AttributeProto) and message.name in ("to", "dtype"):
            message.i = TensorProto.BFLOAT16 if message.i == TensorProto.FLOAT16 else message.i
    onnx.save(half, path)
    return {"made by": "onnxruntime.transformers.float16, with bfloat16 in place of float16"}


def _messages(message: Any) -> Iterator[Any]:  # noqa: ANN401 (any message of protobuf)
    """Yield a message of protobuf and all below it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                yield from _messages(part)


def _dynamic(source: Path, path: Path, _feeds: Sequence[Feed]) -> dict[str, str]:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    reduced = _needs_reduced_range()
    quantize_dynamic(
        _preprocessed(source, path), path, per_channel=True, reduce_range=reduced, weight_type=QuantType.QInt8
    )
    return {"made by": "onnxruntime.quantization.quantize_dynamic", **_formats(reduced=reduced)}


def _static(source: Path, path: Path, feeds: Sequence[Feed]) -> dict[str, str]:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Examples(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(feeds)

        def get_next(self) -> Feed | None:
            return next(self._left, None)

    reduced = _needs_reduced_range()
    quantize_static(
        _preprocessed(source, path),
        path,
        Examples(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=reduced,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    calibration = f"{len(feeds)} examples, smallest and largest value"
    return {
        "made by": "onnxruntime.quantization.quantize_static, QDQ",
        "calibration": calibration,
        **_formats(reduced=reduced),
    }


def _preprocessed(source: Path, path: Path) -> onnx.ModelProto:
    """Return the optimised model with its shapes; without symbolic shapes, which would need SymPy."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = path.with_name("preprocessed.onnx")
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    model = onnx.load(prepared)
    prepared.unlink()
    return model


def _needs_reduced_range() -> bool:
    """Return whether weights need 7 bits on this machine."""
    found = instructions() or ()
    return "avx2" in found and not VNNI & set(found)


def _formats(*, reduced: bool) -> dict[str, str]:
    bits = "7 bits, without VNNI" if reduced else "8 bits"
    return {"activations": "uint8", "weights": f"int8 by channel, {bits}"}


_MAKERS = {"fp16": _float16, "bf16": _bfloat16, "int8": _dynamic, "int8-static": _static}


def _tolerance(
    precision: str, optimised: Reference, feeds: Sequence[Feed], outputs: Sequence[Feed], *, batches: bool
) -> float:
    """Return the largest difference that counts as the same output.

    A rounding to 8 bits that falls to the other side is amplified by the layers behind it: how much, the changes by
    ONNX Runtime's own optimisation show, and with dynamic ranges those by the other items of a batch. The allowance for
    other runtimes and machines ends at half of the smallest distance between two examples, so the output of another
    example is not accepted unless the examples are that alike.
    """
    changed = largest_difference([optimised.run(feed) for feed in feeds], outputs)
    if batches:
        joined = optimised.run({name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]})
        wanted = {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}
        changed = max(changed, largest_difference([joined], [wanted]))
    return max(_LEAST[precision], _SPARE * changed, min(_AMPLIFIED * changed, _separation(outputs) / 2))


def _separation(outputs: Sequence[Feed]) -> float:
    """Return the smallest difference between the outputs of two examples."""
    pairs = [(a, b) for place, a in enumerate(outputs) for b in outputs[:place]]
    return min((largest_difference([a], [b]) for a, b in pairs), default=1.0)


def _loss(outputs: Sequence[Feed], wanted: Sequence[Feed]) -> Loss:
    try:
        rows = [
            difference(a[name].ravel(), b[name].ravel()) for a, b in zip(outputs, wanted, strict=True) for name in b
        ]
    except ValueError as error:
        raise RunoffError(f"the variant's outputs cannot be compared with the model's: {error}") from error
    agree = [row["top1_agrees"] for row in rows if row["top1_agrees"] is not None]
    return Loss(
        max_rel_diff=max(row["max_rel_diff"] for row in rows),
        cosine=min(row["cosine"] for row in rows),
        top1_agrees=float(np.mean(agree)) if agree else None,
    )


def main(arguments: Sequence[str]) -> int:
    """Run the program and return its exit code."""
    logging.disable(logging.WARNING)
    source, precision, folder = Path(arguments[0]), arguments[1], Path(arguments[2])

    def write(temporary: Path) -> None:
        made = make(StoredModel(source, read_manifest(source)), precision, temporary)
        (temporary / DESCRIPTION).write_bytes(msgspec.json.encode(_placed(made, folder.name)))

    return make_folder(folder, write)


def _placed(variant: Variant, folder: str) -> Variant:
    """Return `variant` with paths relative to the folder above its own, which is called `folder`."""

    def placed(stored: S) -> S:
        return msgspec.structs.replace(stored, path=f"{folder}/{stored.path}")

    references = tuple({name: placed(file) for name, file in outputs.items()} for outputs in variant.references)
    return msgspec.structs.replace(variant, file=placed(variant.file), references=references)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
