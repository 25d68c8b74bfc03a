"""Reads a program of ``torch.export``: ``python -m runoff.models.own.export_program REQUEST FOLDER``.

It runs as `runoff.models.own.export_torch` does, with the same files. REQUEST has ``program`` (the file), ``inputs``
(shapes by name, as in ``1,128:int64``), ``examples`` (``.npz`` files with an array per input), ``onnx`` (whether to
export) and ``compare`` (whether outputs must be the same from call to call).
"""

from __future__ import annotations

import zipfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runoff.models.own.export_torch import EXAMPLES, UserError, attempt, respond, save_examples

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from numpy.typing import NDArray

_MOST_BYTES_INSIDE = 1.8e9
"""Of weights: an ONNX file with more needs a second file for them, since a message of protobuf has 2 GiB at most."""


def main(request: dict[str, Any], folder: Path) -> None:
    """Carry out the request.

    Raises
    ------
    UserError
        If the program cannot be loaded, run or exported, or takes something else than tensors.
    """
    try:
        import torch
    except ImportError as error:
        raise UserError(str(error), "pass an interpreter with PyTorch: --python PATH") from error

    torch.set_num_threads(1)
    torch.manual_seed(0)
    path = Path(request["program"])
    if not zipfile.is_zipfile(path):  # PyTorch would print a traceback before it raises
        raise UserError(f"{path} is not a program of torch.export", "save it with torch.export.save(program, FILE)")
    program = attempt(partial(torch.export.load, path), f"{path.name}: torch.export.load")
    inputs = _inputs(program, path)
    given = _given(program, path)
    shapes = {name: _shape(name, text, inputs) for name, text in request["inputs"].items()}
    examples = list(_read(request["examples"], inputs)) or list(_made(inputs, given, shapes))
    save_examples(program.module(), examples, folder, compare=request["compare"])
    if request["onnx"]:
        _export(program, folder / "model.onnx")


def _inputs(program: torch.export.ExportedProgram, path: Path) -> dict[str, torch.Tensor]:
    """Return a tensor without values for each input, by name; its symbolic sizes are free dimensions."""
    import torch

    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    names = program.graph_signature.user_inputs
    for name in names:
        if not isinstance(values.get(name), torch.Tensor):
            raise UserError(f"{path.name}: input {name!r} is not a tensor", "export the network with tensors as inputs")
    return {name: values[name] for name in names}


def _given(program: torch.export.ExportedProgram, path: Path) -> tuple[torch.Tensor, ...]:
    """Return the inputs that were saved with the program; empty if there are none."""
    import torch

    positional, named = program.example_inputs or ((), {})
    if named or not all(isinstance(value, torch.Tensor) for value in positional):
        raise UserError(
            f"{path.name} takes inputs by name, or nested ones", "export the network with a tuple of tensors as inputs"
        )
    return positional


def _shape(name: str, text: str, inputs: dict[str, torch.Tensor]) -> tuple[int, ...]:
    """Return the shape in ``1,128:int64``, which must fit the input `name`."""
    if name not in inputs:
        raise UserError(f"--input {name}: the program has no such input", f"its inputs are: {', '.join(inputs)}")
    sizes, _, dtype = text.partition(":")
    words = [word for word in sizes.replace("scalar", "").split(",") if word.strip()]
    if not all(word.strip().isdecimal() for word in words):
        raise UserError(f"--input {name}={text}: not a shape", f"write it as --input {name}=1,128")
    shape = tuple(map(int, words))
    if not _fits(inputs[name], shape) or dtype not in ("", _dtype(inputs[name])):
        raise UserError(f"--input {name}={text}: the program takes {_shown(inputs[name])}", "change the option")
    return shape


def _made(
    inputs: dict[str, torch.Tensor], given: tuple[torch.Tensor, ...], shapes: dict[str, tuple[int, ...]]
) -> Iterator[list[torch.Tensor]]:
    """Yield different inputs: the one that was saved, then others of its values; without it, random numbers."""
    own = dict(zip(inputs, given, strict=True)) if given else {}
    chosen = [pair for name, shape in shapes.items() for pair in zip(map(str, inputs[name].shape), shape, strict=True)]
    for name, value in inputs.items():
        # equal symbols are equal sizes
        sizes = [dict(chosen).get(str(size), size) for size in value.shape]
        if name not in shapes and chosen and all(isinstance(size, int) for size in sizes):
            shapes[name] = tuple(sizes)
        if name not in own and name not in shapes and not all(isinstance(size, int) for size in value.shape):
            raise UserError(
                f"the program was saved without inputs, and {name!r} is {_shown(value)}", f"add: --input {name}=1,128"
            )
    if given and not shapes:
        yield list(given)
    for _ in range(EXAMPLES - bool(given and not shapes)):
        yield [
            _like(value, own.get(name), shapes.get(name, own.get(name, value).shape)) for name, value in inputs.items()
        ]


def _like(kind: torch.Tensor, example: torch.Tensor | None, shape: tuple[int, ...]) -> torch.Tensor:
    """Return a tensor of `shape`, its values drawn from those of `example`: indices and masks stay valid."""
    import torch

    values = example.detach().flatten() if example is not None else torch.empty(0)
    is_number = kind.dtype.is_floating_point
    if len(values) and not (is_number and bool((values == values[0]).all())):
        return values[torch.randint(len(values), shape)]
    if is_number:
        return torch.randn(shape).to(kind.dtype)
    return torch.randint(2, shape).to(kind.dtype)


def _read(paths: list[str], inputs: dict[str, torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Yield the examples in the files; an array with one more dimension than its input holds several."""
    import torch

    for path in paths:
        arrays: dict[str, NDArray[Any]] = attempt(partial(_load, path), f"--inputs {path}: reading it")
        split = []
        for name, kind in inputs.items():
            if name not in arrays:
                raise UserError(f"--inputs {path}: no array {name!r}", "name each array like the program's input")
            found = torch.from_numpy(arrays[name])
            parts = [found] if _fits(kind, tuple(found.shape)) else list(found) if found.ndim else []
            if not parts or not _fits(kind, tuple(parts[0].shape)) or found.dtype != kind.dtype:
                shown = f"array {name!r} is {_dtype(found)} {list(found.shape)}; the program takes {_shown(kind)}"
                raise UserError(f"--inputs {path}: {shown}", "a further first axis may hold several examples")
            split.append(parts)
        for place in range(max(map(len, split), default=0)):
            yield [parts[place % len(parts)] for parts in split]


def _load(path: str) -> dict[str, NDArray[Any]]:
    import numpy as np

    return dict(np.load(path, allow_pickle=False))


def _fits(kind: torch.Tensor, shape: tuple[int, ...]) -> bool:
    pairs = zip(kind.shape, shape, strict=False)
    return len(kind.shape) == len(shape) and all(not isinstance(own, int) or own == size for own, size in pairs)


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _shown(kind: torch.Tensor) -> str:
    return f"{_dtype(kind)} [{', '.join(str(size) for size in kind.shape)}]"


def _export(program: torch.export.ExportedProgram, path: Path) -> None:
    import torch

    size = sum(tensor.numel() * tensor.element_size() for tensor in program.state_dict.values())
    options = {"dynamo": True, "verbose": False, "external_data": size > _MOST_BYTES_INSIDE}
    try:
        torch.onnx.export(program, (), path, **options)
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        raise UserError(
            f"torch.onnx.export failed: {text}",
            "it needs the package onnxscript next to PyTorch; or export the program yourself, and pair it: --onnx FILE",
        ) from error


if __name__ == "__main__":
    respond(main)
