"""Gives a model of the store its CoreML packages, each checked against PyTorch."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from runoff.models.formats import load_network
from runoff.plan.coreml_packages import PACKAGES
from runoff.records.manifest import Package, stored_file, write_manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from runoff.models.formats import Batch
    from runoff.models.store import StoredModel
    from runoff.plan.coreml_packages import PackageKind
    from runoff.records.manifest import Check, Manifest

_TOOLS = ("coremltools", "torch", "numpy")


def convert(model: StoredModel, say: Callable[[str], None]) -> Manifest:
    """Make the packages that `model` lacks, each announced by `say`. Return the new manifest, which is written last.

    Raises
    ------
    RunoffError
        When a package differs from PyTorch or holds an operation that the evaluator does not know.
    """
    photos, references = _examples(model)
    network = load_network(Path(model.model_file("pt").path), model.manifest.builder)
    packages, checks = dict(model.manifest.packages), list(model.manifest.checks)
    with tempfile.TemporaryDirectory(prefix=".packages.tmp-", dir=model.folder) as folder:
        for kind in PACKAGES:
            if kind.name in packages:
                continue
            say(f"{model.manifest.name}: converting to {kind.folder}")
            made, found = _make(network, kind, photos, references, Path(folder) / kind.folder)
            packages[kind.name] = made
            checks = [check for check in checks if check.format != kind.name] + list(found)
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
    import torch

    from runoff.models.coreml.convert import write_package
    from runoff.models.coreml.evaluate import check_package
    from runoff.models.coreml.package import read_package

    write_package(network, kind, torch.from_numpy(photos[:1]), path)
    program = read_package(path)
    checks = check_package(program, kind, photos, references)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    parts = tuple(msgspec.structs.replace(stored_file(file), path=str(file.relative_to(path.parent))) for file in files)
    lines = "".join(f"{part.sha256}  {part.path}\n" for part in parts)
    package = Package(
        path=path.name,
        sha256=hashlib.sha256(lines.encode()).hexdigest(),
        spec_version=program.spec_version,
        precision=kind.precision,
        inputs=program.inputs,
        outputs=program.outputs,
        parts=parts,
    )
    return package, checks


def _examples(model: StoredModel) -> tuple[Batch, Batch]:
    """Return the photos as tensors, float32 [N, 3, H, W], and PyTorch's answers, float32 [N, classes]."""
    (spec,) = model.manifest.inputs
    one = (1, *(size or 1 for size in spec.shape[1:]))
    places = range(len(model.manifest.examples))
    photos = np.concatenate([np.fromfile(model.tensor(place), "<f4").reshape(one) for place in places])
    return photos, np.stack([np.fromfile(model.reference(place), "<f4") for place in places])
