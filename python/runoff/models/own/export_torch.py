"""Runs the user's PyTorch code: ``python export_torch.py REQUEST FOLDER``, on the interpreter that the user chose.

It needs PyTorch and NumPy only, since that may be the user's own environment. REQUEST is a JSON file with ``folder``
(put first on the path), ``factory`` and ``example`` (``module:function``), ``weights`` (a file with a state dict, or
null), and ``onnx`` (whether to export). FOLDER gets ``state.pt``, ``model.onnx``, and for each example its inputs and
PyTorch's outputs: ``inputs-0.npz``, ``outputs-0.npz``, with the arrays in order. A failure is a line of JSON on stdout
with ``message`` and ``hint``.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch

DONE = "exported"
"""File that says that the program came to its end: the user's code may exit without a failure."""
EXAMPLES = 8
"""Different inputs: with fewer, a runner that answers from a cache could pass for one that computes."""
_OPSET = 17
_LINE = 300


class UserError(Exception):
    """A failure in the user's code, with a hint."""


def main(request: dict[str, Any], folder: Path) -> None:
    """Carry out the request.

    Raises
    ------
    UserError
        If the user's code raises or returns something else than a module or tensors.
    """
    sys.path.insert(0, request["folder"])
    try:
        import torch
    except ImportError as error:
        raise UserError(f"{sys.executable}: {error}", "pass an interpreter with PyTorch: --python PATH") from error

    torch.set_num_threads(1)
    # random weights and inputs are the same in the next run, which may resume this one or run beside it
    torch.manual_seed(0)
    network = call(request["factory"], "factory")
    if not isinstance(network, torch.nn.Module):
        found = type(network).__name__
        raise UserError(f"factory {request['factory']} returned {found}, not a torch.nn.Module", "return the network")
    if request["weights"]:
        attempt(partial(_load, network, request["weights"]), f"weights {request['weights']}: loading them")
    network.eval()
    examples = [_inputs(request["example"]) for _ in range(EXAMPLES)]
    torch.save(network.state_dict(), folder / "state.pt")
    outputs = save_examples(network, examples, folder, compare=request["compare"])
    if request["onnx"]:
        _export(network, examples[0], outputs, folder / "model.onnx")


def save_examples(
    network: Callable[..., Any], examples: Sequence[Sequence[torch.Tensor]], folder: Path, *, compare: bool
) -> int:
    """Write inputs and outputs of each example to `folder`; return the number of outputs.

    Raises
    ------
    UserError
        If the network raises, or `compare` is set and its outputs differ from call to call.
    """
    import torch

    with torch.inference_mode():
        for place, example in enumerate(examples):
            outputs = _outputs(network, example)
            if compare and place == 0 and not _same(outputs, _outputs(network, example)):
                raise UserError(
                    "the network's outputs differ from call to call on the same input, so targets cannot be checked",
                    "to measure it without comparing outputs, use --no-compare",
                )
            _save(folder / f"inputs-{place}.npz", example)
            _save(folder / f"outputs-{place}.npz", outputs)
    return len(outputs)


def _outputs(network: Callable[..., Any], example: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return the network's outputs; it gets copies, since it may write to its inputs."""
    copies = [tensor.clone() for tensor in example]
    return list(flat(attempt(partial(network, *copies), "the network, on its example,")))


def _same(ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor]) -> bool:
    """Return whether all values are equal; NaN equals NaN."""
    import torch

    shapes = [[tensor.shape for tensor in tensors] for tensors in (ours, theirs)]
    equal = {"rtol": 0.0, "atol": 0.0, "equal_nan": True}
    return shapes[0] == shapes[1] and all(map(partial(torch.allclose, **equal), ours, theirs))


def call(path: str, what: str) -> Any:  # noqa: ANN401 (whatever the user's function returns)
    """Return the result of the user's function ``module:function``."""
    module, _, function = path.partition(":")
    loaded = attempt(lambda: importlib.import_module(module), f"{what} {path}: module {module!r}")
    if not hasattr(loaded, function):
        raise UserError(f"{what} {path}: {module} has no {function!r}", "write it as module:function")
    return attempt(getattr(loaded, function), f"{what} {path}")


def attempt(function: Callable[[], Any], what: str) -> Any:  # noqa: ANN401 (as above)
    """Return the result of `function`; if it raises, the exception and its line in the user's code are reported."""
    try:
        return function()
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        lines = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
        found = [(file.name, line) for file, line in lines if file.is_file() and file != Path(__file__)]
        where = " ({}:{})".format(*found[-1]) if found else ""
        text = " ".join(str(error).split())[:_LINE]
        raise UserError(f"{what} raised {type(error).__name__}: {text}{where}", "fix it, then run again") from error


def flat(value: Any, what: str = "the network") -> Iterator[torch.Tensor]:  # noqa: ANN401 (a tensor, or a structure of tensors)
    """Yield the tensors in a tuple, list or dict, nested or not, in order."""
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from flat(part, what)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from flat(part, what)
    elif value is not None:
        raise UserError(f"{what} returned {type(value).__name__}", "return tensors, in a tuple or dict")


def _load(network: torch.nn.Module, path: str) -> None:
    import torch

    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))


def _inputs(path: str) -> tuple[torch.Tensor, ...]:
    found = tuple(flat(call(path, "example"), f"example {path}"))
    if not found:
        raise UserError(f"example {path} returned no tensors", "return a tensor, or a tuple of the network's inputs")
    return found


def _save(path: Path, tensors: Any) -> None:  # noqa: ANN401 (a sequence of tensors)
    import numpy as np

    try:
        np.savez(path, *(tensor.detach().cpu().numpy() for tensor in tensors))
    except TypeError as error:
        raise UserError(
            f"the network's inputs and outputs cannot be read as arrays: {error}", "convert them to float32 inside it"
        ) from error


def _export(network: torch.nn.Module, example: tuple[torch.Tensor, ...], outputs: int, path: Path) -> None:
    import torch

    names = list(inspect.signature(network.forward).parameters)[: len(example)]
    names += [f"input{place}" for place in range(len(names), len(example))]
    output_names = ["output"] if outputs == 1 else [f"output{place}" for place in range(outputs)]
    batch = {name: {0: "batch"} for name, tensor in zip(names, example, strict=True) if tensor.ndim}
    shared = len({tensor.shape[0] for tensor in example if tensor.ndim}) == 1
    options = {"opset_version": _OPSET, "dynamo": False, "dynamic_axes": batch if shared else None}
    try:
        torch.onnx.export(network, example, path, input_names=names, output_names=output_names, **options)
    except Exception as error:
        text = " ".join(str(error).split())[:_LINE]
        raise UserError(
            f"torch.onnx.export failed: {text}",
            "it needs the package onnx next to PyTorch; or export the network yourself, and pair it: --onnx model.onnx",
        ) from error


def respond(carry_out: Callable[[dict[str, Any], Path], None]) -> None:
    """Carry out the request named on the command line; a `UserError` is printed as JSON, and exits with 2."""
    # what the user's code prints is not part of the failure
    response = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        carry_out(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))
    except UserError as failure:
        message, hint = failure.args
        response.write(json.dumps({"message": message, "hint": hint}) + "\n")
        response.close()
        sys.exit(2)
    # processes and threads that the user's code left do not keep this one
    Path(sys.argv[2], DONE).touch()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    respond(main)
