"""Formats of model files: writing each, and running it to check it against PyTorch."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from runoff.models.weights import build
from runoff.records.errors import RunoffError
from runoff.records.manifest import Check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray

    Batch = NDArray[np.float32]
    Network = Callable[[Batch], Batch]

INPUT = "input"
OUTPUT = "logits"
OPSET = 17
CHECKED_BATCHES = (1, 4)
TOLERANCE = 1e-4
"""Largest permitted difference from PyTorch, relative to PyTorch's largest absolute output."""

VERSIONS_HINT = "recreate the export environment: requirements/export.txt has the versions that were tested together"


class Format(NamedTuple):
    """A file format: `write` gets network, path and a batch of two; `load` gets path and builder."""

    name: str
    write: Callable[[torch.nn.Module, Path, torch.Tensor], None]
    load: Callable[[Path, str], Network]

    @property
    def file(self) -> str:
        """Name of the file in the model's folder."""
        return f"model.{self.name}"


def runnable(network: torch.nn.Module) -> Network:
    """Return `network` as a function from array to array."""
    import torch

    def run(batch: Batch) -> Batch:
        with torch.no_grad():
            output: Batch = network(torch.from_numpy(batch)).numpy()
        return output

    return run


@contextmanager
def plain_attention() -> Iterator[None]:
    """Export attention as operations that every format supports, instead of PyTorch's fused one."""
    import torch

    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def _write_pt(network: torch.nn.Module, path: Path, _: torch.Tensor) -> None:
    import torch

    torch.save(network.state_dict(), path)


def load_network(path: Path, builder: str) -> torch.nn.Module:
    """Return the network of `builder` with the weights of the ``pt`` file at `path`."""
    import torch

    network = build(builder)
    network.load_state_dict(torch.load(path, weights_only=True))
    return network


def _load_pt(path: Path, builder: str) -> Network:
    return runnable(load_network(path, builder))


def _write_onnx(network: torch.nn.Module, path: Path, batch: torch.Tensor) -> None:
    """Write the model as a single file; the newer exporter (``dynamo=True``) splits large models in two."""
    import onnx
    import torch

    with warnings.catch_warnings(), plain_attention():
        warnings.filterwarnings("ignore", "You are using the legacy TorchScript-based", DeprecationWarning)
        warnings.filterwarnings("ignore", "Constant folding", UserWarning)
        torch.onnx.export(
            network,
            (batch,),
            path,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )
    onnx.checker.check_model(path, full_check=True)


def _load_onnx(path: Path, _: str) -> Network:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(batch: Batch) -> Batch:
        output: Batch = session.run([OUTPUT], {INPUT: batch})[0]
        return output

    return run


def _write_pt2(network: torch.nn.Module, path: Path, batch: torch.Tensor) -> None:
    import torch

    with torch.no_grad(), plain_attention():
        program = torch.export.export(network, (batch,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, path)


def _load_pt2(path: Path, _: str) -> Network:
    import torch

    return runnable(torch.export.load(path).module())


FORMATS = (
    Format("pt", _write_pt, _load_pt),
    Format("onnx", _write_onnx, _load_onnx),
    Format("pt2", _write_pt2, _load_pt2),
)


def check(form: Format, path: Path, builder: str, photos: Batch, references: Batch) -> tuple[Check, ...]:
    """Compare the file at `path` with PyTorch, at each batch size of `CHECKED_BATCHES`.

    Parameters
    ----------
    photos
        float32 [N, 3, H, W], all different, so that a mix-up inside a batch shows.
    references
        float32 [N, classes], PyTorch's outputs for each photo alone.

    Raises
    ------
    RunoffError
        If the shapes differ or the largest relative difference is above `TOLERANCE`.
    """
    run, what = form.load(path, builder), f"the {form.name} file"
    return tuple(
        Check(form.name, size, *compare(what, run(photos[:size]), references[:size], size, TOLERANCE))
        for size in CHECKED_BATCHES
    )


def compare(what: str, output: Batch, reference: Batch, batch: int, tolerance: float) -> tuple[float, float]:
    """Return the largest difference of an output, absolute and relative to PyTorch's largest absolute output.

    Raises
    ------
    RunoffError
        If the shapes differ or the relative difference is above `tolerance`; the message begins with `what`.
    """
    if output.shape != reference.shape:
        message = f"has outputs of shape {output.shape}, PyTorch {reference.shape} (batch {batch})"
        raise RunoffError(f"{what} {message}", VERSIONS_HINT)
    absolute = float(abs(output - reference).max())
    relative = absolute / float(abs(reference).max())
    if not relative <= tolerance:
        message = f"differs from PyTorch by {relative:.1e} of the largest output (batch {batch})"
        raise RunoffError(f"{what} {message}; at most {tolerance:.0e} is stored", VERSIONS_HINT)
    return absolute, relative
