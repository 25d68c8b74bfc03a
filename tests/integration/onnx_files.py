"""Small ONNX files, written without the `onnx` package; onnx.proto defines the field numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

FLOAT, INT64 = 1, 7
EXTERNAL = 1
IR_VERSION, OPSET = 8, 17
Sides: TypeAlias = "tuple[int | str, ...]"


def write(
    path: Path,
    nodes: list[tuple[str, list[str], list[str]]],
    inputs: dict[str, Sides],
    outputs: dict[str, tuple[int, Sides]],
    external: dict[str, tuple[int, str]] | None = None,
) -> Path:
    """Write a model.

    Parameters
    ----------
        nodes
            Operator, inputs and outputs of each.
        inputs
    Dimensions of float32 tensors, a string for a dynamic one.
        outputs
            Element type and dimensions.
        external
            Initialisers, float32 and one-dimensional: length and file.
    """
    parts = [field(1, _node(*node)) for node in nodes]
    parts += [field(2, "g")]
    parts += [field(5, _external(name, size, file)) for name, (size, file) in (external or {}).items()]
    parts += [field(11, _port(name, FLOAT, sides)) for name, sides in inputs.items()]
    parts += [field(12, _port(name, element, sides)) for name, (element, sides) in outputs.items()]
    model = field(1, IR_VERSION) + field(7, b"".join(parts)) + field(8, field(1, "") + field(2, OPSET))
    path.write_bytes(model)
    return path


def field(number: int, content: bytes | str | int) -> bytes:
    """Return a field of a protocol buffer."""
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    data = content.encode() if isinstance(content, str) else content
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _node(operator: str, inputs: list[str], outputs: list[str]) -> bytes:
    ends = [field(1, name) for name in inputs] + [field(2, name) for name in outputs]
    return b"".join(ends) + field(4, operator)


def _port(name: str, element: int, sides: Sides) -> bytes:
    shape = b"".join(field(1, field(2 if isinstance(side, str) else 1, side)) for side in sides)
    return field(1, name) + field(2, field(1, field(1, element) + field(2, shape)))


def _external(name: str, size: int, file: str) -> bytes:
    entries = {"location": file, "offset": "0", "length": str(4 * size)}
    where = b"".join(field(13, field(1, key) + field(2, value)) for key, value in entries.items())
    return field(1, size) + field(2, FLOAT) + field(8, name) + where + field(14, EXTERNAL)


def _varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])
