"""A saved CoreML package: its program, weights, inputs and outputs, read from its own files."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import coremltools as ct
from coremltools.converters.mil.frontend.milproto.load import load
from coremltools.converters.mil.mil.types.symbolic import is_symbolic
from google.protobuf.message import DecodeError
from msgspec import Struct

from runoff.records.errors import RunoffError
from runoff.records.protocol import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

FUNCTION = "main"
_WEIGHTS = "weights/weight.bin"
_ENTRY, _ENTRY_MARK, _WEIGHTS_VERSION = struct.Struct("<IIQQ"), 0xDEADBEEF, 2
_DTYPES = {"FLOAT32": "float32", "FLOAT16": "float16", "INT32": "int32", "DOUBLE": "float64"}


class Program(Struct, frozen=True):
    """The program of a package and its declared inputs and outputs."""

    spec_version: int
    inputs: tuple[TensorSpec, ...]
    """A dynamic size is None; `sizes` has its bounds."""
    outputs: tuple[TensorSpec, ...]
    sizes: dict[str, tuple[tuple[int, int], ...]]
    """By input, the least and the largest size of each dimension."""
    function: Any
    """The function ``main``, as `coremltools` represents it."""


def read_package(path: Path) -> Program:
    """Read the package at `path`.

    Raises
    ------
    RunoffError
        If it is not a complete package with an ML program of one function.
    """
    spec, data = _read_spec(path)
    if spec.WhichOneof("Type") != "mlProgram":
        raise _broken(path, f"not an ML program but {spec.WhichOneof('Type')}")
    if list(spec.mlProgram.functions) != [FUNCTION]:
        raise _broken(path, f"functions {', '.join(spec.mlProgram.functions)}; expected: {FUNCTION}")
    offsets = list(_offsets(spec.mlProgram))
    if offsets:
        _check_blobs(data / _WEIGHTS, offsets)
    try:
        program = load(spec, spec.specificationVersion, str((data / _WEIGHTS).parent))
    # the checks of operations in coremltools raise exceptions of any type
    except Exception as error:
        raise _broken(path, f"coremltools cannot read it: {' '.join(str(error).split())[:400]}") from error
    described = spec.description
    return Program(
        spec_version=spec.specificationVersion,
        inputs=tuple(_input(feature) for feature in described.input),
        outputs=tuple(_output(feature, program.functions[FUNCTION]) for feature in described.output),
        sizes={feature.name: _sizes(feature.type.multiArrayType) for feature in described.input},
        function=program.functions[FUNCTION],
    )


def _read_spec(path: Path) -> tuple[Any, Path]:
    """Return the model's specification and the folder of its weights."""
    manifest = path / "Manifest.json"
    try:
        entries = json.loads(manifest.read_bytes())
        root = entries["itemInfoEntries"][entries["rootModelIdentifier"]]["path"]
        file = path / "Data" / root
        spec = ct.proto.Model_pb2.Model()
        spec.ParseFromString(file.read_bytes())
    except FileNotFoundError as error:
        raise _broken(path, f"{error.filename} is missing") from None
    except (ValueError, LookupError, TypeError, DecodeError) as error:
        raise _broken(path, f"{type(error).__name__}: {error}") from error
    return spec, file.parent


def _offsets(program: Any) -> Iterator[int]:  # noqa: ANN401 (a message of protobuf)
    """Yield the offsets of the constants in the weight file."""
    for block in program.functions[FUNCTION].block_specializations.values():
        for operation in block.operations:
            values = list(operation.attributes.values())
            values += [bound.value for argument in operation.inputs.values() for bound in argument.arguments]
            for value in values:
                if value.WhichOneof("value") == "blobFileValue":
                    yield value.blobFileValue.offset


def _input(feature: Any) -> TensorSpec:  # noqa: ANN401 (a message of protobuf)
    array = feature.type.multiArrayType
    shape = tuple(least if least == largest else None for least, largest in _sizes(array))
    return TensorSpec(feature.name, _dtype(array), shape)


def _output(feature: Any, function: Any) -> TensorSpec:  # noqa: ANN401 (of protobuf, and of coremltools)
    """Return an output; its shape is the program's, because a description may omit it."""
    (var,) = (var for var in function.outputs if var.name == feature.name)
    shape = tuple(None if is_symbolic(size) else int(size) for size in var.shape)
    return TensorSpec(feature.name, _dtype(feature.type.multiArrayType), shape)


def _sizes(array: Any) -> tuple[tuple[int, int], ...]:  # noqa: ANN401 (a message of protobuf)
    flexibility = array.WhichOneof("ShapeFlexibility")
    if flexibility == "shapeRange":
        return tuple((bounds.lowerBound, bounds.upperBound) for bounds in array.shapeRange.sizeRanges)
    if flexibility == "enumeratedShapes":
        columns = zip(*(shape.shape for shape in array.enumeratedShapes.shapes), strict=True)
        return tuple((min(sizes), max(sizes)) for sizes in columns)
    return tuple((size, size) for size in array.shape)


def _dtype(array: Any) -> str:  # noqa: ANN401 (a message of protobuf)
    type_name: str = ct.proto.FeatureTypes_pb2.ArrayFeatureType.ArrayDataType.Name(array.dataType)
    return _DTYPES.get(type_name, type_name.lower())


def _broken(path: Path, message: str) -> RunoffError:
    return RunoffError(f"the package {path} cannot be read: {message}", "convert the model again")


def _check_blobs(path: Path, offsets: Iterable[int]) -> None:
    """Check that the entries at `offsets` of the weight file lie within it: Core ML's reader maps the file unchecked.

    Layout (MLModel's ``StorageFormat.hpp``, in coremltools): a header of 64 bytes that begins with the number of
    entries and the version; an entry's own header of 64 bytes begins with a mark, the type of its elements, its size in
    bytes and the offset of its data.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if struct.unpack("<II", file.read(8))[1] != _WEIGHTS_VERSION:
                raise _broken_weights(path, f"not a weight file of version {_WEIGHTS_VERSION}")
            for offset in offsets:
                file.seek(offset)
                mark, _, length, begin = _ENTRY.unpack(file.read(_ENTRY.size))
                if mark != _ENTRY_MARK:
                    raise _broken_weights(path, f"no entry at {offset}")
                if begin + length > size:
                    end = begin + length
                    raise _broken_weights(path, f"{size} bytes long, but the entry at {offset} ends at {end}")
    except FileNotFoundError:
        raise _broken_weights(path, "not found") from None
    except struct.error:
        raise _broken_weights(path, f"truncated to {path.stat().st_size} bytes") from None


def _broken_weights(path: Path, message: str) -> RunoffError:
    return RunoffError(f"the weight file {path} is broken: {message}", "convert the model again")
