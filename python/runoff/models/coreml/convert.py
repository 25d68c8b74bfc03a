"""Conversion of a stored model to CoreML packages, on any system; each is read back and checked against PyTorch."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import coremltools as ct
import msgspec
import numpy as np
import torch

from runoff.models.coreml.evaluate import check_package
from runoff.models.coreml.package import read_package
from runoff.models.formats import INPUT, OUTPUT, load_network, plain_attention
from runoff.plan.coreml_packages import LARGEST_BATCH, PACKAGES
from runoff.records.manifest import Package, stored_file, usual_examples, write_manifest
from runoff_runners.prepare import digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from runoff.models.formats import Batch
    from runoff.models.store import StoredModel
    from runoff.plan.coreml_packages import PackageKind
    from runoff.records.manifest import Check, Manifest

_TOOLS = ("coremltools", "torch", "numpy")
OLDEST = ct.target.macOS13
"""The oldest system that can run the packages."""


def add_packages(model: StoredModel, say: Callable[[str], None]) -> Manifest:
    """Make the missing packages of `model`, each announced by `say`. Return the new manifest, which is written last.

    Raises
    ------
    RunoffError
        If a package differs from PyTorch or contains an operation that the evaluator does not support.
    """
    photos, references = _examples(model)
    network = load_network(Path(model.model_file("pt").path), model.manifest.builder)
    packages, checks = dict(model.manifest.packages), list(model.manifest.checks)
    with tempfile.TemporaryDirectory(prefix=".packages.tmp-", dir=model.folder) as folder:
        for kind in PACKAGES:
            if kind.name in packages:
                continue
            say(f"{model.manifest.name}: converting to {kind.folder}")
            package, package_checks = _make(network, kind, photos, references, Path(folder) / kind.folder)
            packages[kind.name] = package
            checks = [check for check in checks if check.format != kind.name] + list(package_checks)
        for path in Path(folder).iterdir():
            shutil.rmtree(model.folder / path.name, ignore_errors=True)
            path.rename(model.folder / path.name)
    tools = {f"coreml {tool}": importlib.metadata.version(tool) for tool in _TOOLS}
    made_with = {**model.manifest.made_with, **tools, "system": platform.system()}
    manifest = msgspec.structs.replace(model.manifest, packages=packages, checks=tuple(checks), made_with=made_with)
    write_manifest(manifest, model.folder)
    return manifest


def _make(
    network: torch.nn.Module, kind: PackageKind, photos: Batch, references: Batch, path: Path
) -> tuple[Package, tuple[Check, ...]]:
    """Write one package to `path`, read it back and check it."""
    write_package(network, kind, torch.from_numpy(photos[:1]), path)
    program = read_package(path)
    checks = check_package(program, kind, photos, references)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    parts = tuple(msgspec.structs.replace(stored_file(file), path=str(file.relative_to(path.parent))) for file in files)
    package = Package(
        path=path.name,
        sha256=digest(path),
        spec_version=program.spec_version,
        precision=kind.precision,
        inputs=program.inputs,
        outputs=program.outputs,
        parts=parts,
    )
    return package, checks


def _examples(model: StoredModel) -> tuple[Batch, Batch]:
    """Return the photos as tensors, float32 [N, 3, H, W], and PyTorch's outputs, float32 [N, classes]."""
    (spec,) = model.manifest.inputs
    one = (1, *(size or 1 for size in spec.shape[1:]))
    places = usual_examples(model.manifest)
    photos = [np.fromfile(model.inputs(place)[spec.name].path, "<f4").reshape(one) for place in places]
    return np.concatenate(photos), np.stack(
        [np.fromfile(model.references(place)[OUTPUT].path, "<f4") for place in places]
    )


def write_package(network: torch.nn.Module, kind: PackageKind, image: torch.Tensor, path: Path) -> None:
    """Convert `network` and save it as the package at `path`.

    Names and types of inputs and outputs are explicit: newer systems default to float16 and to names of their choice.
    `network` is in evaluation mode, `image` float32 [1, 3, H, W], and the name of `path` ends in ``.mlpackage``.
    """
    precision = ct.precision.FLOAT32 if kind.precision == "fp32" else ct.precision.FLOAT16
    converted = ct.convert(
        _traced(network, image, flexible=kind.flexible),
        inputs=[ct.TensorType(INPUT, shape=_shape(kind, image), dtype=np.float32)],
        outputs=[ct.TensorType(OUTPUT, dtype=np.float32)],
        convert_to="mlprogram",
        compute_precision=precision,
        minimum_deployment_target=OLDEST,
        skip_model_load=True,
    )
    converted.save(str(path))
    for part in path.rglob("*"):
        # coremltools makes the program and the weights readable for their owner only
        part.chmod(part.stat().st_mode | (0o055 if part.is_dir() else 0o044))


def _traced(network: torch.nn.Module, image: torch.Tensor, *, flexible: bool) -> torch.jit.ScriptModule:
    """Return the traced `network`; if `flexible`, traced with two images, which does not fix the batch at one."""
    batch = torch.cat([image, image]) if flexible else image
    with torch.no_grad(), plain_attention(), warnings.catch_warnings():
        # coremltools supports the programs of torch.export only in part
        warnings.filterwarnings("ignore", r"`torch\.jit\.", FutureWarning)
        traced: torch.jit.ScriptModule = torch.jit.trace(network, batch, check_trace=False)
    return traced


def _shape(kind: PackageKind, image: torch.Tensor) -> Any:  # noqa: ANN401 (of coremltools)
    if not kind.flexible:
        return ct.Shape(tuple(image.shape))
    return ct.Shape((ct.RangeDim(1, LARGEST_BATCH, default=1), *image.shape[1:]))
