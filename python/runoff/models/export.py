"""The export program: create a model of the zoo, check every format against PyTorch, and store it.

It runs in the export environment: ``python -m runoff.models.export NAME --store DIR``. With ``--coreml`` it converts a
model of the store to CoreML packages instead.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import sys
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from runoff.models import formats, zoo
from runoff.models.photos import PHOTOS, write_photos
from runoff.models.store import ModelStore, new_folder
from runoff.models.weights import FITTED, build, load_weights, weights_source
from runoff.plan.coreml_packages import PACKAGES
from runoff.records.errors import ExitCode, RunoffError
from runoff.records.manifest import (
    MANIFEST,
    Check,
    Example,
    Manifest,
    read_manifest,
    stored_file,
    stored_tensor,
    write_manifest,
)
from runoff.records.protocol import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from runoff.models.formats import Batch

LABELS = "labels.txt"
_WITH_TENSORS = 8
"""Examples with stored tensors: those that every probe uses."""
_TOOLS = ("torch", "torchvision", "onnx", "onnxruntime", "numpy", "pillow", "scikit-learn", "scikit-image")


def export(model: zoo.ZooModel, folder: Path, weights: str, seed: int) -> Manifest:
    """Export `model` to the empty `folder`; write its manifest there and return it.

    Raises
    ------
    RunoffError
        If the weights are not available, or a format's outputs differ from PyTorch's.
    """
    import torch

    if model.segment:
        return _export_promptable(model, folder, weights, seed)
    from runoff_runners.preprocess import preprocess

    say(f"{model.name}: writing photos and labels")
    images = write_photos(folder)
    _write_labels(folder / LABELS)
    photos = preprocess([str(image) for image in images], msgspec.to_builtins(model.preprocess))
    say(f"{model.name}: creating the network with weights {weights!r}")
    network = build(model.builder)
    source = load_weights(network, model, weights, seed, torch.from_numpy(photos))
    pictures = [Picture(photo.name, image) for photo, image in zip(PHOTOS, images, strict=True)]
    return write_model(
        network,
        folder,
        photos,
        pictures,
        name=model.name,
        source=package_source(model),
        weights=source,
        builder=model.builder,
        preprocess=model.preprocess,
    )


def _export_promptable(model: zoo.ZooModel, folder: Path, weights: str, seed: int) -> Manifest:
    if weights in ("seeded", "default"):
        message = f"{model.name} has no {weights} weights that segment anything"
        raise RunoffError(message, f"use --weights {FITTED}, or --checkpoint FILE with the published ones")
    from runoff.models.promptable.export import export_promptable

    tools = (*(tool for tool in _TOOLS if tool != "scikit-image"), "onnxscript", "segment-anything")
    return export_promptable(
        model, folder, weights, seed, say, source=package_source(model), made_with=_made_with(tools)
    )


class Picture(NamedTuple):
    """An example: an image file in the model's folder."""

    name: str
    file: Path
    label: int | None = None
    """Its true class."""


def package_source(model: zoo.ZooModel) -> str:
    """Return the manifest's description of the package that defines a network."""
    return f"{model.builder} ({model.package} {importlib.metadata.version(model.package)})"


def write_model(
    network: torch.nn.Module,
    folder: Path,
    photos: Batch,
    pictures: Sequence[Picture],
    *,
    builder: str,
    **described: Any,
) -> Manifest:
    """Write `network` in every format into `folder`, which has `LABELS` and `pictures`; check them against PyTorch.

    Parameters
    ----------
    photos
        float32 [N, 3, H, W]: `pictures`, preprocessed. Only the first have their tensors stored.
    described
        Further fields of the manifest, which is written last and returned.

    Raises
    ------
    RunoffError
        If a format's outputs differ from PyTorch's.
    """
    import numpy as np

    run = formats.runnable(network)
    references = np.concatenate([run(photo[None]) for photo in photos])
    _write_formats(network, folder, photos[:2])
    del network, run
    manifest = Manifest(
        builder=builder,
        inputs=(TensorSpec(formats.INPUT, "float32", (None, *photos.shape[1:])),),
        outputs=(TensorSpec(formats.OUTPUT, "float32", (None, *references.shape[1:])),),
        checks=_check_formats(builder, folder, photos[:_WITH_TENSORS], references[:_WITH_TENSORS]),
        files={form.name: stored_file(folder / form.file) for form in formats.FORMATS},
        labels=stored_file(folder / LABELS),
        examples=_write_examples(folder, pictures, photos, references),
        made_with=_made_with(_TOOLS),
        **described,
    )
    write_manifest(manifest, folder)
    return manifest


def _made_with(tools: Sequence[str]) -> dict[str, str]:
    return {"python": platform.python_version()} | {tool: importlib.metadata.version(tool) for tool in tools}


def _write_formats(network: torch.nn.Module, folder: Path, batch: Batch) -> None:
    import torch

    for form in formats.FORMATS:
        say(f"writing {form.file}")
        form.write(network, folder / form.file, torch.from_numpy(batch))


def _check_formats(builder: str, folder: Path, photos: Batch, references: Batch) -> tuple[Check, ...]:
    checks: list[Check] = []
    for form in formats.FORMATS:
        say(f"checking {form.file} against PyTorch")
        checks += formats.check(form, folder / form.file, builder, photos, references)
    return tuple(checks)


def _write_labels(path: Path) -> None:
    # This private list is the only one of the 1000 names in the export environment.
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    path.write_text("\n".join(_IMAGENET_CATEGORIES) + "\n", encoding="utf-8")


def _write_examples(folder: Path, pictures: Sequence[Picture], photos: Batch, references: Batch) -> tuple[Example, ...]:
    """Write PyTorch's output for each picture, and the tensors of the first."""
    labels = (folder / LABELS).read_text(encoding="utf-8").splitlines()
    examples = []
    for place, (picture, pixels, reference) in enumerate(zip(pictures, photos, references, strict=True)):
        inputs = {}
        if place < _WITH_TENSORS:
            tensor = picture.file.with_suffix(".tensor.bin")
            tensor.write_bytes(pixels.astype("<f4").tobytes())
            inputs = {formats.INPUT: stored_tensor(tensor, "float32", (1, *pixels.shape))}
        reference_path = picture.file.with_suffix(".reference.bin")
        reference_path.write_bytes(reference.astype("<f4").tobytes())
        outputs = {formats.OUTPUT: stored_tensor(reference_path, "float32", (1, *reference.shape))}
        best = labels[reference.argmax()]
        examples.append(Example(picture.name, inputs, outputs, stored_file(picture.file), best, picture.label))
    return tuple(examples)


def is_stored(model: zoo.ZooModel, folder: Path, weights: str, seed: int) -> bool:
    """Return whether `folder` already contains `model` with these weights.

    Raises
    ------
    RunoffError
        If it contains anything else.
    """
    if not folder.exists():
        return False
    if not (folder / MANIFEST).exists():
        raise RunoffError(f"{folder} exists and is not a model", "remove it, or replace it with --force")
    have, want = read_manifest(folder).weights, weights_source(model, weights, seed)
    if have == want:
        return True
    raise RunoffError(f"{folder} contains {model.name} with weights {have}, not {want}", "replace it with --force")


def run(arguments: argparse.Namespace) -> None:
    """Export the model named on the command line."""
    import torch

    began = monotonic()
    model = zoo.find_model(arguments.name)
    weights = arguments.weights or model.weights
    folder = arguments.store.absolute() / model.name
    if not arguments.force and is_stored(model, folder, weights, arguments.seed):
        sys.stdout.write(f"{model.name} is already in {folder}; --force exports it again\n")
        return
    # With one thread, sums have one order: the same seed gives the same weights and references.
    torch.set_num_threads(1)
    with new_folder(folder) as temporary:
        manifest = export(model, temporary, weights, arguments.seed)
    worst = max(check.max_rel_diff for check in manifest.checks)
    sys.stdout.write(
        f"stored {model.name} ({manifest.weights}) in {folder}: {', '.join(manifest.files)}; "
        f"at most {worst:.1e} from PyTorch; {monotonic() - began:.0f} s\n"
    )


def convert(arguments: argparse.Namespace) -> None:
    """Convert the stored model named on the command line to CoreML packages."""
    try:
        from runoff.models.coreml.convert import add_packages
    except ModuleNotFoundError as error:
        if error.name != "coremltools":
            raise
        hint = f"with Python 3.13 or older, on x86-64 Linux or a Mac, run: runoff export {arguments.name} --coreml"
        raise RunoffError("coremltools has no wheel for this platform and Python", hint) from error

    began = monotonic()
    model = ModelStore(arguments.store).get(arguments.name)
    if all(kind.name in model.manifest.packages for kind in PACKAGES):
        sys.stdout.write(f"{model.manifest.name} already has its CoreML packages\n")
        return
    manifest = add_packages(model, say)
    worst = {kind.name: max(c.max_rel_diff for c in manifest.checks if c.format == kind.name) for kind in PACKAGES}
    packages = ", ".join(f"{name} (at most {difference:.1e} from PyTorch)" for name, difference in worst.items())
    sys.stdout.write(f"stored {model.manifest.name} in {model.folder}: {packages}; {monotonic() - began:.0f} s\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = argparse.ArgumentParser(prog="runoff.models.export", description=__doc__)
    names = ", ".join(model.name for model in zoo.ZOO)
    parser.add_argument("name", help=f"the model: {names}")
    parser.add_argument("--store", type=Path, required=True, help="folder of the model store")
    parser.add_argument(
        "--weights",
        "--checkpoint",
        help=f"seeded, {FITTED} (promptable models), default (the published ones), or a file with a state dict",
    )
    parser.add_argument("--seed", type=_seed, default=0, help="of seeded weights, 0 or more")
    parser.add_argument("--force", action="store_true", help="replace a model that is already in the store")
    parser.add_argument("--coreml", action="store_true", help="convert the stored model to CoreML packages instead")
    arguments = parser.parse_args(argv)
    try:
        (convert if arguments.coreml else run)(arguments)
    except RunoffError as error:
        say(f"error: {error.message}" + (f"; {error.hint}" if error.hint else ""))
        return error.code
    except OSError as error:
        say(f"error: {error}; check that the store can be written to and has space")
        return ExitCode.BAD_INPUT
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return ExitCode.OK


def say(line: str) -> None:
    """Print a line of progress."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _seed(text: str) -> int:
    seed = int(text)
    if not 0 <= seed < 2**63:
        raise ValueError(text)
    return seed


if __name__ == "__main__":
    sys.exit(main())
