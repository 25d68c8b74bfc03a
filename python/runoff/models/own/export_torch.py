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
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

_EXAMPLES = 8
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
        raise UserError(f"factory {request['factory']} returned a {found}, not a torch.nn.Module", "return the network")
    if request["weights"]:
        attempt(partial(_load, network, request["weights"]), f"weights {request['weights']}: loading them")
    network.eval()
    examples = [_inputs(request["example"]) for _ in range(_EXAMPLES)]
    torch.save(network.state_dict(), folder / "state.pt")
    with torch.inference_mode():
        for place, example in enumerate(examples):
            outputs = list(flat(attempt(partial(network, *example), "the network, on its example,")))
            _save(folder / f"inputs-{place}.npz", example)
            _save(folder / f"outputs-{place}.npz", outputs)
    if request["onnx"]:
        _export(network, examples[0], len(outputs), folder / "model.onnx")


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
    except Exception as error:
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f" ({Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno})" if place else ""
        text = " ".join(str(error).split())[:_LINE]
        raise UserError(f"{what} raised {type(error).__name__}: {text}{where}", "fix it, then run again") from error


def flat(value: Any) -> Iterator[torch.Tensor]:  # noqa: ANN401 (a tensor, or a structure of tensors)
    """Yield the tensors in a tuple, list or dict, nested or not, in order."""
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from flat(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from flat(part)
    elif value is not None:
        raise UserError(f"the network returned a {type(value).__name__}", "return tensors, in a tuple or dict")


def _load(network: torch.nn.Module, path: str) -> None:
    import torch

    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))


def _inputs(path: str) -> tuple[torch.Tensor, ...]:
    found = tuple(flat(call(path, "example")))
    if not found:
        raise UserError(f"example {path} returned no tensors", "return a tensor, or a tuple of the network's inputs")
    return found


def _save(path: Path, tensors: Any) -> None:  # noqa: ANN401 (a sequence of tensors)
    import numpy as np

    np.savez(path, *(tensor.detach().numpy() for tensor in tensors))


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


if __name__ == "__main__":
    # what the user's code prints is not part of the failure
    response, sys.stdout = sys.stdout, sys.stderr
    try:
        main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))
    except UserError as failure:
        message, hint = failure.args
        response.write(json.dumps({"message": message, "hint": hint}) + "\n")
        sys.exit(2)
